# SPDX-License-Identifier: Apache-2.0
"""A box around the thing, or the boxes of a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts import grids
from stt_ros.prompts.base import Candidate, PromptError
from stt_ros.prompts.foreground import deepest_points, foreground
from stt_ros.prompts.region import Region, box_iou, overlap

# Part of a box's side by which a thing may stick out of a box drawn by hand.
MARGIN = 0.05
GRID = 3  # looks per side of a box
DEEP = 3  # looks at what stands out in it


class Box:
    """A box (x, y, width, height) in pixels around the thing, drawn by hand or by a detector.

    It may reach over the border of the picture. Raises ``PromptError`` if it is not four finite
    numbers or has no area.
    """

    def __init__(self, box: Sequence[float]) -> None:
        self.box = _check_box(box)
        self.limits: Region | None = None

    def propose(self, frame: Frame) -> np.ndarray:
        """Return a grid around the centre, and deep points of what looks unlike the surroundings.

        Raises ``PromptError`` for a box outside the frame.
        """
        pixels = self.inside(frame.size)
        x, y, w, h = self.box
        grown = (x - w * MARGIN, y - h * MARGIN, w * (1 + 2 * MARGIN), h * (1 + 2 * MARGIN))
        limits = _whole(grown, frame.size)
        self.limits = Region(limits, np.ones((limits[3], limits[2]), bool))
        deep = deepest_points(foreground(frame, pixels), DEEP, pixels[:2])
        return np.concatenate([grids.grid(pixels, GRID), np.array(deep).reshape(-1, 2)])

    def inside(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the pixels of an image of ``size`` (H, W) in it, as (x, y, width, height).

        Raises ``PromptError`` when there are none.
        """
        pixels = _whole(self.box, size)
        if not pixels[2]:
            x, y, w, h = self.box
            raise PromptError(
                f'box (x={x:g}, y={y:g}, {w:g} x {h:g}) is outside the image of '
                f'{size[1]} x {size[0]} pixels'
            )
        return pixels

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the IoU of each candidate's box with this one, times its share inside."""
        return np.array([self._score(candidate) for candidate in candidates])

    def _score(self, candidate: Candidate) -> float:
        if not candidate.area:
            return 0.0
        shared = overlap(candidate.box, _outward(self.box))
        inside = np.count_nonzero(candidate.window(shared)) / candidate.area
        return box_iou(candidate.box, self.box) * inside


class Boxes:
    """Boxes (x, y, width, height) of several things; a candidate must fit one of them.

    For ``mode='all_instances'``; one answer per box in their order: one ``Box`` each and
    ``mode='one_per_prompt'``. Raises ``PromptError`` as ``Box`` does, and for no box at all.
    """

    def __init__(self, boxes: Sequence[Sequence[float]]) -> None:
        if not len(boxes):
            raise PromptError('there is no box; expected at least one, (x, y, width, height)')
        self.boxes = [Box(box) for box in boxes]

    def propose(self, frame: Frame) -> np.ndarray:
        """Return the gazes of all boxes; raises ``PromptError`` for a box outside the frame."""
        return np.concatenate([box.propose(frame) for box in self.boxes])

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return each candidate's agreement with the box that it fits best."""
        return np.max([box.score(candidates) for box in self.boxes], axis=0)


def _check_box(box) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(v) for v in box)
    except (TypeError, ValueError):
        raise PromptError(f'box is {box!r}; expected (x, y, width, height) in pixels') from None
    if not all(math.isfinite(v) for v in (x, y, width, height)):
        raise PromptError(f'box (x={x}, y={y}, {width} x {height}): all numbers must be finite')
    if width <= 0 or height <= 0:
        raise PromptError(
            f'box (x={x:g}, y={y:g}, {width:g} x {height:g}) is empty: '
            'width and height must be above 0'
        )
    return x, y, width, height


def _outward(box: Sequence[float]) -> tuple[int, int, int, int]:
    """Return the whole pixels that a box touches."""
    x, y = math.floor(box[0]), math.floor(box[1])
    return x, y, math.ceil(box[0] + box[2]) - x, math.ceil(box[1] + box[3]) - y


def _whole(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    return overlap(_outward(box), (0, 0, size[1], size[0]))
