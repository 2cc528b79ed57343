# SPDX-License-Identifier: Apache-2.0
"""What is being pointed at: the last click, or the gaze stream that came after it; or several."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from stt_ros.gaze.pairing import GazeTrack
from stt_ros.gaze.spaces import RawGaze


@dataclass(frozen=True)
class Target:
    """A pixel (x, y) that a prompt points at; results of one prompt have one id, from 1 up.

    With a ``place``, a point in space, the pixel is that of the frame in which it was pointed at.
    """

    id: int
    point: tuple[float, float]
    place: RawGaze | None = None


class Attention:
    """Keeps the prompts in force. Used from several threads.

    ``many`` is how many clicks are followed at once, with the gaze stream beside them; with 1 the
    latest prompt wins, click or stream.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._track = GazeTrack()
        self._clicks: list[Target] = []
        self._stream_id = 0
        self._stamped = True
        self._clicked_last = False  # after the last sample of the stream
        self._last_id = 0

    def click(self, x: float, y: float, many: int = 1, place: RawGaze | None = None) -> Target:
        """Point at a pixel, or a place in space, until ``many`` more clicks have come."""
        with self._lock:
            if many == 1:
                self._track.clear()
            target = Target(self._new_id(), (x, y), place)
            self._clicks = [*self._clicks, target][-many:]
            self._clicked_last = True
            return target

    def once(self, x: float, y: float) -> Target:
        """Point at a pixel in one frame only; the prompts in force stay."""
        with self._lock:
            return Target(self._new_id(), (x, y))

    def gaze(
        self, time: int, x: float, y: float, many: int = 1, stamped: bool = True, limit: int = 0
    ) -> Target:
        """Add a sample (time in ns) of a gaze stream, which is one prompt until it is forgotten.

        Samples of a stream that is not ``stamped`` have the time of the frame they came after, and
        do not grow old. Frames may come up to ``limit`` ns late.
        """
        with self._lock:
            self._track.span = max(GazeTrack.SPAN, limit)
            self._stamped = stamped
            if not len(self._track):
                self._stream_id = self._new_id()
            if many == 1:
                self._clicks = []
            self._clicked_last = False
            self._track.add(time, x, y)
            return Target(self._stream_id, (x, y))

    def placed(self) -> list[Target]:
        """Return the clicks in force that are places in space."""
        with self._lock:
            return [target for target in self._clicks if target.place is not None]

    def looking(self) -> bool:
        """Tell whether there is a gaze stream with open eyes."""
        with self._lock:
            return self._track.latest() is not None

    def lose(self, time: int) -> None:
        """Note that from a time (ns) on the eyes are closed, until the next sample."""
        with self._lock:
            self._track.lose(time)

    def at(self, time: int, limit: int | None = None, many: int = 1) -> list[Target]:
        """Return what was pointed at when the frame with this stamp (ns) was taken.

        Samples of the gaze stream more than ``limit`` ns away do not count. To a frame without
        stamp (0) the latest sample applies.
        """
        with self._lock:
            clicks = self._clicks[-many:]
            if many == 1 and not self._clicked_last:
                clicks = []
            if not len(self._track) or (many == 1 and self._clicked_last):
                return clicks
            limit = limit if self._stamped else None
            point = self._track.at(time, limit) if time else self._track.latest()
            return clicks if point is None else [*clicks, Target(self._stream_id, point)]

    def offset(self, time: int) -> int | None:
        """Return how much later (ns) than the stream's nearest sample a time is; None without."""
        with self._lock:
            return self._track.offset(time)

    def clear_track(self) -> None:
        """Forget the samples of the gaze stream; clicks stay."""
        with self._lock:
            self._track.clear()

    def clear(self, target_id: int | None = None) -> bool:
        """Forget the prompt of this id, or all; returns whether there was any."""
        with self._lock:
            stays = [t for t in self._clicks if target_id is not None and t.id != target_id]
            stream_goes = len(self._track) > 0 and target_id in (None, self._stream_id)
            had = len(stays) < len(self._clicks) or stream_goes
            self._clicks = stays
            if stream_goes:
                self._track.clear()
            return had

    def ids(self) -> list[int]:
        """Return the ids of all prompts in force."""
        with self._lock:
            stream = [self._stream_id] if len(self._track) else []
            return [target.id for target in self._clicks] + stream

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id
