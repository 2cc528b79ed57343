# SPDX-License-Identifier: Apache-2.0
"""The training pictures, and the things cut out of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from training import real


@dataclass
class Bank:
    """The training pictures and what was cut out of them: (rgb (h, w, 3), mask (h, w) 0..255)."""

    pictures: list[real.Picture] = field(default_factory=list)
    weights: np.ndarray | None = None
    cutouts: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    others: list[list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=list)  # by origin

    def thing(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Pick a thing: (rgb, mask); two in three from elsewhere, each origin as often."""
        kind = self.cutouts
        if self.others and (not kind or rng.random() < 0.65):
            kind = self.others[rng.integers(len(self.others))]
        return kind[rng.integers(len(kind))]

    @property
    def photos(self) -> list[np.ndarray]:
        return [p.image for p in self.pictures]


def make_bank(groups: list[tuple[list[real.Picture], float]], smallest: int = 30) -> Bank:
    """Collect pictures in (group, share) pairs; cut out whole things of over ``smallest``^2 px."""
    bank = Bank()
    weights = []
    for pictures, share in groups:
        bank.pictures += pictures
        weights += [share / len(pictures)] * len(pictures)
        step = max(1, len(pictures) // 90)
        for picture in pictures[::step]:
            bank.cutouts += _cut_out(picture, smallest)
    bank.weights = np.array(weights) / np.sum(weights)
    return bank


def _cut_out(picture: real.Picture, smallest: int) -> list:
    found = []
    for i in range(len(picture.objects)):
        mask = picture.mask(i)
        if cv2.countNonZero(mask) < smallest**2:
            continue
        if not isinstance(picture.objects[i], real.PackedMask):
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
        x, y, w, h = cv2.boundingRect(mask)
        if min(x, y, mask.shape[1] - x - w, mask.shape[0] - y - h) < 3:
            continue  # a part of a thing, or the ground
        found.append(
            (picture.image[y : y + h, x : x + w].copy(), mask[y : y + h, x : x + w].copy())
        )
    return found
