# SPDX-License-Identifier: Apache-2.0
"""What is being pointed at: the last click, or the gaze stream that came after it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from stt_ros.gaze.pairing import GazeTrack


@dataclass(frozen=True)
class Target:
    """A pixel (x, y) that a prompt points at; results of one prompt have one id, from 1 up."""

    id: int
    point: tuple[float, float]


class Attention:
    """Keeps the prompt in force; the latest wins. Used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._track = GazeTrack()
        self._click: Target | None = None
        self._last_id = 0

    def click(self, x: float, y: float) -> Target:
        """Point at a pixel until the next prompt."""
        with self._lock:
            self._last_id += 1
            self._track.clear()
            self._click = Target(self._last_id, (x, y))
            return self._click

    def gaze(self, time: int, x: float, y: float) -> tuple[Target, bool]:
        """Add a sample (time in ns) of a gaze stream, which is one prompt until a click.

        The flag is True if the clock went back and the older samples were forgotten.
        """
        with self._lock:
            if self._click is not None or not len(self._track):
                self._last_id += 1
            self._click = None
            jumped = self._track.add(time, x, y)
            return Target(self._last_id, (x, y)), jumped

    def at(self, time: int) -> Target | None:
        """Return what was pointed at when the frame with this stamp (ns) was taken.

        To a frame without stamp (0) the latest prompt applies.
        """
        with self._lock:
            if self._click is not None:
                return self._click
            point = self._track.at(time) if time else self._track.latest()
            return None if point is None else Target(self._last_id, point)

    def clear_track(self) -> None:
        """Forget the samples of the gaze stream; a click stays."""
        with self._lock:
            self._track.clear()

    def clear(self) -> bool:
        """Forget the prompt; returns whether there was one."""
        with self._lock:
            had = self._click is not None or len(self._track) > 0
            self._click = None
            self._track.clear()
            return had
