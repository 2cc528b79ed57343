# SPDX-License-Identifier: Apache-2.0
"""An eye to try things with: fixations, saccades, jitter, blinks and dropouts, the same each time.

Durations are those of the literature: fixations of 300 ms (Salvucci & Goldberg 2000 name 200 to
400), saccades of 21 ms + 2.2 ms per degree (Carpenter 1988), 17 blinks a minute (Bentivoglio et al.
1997) of 150 ms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stt_ros.gaze.pairing import Point

Target = Callable[[float], 'Point | None']


@dataclass(frozen=True)
class Habits:
    """What an eye does: pixels, seconds, and shares of samples."""

    jitter: float = 2.0  # standard deviation of each sample
    spread: float = 8.0  # of the fixations around what is looked at
    fixation: float = 0.3  # mean duration
    blinks: float = 17.0  # per minute
    blink: float = 0.15  # duration
    dropouts: float = 0.0  # share of samples that never come
    pixels_per_degree: float = 15.0


@dataclass(frozen=True)
class EyeSample:
    """Where the eye looks, in pixels; confidence 0 while it is closed, else 1."""

    x: float
    y: float
    confidence: float


class EyeSimulator:
    """An eye that follows a target; ``sample`` must be called with growing times.

    ``target`` gives the pixel (x, y) of the thing at a time in seconds, None if there is none.
    The same seed, target and times give the same samples.
    """

    def __init__(self, target: Target, habits: Habits | None = None, seed: int = 0) -> None:
        self._target = target
        self._habits = habits or Habits()
        self._chance = random.Random(seed)
        self._aim = (0.0, 0.0)  # of this fixation, relative to the target
        self._from: Point | None = None  # where the saccade began
        self._saccade = (0.0, 0.0)  # begin and end
        self._next_saccade = -math.inf
        self._blink = (-1.0, -1.0)
        self._last: Point | None = None

    def sample(self, time: float) -> EyeSample | None:
        """Return the sample of a time (s); None for a dropout, or when there is no target."""
        thing = self._target(time)
        if thing is None:
            return None
        habits, chance = self._habits, self._chance
        if time >= self._next_saccade:
            self._begin_saccade(time, thing)
        x, y = self._position(time, thing)
        self._last = x, y
        x, y = chance.gauss(x, habits.jitter), chance.gauss(y, habits.jitter)
        closed = self._is_closed(time)
        if chance.random() < habits.dropouts:
            return None
        return EyeSample(x, y, 0.0 if closed else 1.0)

    def _begin_saccade(self, time: float, thing: Point) -> None:
        habits, chance = self._habits, self._chance
        self._aim = chance.gauss(0, habits.spread), chance.gauss(0, habits.spread)
        self._from = self._last
        goal = thing[0] + self._aim[0], thing[1] + self._aim[1]
        degrees = math.dist(self._from or goal, goal) / habits.pixels_per_degree
        lasts = 0.021 + 0.0022 * degrees if self._from else 0.0
        self._saccade = time, time + lasts
        self._next_saccade = time + lasts + chance.lognormvariate(math.log(habits.fixation), 0.4)

    def _position(self, time: float, thing: Point) -> Point:
        """Return where the eye is: on its way, by a profile of least jerk, or following."""
        goal = thing[0] + self._aim[0], thing[1] + self._aim[1]
        begin, end = self._saccade
        if self._from is None or time >= end:
            return goal
        s = (time - begin) / (end - begin)
        s = s**3 * (10 - 15 * s + 6 * s**2)
        return tuple(a + s * (b - a) for a, b in zip(self._from, goal, strict=True))

    def _is_closed(self, time: float) -> bool:
        if self._habits.blinks <= 0:
            return False
        if time > self._blink[1]:
            pause = self._chance.expovariate(self._habits.blinks / 60)
            self._blink = time + pause, time + pause + self._habits.blink
        return self._blink[0] <= time


def waypoints(points: Sequence[tuple[float, float, float]]) -> Target:
    """Return the target that jumps to (x, y) at t of each (t, x, y), and starts again at the end.

    The last one lasts as long as the one before. Raises ``ValueError`` for no points, or times
    that do not grow from 0.
    """
    times = [t for t, _, _ in points]
    if not times or times[0] != 0 or any(b <= a for a, b in zip(times, times[1:], strict=False)):
        raise ValueError(f'waypoints need times that grow from 0 on, not {times[:5]}')
    length = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)

    def target(time: float) -> Point:
        within = time % length
        _, x, y = next(point for point in reversed(points) if point[0] <= within)
        return x, y

    return target


def to_space(
    sample: Point, space: str, size: tuple[int, int], focal: float, depth: float
) -> tuple[float, float, float]:
    """Return a pixel (x, y) of an image (H, W) as the numbers of a space.

    Of 'camera_3d' and 'ray': the point at ``depth`` metres, or the direction, in the optical frame
    of a pinhole camera with this focal length in pixels and the principal point in the middle.
    """
    (x, y), (height, width) = sample, size
    if space == 'normalized':
        return x / width, y / height, 0.0
    if space == 'normalized_bottom_left':
        return x / width, 1 - y / height, 0.0
    if space == 'pixel':
        return x, y, 0.0
    right, down = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
    if space == 'camera_3d':
        return right * depth, down * depth, depth
    length = math.hypot(right, down, 1.0)
    return right / length, down / length, 1 / length
