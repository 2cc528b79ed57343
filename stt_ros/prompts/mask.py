# SPDX-License-Identifier: Apache-2.0
"""A mask that is nearly right: drawn coarsely, of another program, or the last answer."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError
from stt_ros.prompts.foreground import deepest_points
from stt_ros.prompts.region import Region

GAZES = 5
SMALLEST_PART = 0.1  # share of the mask below which a part of it gets no gaze


class Mask:
    """A coarse mask (H, W) of the thing in the same picture; bool, or numbers above 0 inside.

    Raises ``PromptError`` if it is not two-dimensional or empty.
    """

    def __init__(self, mask: np.ndarray, gazes: int = GAZES) -> None:
        mask = np.asarray(mask)
        if mask.ndim != 2:
            raise PromptError(f'mask has shape {mask.shape}; expected (H, W)')
        self.size = mask.shape
        self.region = Region.of_mask(mask > 0)
        if not self.region.area:
            raise PromptError(f'the mask of {mask.shape[1]} x {mask.shape[0]} pixels is empty')
        self.gazes = gazes

    def propose(self, frame: Frame) -> np.ndarray:
        """Return the deepest points of its parts; ``PromptError`` if the frame's size differs."""
        if self.size != tuple(frame.size):
            raise PromptError(
                f'mask of {self.size[1]} x {self.size[0]} pixels for an image of '
                f'{frame.size[1]} x {frame.size[0]}: they must be of one size'
            )
        _, labels, stats, _ = cv2.connectedComponentsWithStats(self.region.crop.view(np.uint8))
        areas = stats[:, cv2.CC_STAT_AREA]
        parts = [k for k in range(1, len(areas)) if areas[k] >= SMALLEST_PART * self.region.area]
        parts = sorted(parts, key=lambda k: -areas[k])[: self.gazes] or [
            int(areas[1:].argmax()) + 1
        ]
        each = -(-self.gazes // len(parts))
        corner = self.region.box[:2]
        return np.array([p for k in parts for p in deepest_points(labels == k, each, corner)])

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the IoU of each candidate with the mask."""
        return np.array([candidate.iou(self.region) for candidate in candidates])
