# SPDX-License-Identifier: Apache-2.0
"""One network for two threads: a long request gets the pauses between the frames."""

from __future__ import annotations

import time
from concurrent.futures import Future

import numpy as np

from stt_ros.engines import Engine
from stt_ros.errors import EngineError
from stt_ros.ros.worker import Worker

# Seconds that a part of a long request may hold the network: what a frame waits for at most.
PART = 0.015


class SharedEngine:
    """An engine whose runs are done on a worker, in parts short enough for frames in between.

    See ``stt_ros.engines.Engine``. It does not own the engine: closing it only ends its runs.
    """

    def __init__(self, engine: Engine, worker: Worker, largest: int = 32) -> None:
        self._engine = engine
        self._worker = worker
        self._largest = largest
        self._size = 1  # gazes of the next part, by how long the last ones took
        self._closed = False
        self.pattern = engine.pattern
        self.description = engine.description

    def run(
        self, tokens: np.ndarray, valid: np.ndarray, best_only: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (B,M,N,T,T) and ious (B,M). Raises ``EngineError`` once it is closed."""
        parts, start = [], 0
        while start < len(tokens) or not parts:
            stop = start + self._size
            parts.append(self._in_a_pause(tokens[start:stop], valid[start:stop], best_only))
            start = stop
        logits, ious = zip(*parts, strict=True)
        return np.concatenate(logits), np.concatenate(ious)

    def warm_up(self) -> None:
        """Do nothing: the engine's owner has done it."""

    def device_memory(self) -> int:
        """Bytes of accelerator memory that the engine uses."""
        return self._engine.device_memory()

    def close(self) -> None:
        """Make the run that is being done, and all later ones, end with an error."""
        self._closed = True

    def _in_a_pause(self, tokens: np.ndarray, valid: np.ndarray, best_only: bool):
        done: Future = Future()

        def job() -> None:
            try:
                done.set_result(self._measured(tokens, valid, best_only))
            except Exception as error:
                done.set_exception(error)

        if self._closed or not self._worker.when_idle(job):
            raise EngineError('the node is being deactivated')
        return done.result()

    def _measured(self, tokens: np.ndarray, valid: np.ndarray, best_only: bool):
        start = time.monotonic()
        result = self._engine.run(tokens, valid, best_only)
        fitting = int(len(tokens) * PART / max(time.monotonic() - start, 1e-6))
        self._size = max(1, min(fitting, 2 * self._size, self._largest))
        return result
