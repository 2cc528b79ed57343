# SPDX-License-Identifier: Apache-2.0
"""Maps of how much each place of a frame is like what is meant."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from stt_ros.prompts.region import Region, overlap

RING = 0.3  # width of the ring around a candidate, as part of the square root of its area
DETAIL = 96  # a candidate is compared with the map in at most so many steps per side


class HeatMap:
    """Values (h, w) in [0, 1] that cover a frame of ``size`` (H, W) evenly; 1: surely meant."""

    def __init__(self, values: np.ndarray, size: tuple[int, int]) -> None:
        self.values = np.ascontiguousarray(values, np.float32)
        self.size = size

    def contrast(self, candidates: Sequence[Region]) -> np.ndarray:
        """Return for C candidates their mean value minus that of a ring around: (C,) in [0, 1].

        A part of the thing has the rest of it in its ring, too large a mask has the background
        inside: both score lower than the whole thing.
        """
        return np.array([self._contrast(candidate) for candidate in candidates], float)

    def _contrast(self, candidate: Region) -> float:
        if not candidate.area:
            return 0.0
        margin = max(2, round(RING * candidate.area**0.5))
        x, y, width, height = candidate.box
        frame = (0, 0, self.size[1], self.size[0])
        window = overlap((x - margin, y - margin, width + 2 * margin, height + 2 * margin), frame)
        step = max(1, max(window[2:]) / DETAIL)
        shape = (max(1, round(window[2] / step)), max(1, round(window[3] / step)))
        inside = candidate.window(window).astype(np.float32)
        inside = cv2.resize(inside, shape, interpolation=cv2.INTER_AREA)
        reach = 2 * max(1, round(margin / step)) + 1
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        around = cv2.dilate(inside, disk) * (1 - inside)
        heat = self._window(window, shape)
        outside = (heat * around).sum() / around.sum() if around.any() else 0.0
        return float(np.clip((heat * inside).sum() / inside.sum() - outside, 0, 1))

    def _window(self, box: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
        """Return the map of a box (x, y, width, height) of the frame, resized to (w, h)."""
        (height, width), (rows, columns) = self.size, self.values.shape
        # The first pixel's centre and the step between pixels, in cells of the map.
        sx, sy = columns / width, rows / height
        step = box[2] / shape[0] * sx, box[3] / shape[1] * sy
        first = box[0] * sx + step[0] / 2 - 0.5, box[1] * sy + step[1] / 2 - 0.5
        place = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self.values, place, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
