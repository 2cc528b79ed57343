# SPDX-License-Identifier: Apache-2.0
"""Where to look to see everything: grids of gazes, over the frame and over enlarged parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError
from stt_ros.prompts.region import NOWHERE, Region

CROP_OVERLAP = 512 / 1500  # of the shorter side, for two parts a side (SAM's default)


@dataclass(frozen=True)
class Crop:
    """A part (x, y, width, height) of a frame, looked at ``scale`` times enlarged."""

    box: tuple[int, int, int, int]
    scale: int = 1

    def view(self, frame: Frame) -> Frame:
        """Return the part as a frame of its own; a view of the pixels unless enlarged."""
        x, y, width, height = self.box
        part = frame.pixels[y : y + height, x : x + width]
        if self.scale > 1:
            size = (width * self.scale, height * self.scale)
            part = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        return Frame(part, frame.order)

    def inside(self, gazes: np.ndarray) -> np.ndarray:
        """Return gazes (K, 2) of the frame in the pixels of the view."""
        return (gazes - self.box[:2]) * self.scale

    def outside(self, candidate: Candidate) -> Candidate:
        """Return a candidate of the view in the pixels of the frame."""
        gaze = tuple(
            float(v) / self.scale + o for v, o in zip(candidate.gaze, self.box, strict=False)
        )
        region = _shrunk(candidate, self.scale)
        (x, y, width, height), (ox, oy) = region.box, self.box[:2]
        box = (x + ox, y + oy, width, height) if width else NOWHERE
        return Candidate(box, region.crop, gaze, candidate.predicted_iou, candidate.stability)


def crops(size: tuple[int, int], layers: int) -> list[list[Crop]]:
    """Return the parts of a frame (H, W) layer by layer: all of it, then 2 x 2, 4 x 4, ...

    Neighbours of layer i overlap by ``CROP_OVERLAP`` / 2**(i - 1) of the shorter side, and are
    enlarged 2**i times.
    """
    height, width = size
    result = [[Crop((0, 0, width, height))]]
    for layer in range(1, layers + 1):
        parts = 2**layer
        overlap = int(CROP_OVERLAP * min(size) * 2 / parts)
        columns, rows = (_spans(length, parts, overlap) for length in (width, height))
        boxes = [(x, y, w, h) for y, h in rows for x, w in columns]
        result.append([Crop(box, parts) for box in boxes])
    return result


def grid(box: Sequence[int], per_side: int) -> np.ndarray:
    """Return the centres (K, 2) of ``per_side`` x ``per_side`` cells of a box, coarse ones first.

    Any beginning of them is spread over the whole box. Raises ``PromptError`` for fewer than 1.
    """
    if per_side < 1:
        raise PromptError(f'the grid has {per_side} points per side; expected at least 1')
    x, y, width, height = box
    cells = np.stack(np.meshgrid(np.arange(per_side), np.arange(per_side)), axis=-1).reshape(-1, 2)
    order = sorted(cells.tolist(), key=lambda cell: (_spread(*cell), cell))
    return np.array([x, y]) + (np.array(order) + 0.5) * (width, height) / per_side


def _spread(column: int, row: int) -> int:
    """Return the place of a cell in an order that fills the plane evenly (an ordered dither)."""
    place = 0
    for _ in range(12):
        place = place * 4 + ((column ^ row) & 1) * 2 + (row & 1)
        column, row = column >> 1, row >> 1
    return place


def _spans(length: int, parts: int, overlap: int) -> list[tuple[int, int]]:
    """Return start and length of ``parts`` overlapping pieces that fill a length."""
    piece = -(-(overlap * (parts - 1) + length) // parts)
    starts = [min(k * (piece - overlap), max(length - piece, 0)) for k in range(parts)]
    return [(start, min(piece, length - start)) for start in starts]


def _shrunk(region: Region, scale: int) -> Region:
    """Return a mask of an enlarged view at the frame's own resolution."""
    if scale == 1 or not region.area:
        return region
    x, y, width, height = region.box
    left, top = x // scale, y // scale
    right, bottom = -(-(x + width) // scale), -(-(y + height) // scale)
    canvas = region.window(
        (left * scale, top * scale, (right - left) * scale, (bottom - top) * scale)
    )
    size = (right - left, bottom - top)
    mean = cv2.resize(canvas.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Region.of_mask(mean > 0.5, (left, top))
