# SPDX-License-Identifier: Apache-2.0
"""Edges and ranked object proposals out of the masks of a grid of gazes, without training.

The procedures of Kirillov et al., "Segment Anything", 2023, appendices D.2 and D.3.
"""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import as_frame
from stt_ros.prompts.everything import Found, Settings, everything, looks, nms
from stt_ros.segmenter import Hypothesis

DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1))  # steps (x, y) across an edge, by its angle


def edges(segmenter, frame: np.ndarray | Frame, points_per_side: int = 16) -> np.ndarray:
    """Return how strong an edge each pixel is, one pixel thin: (H, W) float32 in [0, 1].

    ``frame`` is a ``Frame`` or RGB (H, W, 3) uint8.
    """
    frame = as_frame(frame)
    settings = Settings(points_per_side=points_per_side)
    seen = [
        h for _, batch in looks(segmenter, frame, settings) for r in batch for h in r.hypotheses
    ]
    seen = sorted((h for h in seen if h.area_px), key=lambda h: -h.predicted_iou)
    strongest = np.zeros(frame.size, np.float32)
    for k in nms([h.box for h in seen], settings.max_box_iou):
        _add_border(strongest, seen[k])
    span = float(strongest.max() - strongest.min())
    return thinned((strongest - strongest.min()) / span) if span > 0 else strongest


def proposals(
    segmenter, frame: np.ndarray | Frame, points_per_side: int = 64, count: int = 1000
) -> list[Found]:
    """Return up to ``count`` masks of things, the likeliest first.

    Nothing is filtered; masks are ranked by the mean of predicted IoU and stability.
    """
    settings = Settings(
        points_per_side=points_per_side, min_predicted_iou=-1e9, min_stability=0, max_box_iou=0.9
    )
    found = everything(segmenter, frame, settings)
    return sorted(found, key=lambda f: -(f.predicted_iou + f.stability))[:count]


def thinned(strength: np.ndarray) -> np.ndarray:
    """Keep only pixels as strong as both neighbours across the edge, as Canny does: (H, W)."""
    smooth = cv2.GaussianBlur(strength.astype(np.float32), (0, 0), 1)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0, ksize=5)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2, ksize=5)
    dxy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1, ksize=5)
    # Across a ridge it bends down most: the eigenvector of the Hessian's smaller eigenvalue.
    angle = 0.5 * np.arctan2(2 * dxy, dx - dy) + np.pi / 2
    sector = np.round(angle / (np.pi / 4)).astype(int) % 4
    padded = np.pad(smooth, 1)
    height, width = strength.shape
    keep = np.zeros(strength.shape, bool)
    for k, (sx, sy) in enumerate(DIRECTIONS):
        ahead = padded[1 + sy : 1 + sy + height, 1 + sx : 1 + sx + width]
        behind = padded[1 - sy : 1 - sy + height, 1 - sx : 1 - sx + width]
        keep |= (sector == k) & (smooth >= ahead) & (smooth > behind)
    return np.where(keep, strength, 0).astype(np.float32)


def _add_border(strongest: np.ndarray, seen: Hypothesis) -> None:
    """Raise the strengths (H, W) to the slope of one mask's probability along its border."""
    view, size = seen.view, strongest.shape
    x, y, width, height = seen.box
    left, top = max(x - 2, 0), max(y - 2, 0)
    roi = (left, top, min(x + width + 2, size[1]) - left, min(y + height + 2, size[0]) - top)
    logits = view.paint(seen.logits, seen.interpolation, roi)
    logits = np.clip(logits - seen.threshold, -30, 30)
    probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
    slope = cv2.magnitude(*(cv2.Sobel(probability, cv2.CV_32F, *d) for d in ((1, 0), (0, 1))))
    inside = (logits > 0).view(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    border = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, cross) > 0
    part = strongest[roi[1] : roi[1] + roi[3], roi[0] : roi[0] + roi[2]]
    np.maximum(part, np.where(border, slope, 0), out=part)
