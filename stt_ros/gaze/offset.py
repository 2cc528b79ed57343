# SPDX-License-Identifier: Apache-2.0
"""How far the clock of a gaze is from that of the images, from how both move.

An eye that rests on a thing moves in the image as the thing does, whether head or thing turns and
moves. So the shift of the gaze from frame to frame is correlated with the optical flow at the
gaze, at every offset of the clocks; the right one has the highest correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Width of the pictures that flow is computed of: a gaze needs no more.
_WIDTH = 160
_STEP = 0.005  # s
_SMOOTH = 0.03  # s, over which the gaze is averaged: less jitter, no delay
_LEAST = 20  # pairs of frames


@dataclass(frozen=True)
class Estimate:
    """The offset in seconds to add to gaze stamps, and what speaks for it.

    ``correlation`` in [-1, 1] is that at the offset, ``confidence`` in [0, 1] how much higher it is
    than at offsets more than 0.2 s away.
    """

    offset: float
    correlation: float
    confidence: float


class Flow:
    """Optical flow from picture to picture, coarse."""

    def __init__(self) -> None:
        self._last: tuple[float, np.ndarray] | None = None
        self._pairs: list[tuple[float, float]] = []
        self._fields: list[np.ndarray] = []

    def add(self, time: float, image: np.ndarray) -> None:
        """Take the next picture (H, W, 3) or (H, W) uint8 of a time in s."""
        height = max(8, round(image.shape[0] * _WIDTH / image.shape[1]))
        small = cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)
        small = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        if self._last is not None and time > self._last[0]:
            field = cv2.calcOpticalFlowFarneback(
                self._last[1], small, None, 0.5, 3, 15, 2, 5, 1.1, 0
            )
            self._pairs.append((self._last[0], time))
            field = cv2.blur(field, (5, 5))[2::4, 2::4] / [_WIDTH, height]
            self._fields.append(field.astype(np.float32))
        self._last = time, small

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return times (N, 2) of pairs of pictures and their flow (N, h, w, 2), in image sizes."""
        return np.array(self._pairs).reshape(-1, 2), np.array(self._fields)


def estimate(
    times: np.ndarray, gaze: np.ndarray, flow: Flow, around: float = 0.0, span: float = 1.0
) -> Estimate:
    """Return the offset of gaze samples: times (N,) in s, gaze (N, 2) in shares of the image.

    Looks for it up to ``span`` seconds from ``around``. Raises ``ValueError`` for too little data.
    """
    pairs, fields = flow.result()
    if len(pairs) < _LEAST or len(times) < _LEAST:
        raise ValueError(
            f'{len(times)} gaze samples and {len(pairs)} pairs of images are too few: {_LEAST} are '
            'needed, some seconds are better'
        )
    order = np.argsort(times, kind='stable')
    times, gaze = times[order], _smoothed(times[order], gaze[order])
    offsets = around + np.arange(-span, span + _STEP / 2, _STEP)
    # Saccades say nothing: what moves much faster than all that is seen.
    fastest = 2 * float(np.quantile(np.abs(fields), 0.99)) + 2e-3
    scores = np.array([_score(times, gaze, pairs - o, fields, fastest) for o in offsets])
    best = int(scores.argmax())
    others = scores[np.abs(offsets - offsets[best]) > 0.2]
    second = max(0.0, float(others.max())) if len(others) else 0.0
    peak = float(scores[best])
    if peak <= 0:
        raise ValueError('the gaze moves with nothing that the images show')
    return Estimate(_refined(offsets, scores, best), peak, max(0.0, peak - second))


def _smoothed(times: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return the mean gaze within half the smoothing time before and after each sample."""
    first = np.searchsorted(times, times - _SMOOTH / 2, 'left')
    last = np.searchsorted(times, times + _SMOOTH / 2, 'right')
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(gaze, axis=0)])
    return (sums[last] - sums[first]) / (last - first)[:, None]


def _score(times, gaze, pairs: np.ndarray, fields: np.ndarray, fastest: float) -> float:
    """Return the correlation of gaze and flow for pairs (N, 2) of times in the gaze's clock."""
    inside = (pairs[:, 0] >= times[0]) & (pairs[:, 1] <= times[-1])
    if inside.sum() < _LEAST:
        return -1.0
    pairs, numbers = pairs[inside], np.flatnonzero(inside)
    begin, end = (
        np.stack([np.interp(pairs[:, i], times, gaze[:, axis]) for axis in (0, 1)], axis=1)
        for i in (0, 1)
    )
    height, width = fields.shape[1:3]
    x = np.clip((begin[:, 0] * width).astype(int), 0, width - 1)
    y = np.clip((begin[:, 1] * height).astype(int), 0, height - 1)
    seen, moved = fields[numbers, y, x], end - begin
    slow = np.abs(moved).max(axis=1) <= fastest
    if slow.sum() < _LEAST:
        return -1.0
    a, b = moved[slow].ravel(), seen[slow].ravel()
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norm) if norm > 0 else 0.0


def _refined(offsets: np.ndarray, scores: np.ndarray, best: int) -> float:
    """Return the top of the parabola through the best score and those beside it."""
    if not 0 < best < len(scores) - 1:
        return float(offsets[best])
    left, top, right = scores[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(offsets[best] + (_STEP * (left - right) / (2 * bend) if bend < 0 else 0.0))
