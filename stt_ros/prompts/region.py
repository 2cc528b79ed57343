# SPDX-License-Identifier: Apache-2.0
"""Masks as a box and the pixels in it: compared and joined without a full frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stt_ros import masks

NOWHERE = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Region:
    """A mask: its tight ``box`` (x, y, width, height) in pixels and ``crop`` (height, width) bool.

    The box of an empty mask is all 0.
    """

    box: tuple[int, int, int, int]
    crop: np.ndarray

    @classmethod
    def of_mask(cls, mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> Region:
        """Cut a mask (H, W) bool to its box; ``corner`` (x, y) is where its first pixel lies."""
        x, y, width, height = masks.bounding_box(mask)
        if not width:
            return cls(NOWHERE, np.zeros((0, 0), bool))
        crop = mask[y : y + height, x : x + width].copy()
        return cls((x + corner[0], y + corner[1], width, height), crop)

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """Return the mask of the whole image of ``size`` (H, W), (H, W) bool."""
        full = np.zeros(size, bool)
        x, y, width, height = self.box
        full[y : y + height, x : x + width] = self.crop
        return full

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Say of each point (K, 2), x and y in pixels, whether its pixel is in the mask: (K,)."""
        at = np.floor(np.asarray(points, float).reshape(-1, 2)).astype(int) - self.box[:2]
        inside = np.all((at >= 0) & (at < self.box[2:]), axis=1)
        inside[inside] = self.crop[at[inside, 1], at[inside, 0]]
        return inside

    def window(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """Return the part of the mask in a box (x, y, width, height): (height, width) bool."""
        part = np.zeros((box[3], box[2]), bool)
        shared = overlap(self.box, box)
        part[inner(shared, box)] = self.crop[inner(shared, self.box)]
        return part

    def shared_area(self, other: Region) -> int:
        """Number of pixels in both masks."""
        shared = overlap(self.box, other.box)
        if not shared[2]:
            return 0
        both = self.crop[inner(shared, self.box)] & other.crop[inner(shared, other.box)]
        return int(np.count_nonzero(both))

    def iou(self, other: Region) -> float:
        """Intersection over union; 1.0 when both are empty."""
        shared = self.shared_area(other)
        union = self.area + other.area - shared
        return shared / union if union else 1.0

    def union(self, other: Region) -> Region:
        """Return what is in one mask or the other."""
        box = hull(self.box, other.box)
        return Region(box, self.window(box) | other.window(box))

    def minus(self, other: Region) -> Region:
        """Return what is in this mask and not in the other."""
        if not self.shared_area(other):
            return Region(self.box, self.crop)
        return Region.of_mask(self.crop & ~other.window(self.box), self.box[:2])

    def within(self, other: Region) -> Region:
        """Return what is in both masks."""
        shared = overlap(self.box, other.box)
        both = self.crop[inner(shared, self.box)] & other.crop[inner(shared, other.box)]
        return Region.of_mask(both, shared[:2])


def overlap(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the box that two boxes (x, y, width, height) share; all 0 when none."""
    x, y = max(a[0], b[0]), max(a[1], b[1])
    width = min(a[0] + a[2], b[0] + b[2]) - x
    height = min(a[1] + a[3], b[1] + b[3]) - y
    return (x, y, width, height) if width > 0 and height > 0 else NOWHERE


def hull(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the smallest box around two boxes (x, y, width, height); empty ones do not count."""
    if not a[2] or not b[2]:
        return tuple(b if not a[2] else a)
    x, y = min(a[0], b[0]), min(a[1], b[1])
    right, bottom = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return x, y, right - x, bottom - y


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    shared = overlap(a, b)
    area = shared[2] * shared[3]
    union = a[2] * a[3] + b[2] * b[3] - area
    return area / union if union else 1.0


def ious(regions: Sequence[Region]) -> np.ndarray:
    """Return the IoU of every pair of masks: (R, R) float64."""
    table = np.eye(len(regions))
    for i, a in enumerate(regions):
        for j in range(i):
            table[i, j] = table[j, i] = a.iou(regions[j])
    return table


def inner(box: Sequence[int], frame: Sequence[int]) -> tuple[slice, slice]:
    """Return the rows and columns that a box takes in the crop of another; none if it is empty."""
    if not box[2]:
        return slice(0, 0), slice(0, 0)
    x, y = box[0] - frame[0], box[1] - frame[1]
    return slice(y, y + box[3]), slice(x, x + box[2])
