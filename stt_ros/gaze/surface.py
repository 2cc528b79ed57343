# SPDX-License-Identifier: Apache-2.0
"""What of a depth image belongs to a mask, without the points that fly at its border."""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros.gaze.spaces import GazeError

# Pixels within which the border of a mask may lie, and the share of the depth by which the depth
# may vary there from a pixel to the next: between two surfaces depth cameras see points in the air.
_BORDER = 2
_JUMP = 0.05


def fit(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a depth image (h, w) in the size (H, W) of the camera's image.

    Raises ``GazeError`` when it has another shape: it does not show the same.
    """
    if depth.shape == tuple(size):
        return depth
    (height, width), (h, w) = size, depth.shape
    if abs(w * height - h * width) > max(size):
        raise GazeError(
            f'the depth image has {w} x {h} pixels, the image {width} x {height}: another '
            'shape, so it is not aligned to the image'
        )
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def object_pixels(mask: np.ndarray, corner: tuple[int, int], depth: np.ndarray) -> np.ndarray:
    """Return the pixels (N,) of a mask that have a depth that is the object's, row by row.

    They are counted row by row through the whole image.

    ``mask`` (h, w) bool is the part of the image whose top left pixel is ``corner`` (x, y); depth
    (H, W) float32 in metres, 0 where unknown. Left out are pixels without depth and, at the border
    of the mask, those where the depth jumps.
    """
    (x, y), (height, width) = corner, mask.shape
    left, top = min(x, _BORDER), min(y, _BORDER)
    around = depth[y - top : y + height + _BORDER, x - left : x + width + _BORDER]
    inside = (slice(top, top + height), slice(left, left + width))
    nearest = cv2.erode(np.where(around > 0, around, np.float32(np.inf)), np.ones((3, 3)))[inside]
    farthest = cv2.dilate(around, np.ones((3, 3)))[inside]
    z = around[inside]
    jumps = farthest - nearest > _JUMP * z
    padded = cv2.copyMakeBorder(mask.view(np.uint8), *(_BORDER,) * 4, cv2.BORDER_CONSTANT, value=0)
    side = 2 * _BORDER + 1
    core = cv2.erode(padded, np.ones((side, side)))[_BORDER:-_BORDER, _BORDER:-_BORDER]
    rows, columns = np.nonzero(mask & (z > 0) & ~(jumps & (core == 0)))
    return (rows + y) * depth.shape[1] + columns + x
