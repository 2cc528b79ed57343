# SPDX-License-Identifier: Apache-2.0
"""Where somebody looks who watches one thing: pursuit, saccades within the thing, tracker noise."""

from __future__ import annotations

import cv2
import numpy as np

_SHRINK = 4  # masks are looked at this much smaller: a gaze needs no more
_GAIN = 0.7  # share of the way to the target per sample: a saccade takes 50 ms at 60 Hz
_NOISE_MEMORY = 0.6  # correlation of the noise from one sample to the next
_SACCADE_RATE = 0.5  # Hz
_DEEP, _SHALLOW = 0.6, 0.35  # depths in the thing, as shares of the greatest: saccades go to, stay


class Eye:
    """Looks at the thing that a mask shows. Positions are pixels (x, y) of the full image.

    ``jitter`` is the standard deviation of the noise in pixels, per axis.
    """

    def __init__(self, jitter: float, rate: float, seed: int | None = None) -> None:
        self._jitter = jitter
        self._saccade_chance = _SACCADE_RATE / rate
        self._random = np.random.default_rng(seed)
        self._noise = np.zeros(2)
        self._position: np.ndarray | None = None
        self._target = np.zeros(2)
        self._centre: np.ndarray | None = None
        self._inside = np.empty((0, 2))  # where a saccade may go

    @property
    def is_open(self) -> bool:
        """Whether there is something to look at."""
        return self._position is not None

    def fixate(self, point: tuple[float, float]) -> None:
        """Look at a point that does not move."""
        self._target = np.asarray(point, float)
        self._position = self._target.copy() if self._position is None else self._position
        self._inside, self._centre = np.empty((0, 2)), None

    def see(self, mask: np.ndarray) -> None:
        """Keep looking at the same place of the thing in a new mask (H, W) uint8, thing > 127.

        Where that place has gone or come too near to the border, look at the nearest deep one. A
        mask without a thing changes nothing.
        """
        points, depths = _depths(mask)
        if not len(points):
            return
        centre = points.mean(axis=0)
        self._inside = points[depths >= _DEEP * depths.max()]
        if self._centre is None:
            self._target = points[depths.argmax()]
        else:
            self._target = self._target + centre - self._centre  # pursuit
            nearest = np.square(points - self._target).sum(axis=1).argmin()
            far = np.abs(points[nearest] - self._target).max() > _SHRINK
            if far or depths[nearest] < _SHALLOW * depths.max():
                distances = np.square(self._inside - self._target).sum(axis=1)
                self._target = self._inside[distances.argmin()]
        self._centre = centre
        if self._position is None:
            self._position = self._target.copy()

    def look(self) -> tuple[float, float]:
        """Return the next sample of the gaze (x, y)."""
        if len(self._inside) and self._random.random() < self._saccade_chance:
            self._target = self._random.choice(self._inside)
        self._position = self._position + _GAIN * (self._target - self._position)
        fresh = self._random.normal(0.0, self._jitter, 2) * np.sqrt(1 - _NOISE_MEMORY**2)
        self._noise = _NOISE_MEMORY * self._noise + fresh
        x, y = self._position + self._noise
        return float(x), float(y)


def _depths(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (N, 2) of a thing, (x, y) of the full image, and their depths in it."""
    shrink = _SHRINK
    small = cv2.resize(mask, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA) > 127
    if not small.any():
        small, shrink = mask > 127, 1
    padded = np.pad(small.view(np.uint8), 1)  # the image's border is the thing's border too
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(small)
    points = np.stack([columns, rows], axis=1) * float(shrink) + (shrink - 1) / 2
    return points, depth[rows, columns]
