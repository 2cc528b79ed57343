# SPDX-License-Identifier: Apache-2.0
"""Samples and frames that belong together in time. Times are integer nanoseconds of one clock."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')

SECOND = 1_000_000_000

# A stamp this far behind the newest is a clock that went back (bag loop, reset simulation).
_JUMP_BACK = SECOND


class GazeTrack:
    """The recent samples of one gaze stream, in order of time."""

    def __init__(self, span: int = 2 * SECOND) -> None:
        self._span = span
        self._times: list[int] = []
        self._points: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: int, x: float, y: float) -> bool:
        """Add a sample, in whatever order they come; of equal stamps the last one counts.

        Returns True if the clock went back and all older samples were forgotten.
        """
        jumped = bool(self._times) and time < self._times[-1] - _JUMP_BACK
        if jumped:
            self.clear()
        at = bisect_left(self._times, time)
        if at < len(self._times) and self._times[at] == time:
            self._points[at] = (x, y)
        else:
            self._times.insert(at, time)
            self._points.insert(at, (x, y))
        old = bisect_left(self._times, self._times[-1] - self._span)
        del self._times[:old], self._points[:old]
        return jumped

    def clear(self) -> None:
        """Forget all samples."""
        self._times.clear()
        self._points.clear()

    def latest(self) -> tuple[float, float] | None:
        """Return the gaze (x, y) with the latest stamp."""
        return self._points[-1] if self._points else None

    def at(self, time: int) -> tuple[float, float] | None:
        """Return the gaze (x, y) at a time: interpolated between samples, held beyond the ends."""
        if not self._times:
            return None
        after = bisect_left(self._times, time)
        if after == 0 or after == len(self._times):
            return self._points[min(after, len(self._times) - 1)]
        t0, t1 = self._times[after - 1 : after + 1]
        (x0, y0), (x1, y1) = self._points[after - 1 : after + 1]
        share = (time - t0) / (t1 - t0)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


class RecentFrames(Generic[T]):
    """The last few frames, to find the one that a stamped gaze was looking at."""

    def __init__(self, count: int = 8) -> None:
        self._frames: deque[tuple[int, T]] = deque(maxlen=count)

    def add(self, time: int, frame: T) -> bool:
        """Add a frame; returns True if the clock went back and all older frames were forgotten."""
        jumped = bool(self._frames) and time < self._frames[-1][0] - _JUMP_BACK
        if jumped:
            self._frames.clear()
        self._frames.append((time, frame))
        return jumped

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()

    def latest(self) -> T | None:
        """Return the frame received last."""
        return self._frames[-1][1] if self._frames else None

    def nearest(self, time: int) -> tuple[int, T] | None:
        """Return the time and frame nearest to a time."""
        return min(self._frames, key=lambda item: abs(item[0] - time), default=None)
