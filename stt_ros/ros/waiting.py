# SPDX-License-Identifier: Apache-2.0
"""Prompts that wait a moment for what they need, without keeping anybody else waiting."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rclpy.clock import Clock, ClockType

from stt_ros.gaze.transforms import NotYetError

# Seconds: transforms and depth images come after the image that they belong to; a first
# calibration or the first transforms take a discovery.
PATIENCE = 2.0
_PERIOD = 0.02
# Jobs of a source: at 200 Hz, what comes in 80 ms; trying them all again costs 5 % of a core.
_ROOM = 16


class Waiting:
    """Runs jobs; those that raise ``NotYetError`` are tried again until their time is over."""

    def __init__(self, node, reject: Callable[[str, Exception], None]) -> None:
        self._node, self._reject = node, reject
        self._jobs: deque[tuple[float, str, Callable[[], None]]] = deque()
        self._timer = node.create_timer(
            _PERIOD, self._again, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()  # until something waits

    def run(self, source: str, job: Callable[[], None], until: float | None = None) -> None:
        """Run a source's job now, or when what it needs has come; reject it when it cannot be."""
        try:
            job()
        except NotYetError as error:
            until = until or time.monotonic() + PATIENCE
            if time.monotonic() > until or self._waiting(source) >= _ROOM:
                self._reject(source, error)
                return
            if not self._jobs:
                self._timer.reset()
            self._jobs.append((until, source, job))
        except Exception as error:  # whatever comes of a message, the node goes on
            self._reject(source, error)

    def clear(self) -> None:
        """Forget what waits."""
        self._jobs.clear()

    def close(self) -> None:
        """Forget what waits and stop."""
        self.clear()
        self._node.destroy_timer(self._timer)

    def _waiting(self, source: str) -> int:
        return sum(name == source for _, name, _ in self._jobs)

    def _again(self) -> None:
        for _ in range(len(self._jobs)):
            until, source, job = self._jobs.popleft()
            self.run(source, job, until)
        if not self._jobs:
            self._timer.cancel()
