# SPDX-License-Identifier: Apache-2.0
"""Measures of masks, painted or foveated."""

from __future__ import annotations

import cv2
import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boolean masks of one shape; 1.0 when both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def stability(
    logits: np.ndarray, areas: np.ndarray, threshold: float = 0.0, offset: float = 1.0
) -> float:
    """How little the mask changes when its threshold moves: in [0, 1], 1 is rigid.

    Area above ``threshold + offset`` over area above ``threshold - offset``: the IoU of the two
    nested masks (Kirillov et al., "Segment Anything", 2023). ``logits`` and ``areas`` (pixels
    behind each value) have one shape; 0.0 when nothing is above the lower threshold.
    """
    low, high = (
        np.multiply(areas, logits > limit).sum()
        for limit in (threshold - offset, threshold + offset)
    )
    return float(high / low) if low else 0.0


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tight box (x, y, width, height) of a mask (H, W), bool or uint8; all 0 for an empty mask."""
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    return x, y, w, h


def interior_point(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask (H, W) bool that is farthest from its border.

    Raises ``ValueError`` for an empty mask.
    """
    if not mask.any():
        raise ValueError('an empty mask has no interior point')
    padded = np.pad(mask.view(np.uint8), 1)  # the image border is a border of the mask too
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x) - 1, int(y) - 1
