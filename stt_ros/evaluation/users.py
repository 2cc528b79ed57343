# SPDX-License-Identifier: Apache-2.0
"""What a person would give as a prompt, made from the true mask; the same every time."""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros import masks
from stt_ros.prompts import Box, Lasso, Mask, Points, Polygon, Scribble
from stt_ros.prompts.foreground import deepest_points


def one_click(mask: np.ndarray) -> Points:
    """Click where the thing (H, W) bool is widest: the peak of its distance transform."""
    return Points([masks.interior_point(mask)])


def three_clicks(mask: np.ndarray) -> Points:
    """Click three times, deep inside and apart from each other."""
    return Points(deepest_points(mask, 3))


def box(mask: np.ndarray) -> Box:
    """Draw the tight box."""
    return Box(masks.bounding_box(mask))


def scribble(mask: np.ndarray) -> Scribble:
    """Draw through five deep points from one end to the other, lifting the pen where it leaves."""
    points = np.array(deepest_points(mask, 5))
    spread = points - points.mean(axis=0)
    axis = np.linalg.svd(spread, full_matrices=False)[2][0]
    line = np.zeros(mask.shape, np.uint8)
    ordered = points[np.argsort(spread @ axis)]
    cv2.polylines(line, [np.round(ordered).astype(np.int32)], isClosed=False, color=1)
    inner = cv2.erode(np.pad(mask, 1).view(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    rows, columns = np.nonzero(line & inner)
    order = np.argsort(np.stack([columns, rows], axis=1) @ axis, kind='stable')
    drawn = [[(float(columns[k]), float(rows[k]))] for k in order]
    return Scribble(drawn or [[tuple(points[0])]])


def polygon(mask: np.ndarray) -> Polygon:
    """Set a few corners along the outline of the largest part."""
    outline = _outline(mask.view(np.uint8))
    corners = cv2.approxPolyDP(outline, 0.02 * cv2.arcLength(outline, True), True)[:, 0]
    return Polygon(corners if len(corners) > 2 else cv2.boxPoints(cv2.minAreaRect(outline)))


def lasso(mask: np.ndarray) -> Lasso:
    """Draw loosely around it: the hull, grown by a tenth of the thing's size."""
    hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.float32))[:, 0]
    centre = hull.mean(axis=0)
    return Lasso(centre + 1.1 * (hull - centre))


def coarse_mask(mask: np.ndarray) -> Mask:
    """Paint it with a brush a fifth of its size wide."""
    width = max(3, int(0.2 * np.sqrt(np.count_nonzero(mask))))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return Mask(cv2.dilate(mask.view(np.uint8), brush))


def _outline(mask: np.ndarray) -> np.ndarray:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(outlines, key=cv2.contourArea)
