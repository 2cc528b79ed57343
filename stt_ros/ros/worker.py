# SPDX-License-Identifier: Apache-2.0
"""One thread that does the heavy work: requests in order, frames latest-wins, parts in pauses."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]

# Seconds after which a job for the pauses goes before the next frame: a model that is slower than
# the camera has no pauses.
PATIENCE = 0.25


class Worker:
    """Runs jobs one at a time on its own thread.

    ``post`` queues a job that must be done (a service call, a click); ``offer`` replaces the one
    frame job that waits, so a slow model lowers the rate and never the freshness; ``when_idle`` is
    for short parts of a long job: they run when neither of those wait, or once in a while. A job
    that raises is reported to ``on_error`` and the thread goes on.
    """

    def __init__(self, on_error: Callable[[Exception], None], queue_limit: int = 32) -> None:
        self._on_error = on_error
        self._queue_limit = queue_limit
        self._queue: deque[Job] = deque()
        self._latest: Job | None = None
        self._idle: deque[tuple[float, Job]] = deque()  # with the times from which they are urgent
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='stt_worker', daemon=True)
        self._thread.start()

    def post(self, job: Job) -> bool:
        """Queue a job; returns False, without taking it, when the queue is full."""
        with self._changed:
            if self._stopping or len(self._queue) >= self._queue_limit:
                return False
            self._queue.append(job)
            self._changed.notify()
            return True

    def offer(self, job: Job) -> bool:
        """Hand over the newest frame's job; returns True if it replaced one not yet begun."""
        with self._changed:
            replaced = self._latest is not None
            self._latest = job
            self._changed.notify()
            return replaced

    def when_idle(self, job: Job) -> bool:
        """Queue a job for a pause; returns False, without taking it, once the worker stops."""
        with self._changed:
            if self._stopping:
                return False
            self._idle.append((time.monotonic() + PATIENCE, job))
            self._changed.notify()
            return True

    def withdraw(self) -> None:
        """Forget the frame job that waits."""
        with self._changed:
            self._latest = None

    def stop(self) -> None:
        """Do the jobs that somebody waits for, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                self._on_error(error)

    def _next(self) -> Job | None:
        """Wait for the next job; None when it is time to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._queue or self._latest or self._idle
            )
            if self._queue:
                return self._queue.popleft()
            urgent = self._idle and (self._stopping or time.monotonic() > self._idle[0][0])
            if self._idle and (urgent or self._latest is None):
                return self._idle.popleft()[1]
            if self._stopping:
                return None
            job, self._latest = self._latest, None
            return job
