# SPDX-License-Identifier: Apache-2.0
"""Samples and frames that belong together in time. Times are integer nanoseconds of one clock."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')
Point = tuple[float, float]

SECOND = 1_000_000_000

# A stamp this far behind the newest is a clock that went back (bag loop, reset simulation); one
# that is less late has been overtaken on its way.
_JUMP_BACK = SECOND

# Between samples further apart than this the eye may have been anywhere: the nearer one counts. The
# longest gap that Olsen, "The Tobii I-VT fixation filter" (2012), interpolates by default.
_MAX_GAP = 75 * SECOND // 1000


class StampWatch:
    """Tells when the clock behind the stamps goes back, once for all streams together.

    Each stream is compared with itself, since streams may differ in clock and latency. When one
    goes back the others are expected to follow: what they still bring of the time before is stale.
    One wrong stamp, ahead of the others of its stream or behind them, changes nothing.
    """

    OK, BACK, STALE, ALONE = 'ok', 'back', 'stale', 'alone'

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._left: dict[str, int] = {}  # newest stamps of the time before
        self._behind: set[str] = set()  # streams that are still in the time before
        self._ahead: dict[str, int] = {}  # newest stamps before a single one that is far ahead
        self._alone: dict[str, int] = {}  # single ones that are far behind

    def check(self, stream: str, time: int, sure: bool = True) -> str:
        """Note a stamp (ns) of a stream; returns ``OK``, ``BACK``, ``STALE`` or ``ALONE``.

        Not ``sure``: that the clock went back is believed from the second stamp on, the first is
        ``ALONE``.
        """
        newest = self._newest.get(stream, time)
        if stream in self._behind:
            if abs(time - newest) <= _JUMP_BACK:
                return self.STALE
            # It follows; or goes on as before for a second, because its clock is another one.
            self._behind.discard(stream)
            self._left[stream], self._newest[stream] = newest, time
            return self.OK
        if time < newest - _JUMP_BACK:
            return self._earlier(stream, time, sure)
        self._alone.pop(stream, None)
        self._ahead.pop(stream, None)
        if time > newest + _JUMP_BACK:
            if abs(time - self._left.get(stream, 0)) <= _JUMP_BACK:
                return self.STALE
            self._ahead[stream] = newest
        self._newest[stream] = max(time, newest)
        return self.OK

    def _earlier(self, stream: str, time: int, sure: bool) -> str:
        """Judge a stamp that is far behind the newest."""
        ahead, alone = self._ahead.pop(stream, None), self._alone.pop(stream, None)
        newest, self._newest[stream] = self._newest[stream], time
        if ahead is not None and time >= ahead - _JUMP_BACK:  # it was the newest that is wrong
            return self.OK
        if not sure and (alone is None or abs(time - alone) > _JUMP_BACK):
            self._newest[stream], self._alone[stream] = newest, time
            return self.ALONE
        self._behind = self._newest.keys() - {stream}
        self._left[stream] = newest
        return self.BACK

    def waits_for(self, stream: str) -> bool:
        """Tell whether a stream has yet to follow another one that went back."""
        return stream in self._behind


class GazeTrack:
    """The recent samples of one gaze stream, in order of time."""

    SPAN = 2 * SECOND

    def __init__(self, span: int = SPAN) -> None:
        self.span = span  # ns that are kept
        self._times: list[int] = []
        self._points: list[Point | None] = []  # None: from here on nobody looks

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: int, x: float, y: float) -> None:
        """Add a sample, in whatever order they come; of equal stamps the last one counts.

        One from more than a second ago means that the clock went back: the others are forgotten.
        """
        self._add(time, (x, y))

    def lose(self, time: int) -> None:
        """Note that the eyes are closed, or not seen, from a time on until the next sample."""
        if self._times:
            self._add(time, None)

    def clear(self) -> None:
        """Forget all samples."""
        self._times.clear()
        self._points.clear()

    def latest(self) -> Point | None:
        """Return the gaze (x, y) with the latest stamp, None if nobody looks."""
        return self._points[-1] if self._points else None

    def at(self, time: int, limit: int | None = None) -> Point | None:
        """Return the gaze (x, y) at a time: interpolated between samples, held beyond the ends.

        None if nobody looked, or the nearest sample used is more than ``limit`` ns away.
        """
        after = bisect_left(self._times, time)
        if after < len(self._times) and self._times[after] == time:
            return self._points[after]
        before = self._sample(after - 1)
        behind = self._sample(after) if before is None or before[1] is not None else None
        used = [s for s in (before, behind) if s is not None and s[1] is not None]
        used.sort(key=lambda sample: abs(sample[0] - time))
        if not used or (limit is not None and abs(used[0][0] - time) > limit):
            return None
        if len(used) == 1 or abs(used[1][0] - used[0][0]) > _MAX_GAP:
            return used[0][1]
        (t0, (x0, y0)), (t1, (x1, y1)) = used
        share = (time - t0) / (t1 - t0)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)

    def offset(self, time: int) -> int | None:
        """Return how much later (ns) than the nearest sample a time is, None without samples."""
        after = bisect_left(self._times, time)
        near = self._times[max(after - 1, 0) : after + 1]
        return min((time - t for t in near), key=abs, default=None)

    def _sample(self, index: int) -> tuple[int, Point | None] | None:
        inside = 0 <= index < len(self._times)
        return (self._times[index], self._points[index]) if inside else None

    def _add(self, time: int, point: Point | None) -> None:
        if self._times and time < self._times[-1] - _JUMP_BACK:
            self.clear()
        at = bisect_left(self._times, time)
        if at < len(self._times) and self._times[at] == time:
            self._points[at] = point
        else:
            self._times.insert(at, time)
            self._points.insert(at, point)
        old = bisect_left(self._times, self._times[-1] - self.span)
        del self._times[:old], self._points[:old]


class RecentFrames(Generic[T]):
    """The last frames, to find the one that a stamped gaze was looking at.

    64 of them, as long as that is no more than 64 MB; 8 in any case.
    """

    LEAST, MOST, BYTES = 8, 64, 64_000_000

    def __init__(self) -> None:
        self._frames: deque[tuple[int, T, int]] = deque()
        self._bytes = 0

    def add(self, time: int, frame: T, nbytes: int = 0) -> None:
        """Add a frame; one from more than a second ago means that the clock went back: the others
        are forgotten.
        """
        if self._frames and time < self._frames[-1][0] - _JUMP_BACK:
            self.clear()
        self._frames.append((time, frame, nbytes))
        self._bytes += nbytes
        while len(self._frames) > self.LEAST and (
            len(self._frames) > self.MOST or self._bytes > self.BYTES
        ):
            self._bytes -= self._frames.popleft()[2]

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._bytes = 0

    def latest(self) -> T | None:
        """Return the frame received last."""
        return self._frames[-1][1] if self._frames else None

    def nearest(self, time: int) -> tuple[int, T] | None:
        """Return the time and frame nearest to a time."""
        nearest = min(self._frames, key=lambda item: abs(item[0] - time), default=None)
        return None if nearest is None else nearest[:2]
