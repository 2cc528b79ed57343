# SPDX-License-Identifier: Apache-2.0
"""Counts and latencies of a running node, and the diagnostics made of them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

import numpy as np
from diagnostic_msgs.msg import KeyValue

from stt_ros.gaze.pairing import SECOND

# Seconds without an image, or without a result, after which something is wrong.
SILENCE = 3.0
# Seconds: what was dropped before that is over.
_RECENT = 2.0


class Age:
    """How long ago something was, by the node's clock, which may be simulated and go back."""

    def __init__(self, clock) -> None:
        self._clock = clock
        self._since: int | None = None

    def start(self) -> None:
        """It is now."""
        self._since = self._clock.now().nanoseconds

    def forget(self) -> None:
        """It is not any more."""
        self._since = None

    def seconds(self) -> float | None:
        """Return its age, counted anew from when the clock went back; None if it was never."""
        since, now = self._since, self._clock.now().nanoseconds
        if since is None:
            return None
        if now < since:
            self._since = since = now
        return (now - since) / SECOND


class Monitor:
    """What went in, what came out and what was dropped; used from several threads.

    Rates and the age of images are by the machine's steady clock, so that they stay true when
    simulated time stands still; the age of prompts is by the node's ``clock``.
    """

    def __init__(self, clock) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._latencies: deque[float] = deque(maxlen=300)
        self._marks: tuple[float, Counter[str]] = (time.monotonic(), Counter())
        self.started = time.monotonic()
        self._last_frame: float | None = None
        self._last_result = self.started
        self._rejected = -np.inf, ''
        self._prompt = Age(clock)

    def count(self, what: str) -> None:
        """Count one more of something."""
        with self._lock:
            self.counts[what] += 1

    def reject(self, source: str, reason: str) -> None:
        """Note that a message was dropped, and why."""
        with self._lock:
            self.counts['messages rejected'] += 1
            self.counts[f'rejected {source}'] += 1
            self._reasons[f'last reason, {source}'] = reason[:300]
            self._rejected = time.monotonic(), f'{source}: {reason[:300]}'

    def frame(self) -> None:
        """Note that an image came in."""
        self.count('frames received')
        self._last_frame = time.monotonic()

    def prompt(self) -> None:
        """Note that a prompt was accepted."""
        self._prompt.start()

    def forget_prompt(self) -> None:
        """Note that there is no prompt any more."""
        self._prompt.forget()

    def result(self, latency: float) -> None:
        """Note that a result went out, ``latency`` seconds after its image's stamp (may be NaN)."""
        with self._lock:
            self.counts['frames segmented'] += 1
            self._last_result = time.monotonic()
            if latency == latency:
                self._latencies.append(latency)

    def answered(self) -> None:
        """Note that prompts were answered."""
        self._last_result = time.monotonic()

    def trouble(self) -> str | None:
        """Return what keeps results from coming: messages are dropped, and none is of use."""
        with self._lock:
            now, (rejected, reason) = time.monotonic(), self._rejected
            silent = now - self._last_result
        if now - rejected > _RECENT or silent < SILENCE:
            return None
        return f'no result for {silent:.0f} s; {reason}'

    def has_frames(self) -> bool:
        """Tell whether any image came since activation."""
        return self._last_frame is not None

    def age(self) -> float:
        """Seconds since activation."""
        return time.monotonic() - self.started

    def frame_age(self) -> float:
        """Seconds since the last image, or since activation if none came."""
        last = self.started if self._last_frame is None else self._last_frame
        return time.monotonic() - last

    def prompt_age(self) -> float | None:
        """Seconds since the last prompt was accepted."""
        return self._prompt.seconds()

    def rates(self) -> dict[str, float]:
        """Images in and results out per second since the last call."""
        with self._lock:
            now, counts = time.monotonic(), self.counts.copy()
            (before, old), self._marks = self._marks, (now, counts)
        span = max(now - before, 1e-3)
        names = {'input rate (Hz)': 'frames received', 'output rate (Hz)': 'frames segmented'}
        return {name: (counts[key] - old[key]) / span for name, key in names.items()}

    def values(self) -> list[KeyValue]:
        """All figures as diagnostic values."""
        figures = {name: f'{rate:.1f}' for name, rate in self.rates().items()}
        with self._lock:
            latencies = np.array(self._latencies) * 1e3
            counts, reasons = dict(self.counts), dict(self._reasons)
        for name, q in (('latency p50 (ms)', 50), ('latency p95 (ms)', 95)):
            figures[name] = f'{np.percentile(latencies, q):.1f}' if len(latencies) else 'none yet'
        for name in ('frames received', 'frames segmented', 'frames dropped', 'messages rejected'):
            figures[name] = str(counts.pop(name, 0))
        age = self.prompt_age()
        figures['prompt age (s)'] = 'no prompt' if age is None else f'{age:.1f}'
        figures.update({name: str(n) for name, n in sorted(counts.items())})
        figures.update(sorted(reasons.items()))
        return [KeyValue(key=key, value=value) for key, value in figures.items()]
