# SPDX-License-Identifier: Apache-2.0
"""What all engines do alike: leave out what nobody sees, split batches, take turns."""

from __future__ import annotations

import logging
import threading

import numpy as np

from stt_ros.errors import EngineError
from stt_ros.model import ModelConfig

# Tokens are run in these numbers, or all of them. A gaze at the middle of a 640x480 image sees 92,
# in its corner 38, at 854x480 100, at 1280x720 132. Every size is prepared for at the start.
FINE = tuple(range(40, 1000, 8))
COARSE = (56, 80, 104, 136)

# Gazes at once. Four are the fastest on a CPU, by a tenth: docs/performance.md.
BATCH = {'cpu': 4, 'cuda': 32}

_LOG = logging.getLogger('stt_ros')


class BatchedEngine:
    """An engine, but for ``_compute``; see ``stt_ros.engines.Engine``."""

    def __init__(
        self,
        config: ModelConfig,
        description: str,
        where: str,
        batch: int,
        sizes: tuple[int, ...] = FINE,
    ) -> None:
        self.pattern = config.pattern
        self.description = description
        tokens = config.pattern.num_tokens
        self.sizes = (*(size for size in sizes if size < tokens), tokens)
        self.batch = batch  # most gazes at once
        self._masks = config.masks
        self._where = where
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self, tokens: np.ndarray, valid: np.ndarray, best_only: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (B,M,N,T,T), -inf where a token is invalid, and ious (B,M), float32."""
        masks = 1 if best_only else self._masks
        batch, n, _, *size = tokens.shape
        logits = np.full((batch, masks, n, *size), -np.inf, np.float32)
        ious = np.empty((batch, masks), np.float32)
        start, first_try = 0, True
        with self._lock:
            if self._closed:
                raise EngineError('the engine is closed; make a new one')
            while start < batch:
                part = slice(start, start + self.batch)
                try:
                    self._part(tokens[part], valid[part], logits[part], ious[part])
                except Exception as error:
                    if not _is_out_of_memory(error):
                        raise
                    self._shrink(len(tokens[part]), first_try, error)
                    first_try = False
                    continue
                start = part.stop
        logits.swapaxes(1, 2)[~valid] = -np.inf
        return logits, ious

    def warm_up(self) -> None:
        """Run once in each of the sizes that ``run`` uses, for all masks and for the best."""
        n, size = self.pattern.num_tokens, self.pattern.token_size
        for used in self.sizes:
            for best_only in (False, True):
                blank = np.zeros((1, n, 3, size, size), np.uint8)
                self.run(blank, np.arange(n)[None] < used, best_only)

    def device_memory(self) -> int:
        """Bytes of accelerator memory in use; 0 on a CPU."""
        return 0

    def close(self) -> None:
        """Free the network and its memory, after the run that is being done."""
        with self._lock:
            self._closed = True
            self._free()

    def _part(
        self, tokens: np.ndarray, valid: np.ndarray, logits: np.ndarray, ious: np.ndarray
    ) -> None:
        """Segment one batch into the given arrays."""
        seen = needed(valid.any(axis=0), self.sizes)
        best_only = ious.shape[1] < self._masks
        drawn, scores = self._compute(tokens, valid, seen, best_only)
        if best_only:
            best = scores.argmax(axis=1)[:, None]
            scores = np.take_along_axis(scores, best, 1)
            if drawn.shape[1] > 1:
                drawn = np.take_along_axis(drawn, best[:, :, None, None, None], 1)
        logits[:, :, seen] = drawn
        ious[:] = scores

    def _compute(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray, best_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (B,M,S,T,T) of the S tokens at the positions ``seen`` and ious (B,M).

        With ``best_only`` the logits may be those of the best mask alone, (B,1,S,T,T).
        """
        raise NotImplementedError

    def _free(self) -> None:
        """Give the network's memory back."""

    def _free_cache(self) -> None:
        """Give back device memory that is kept for speed only."""

    def _shrink(self, count: int, first_try: bool, error: Exception) -> None:
        """Go on with a smaller batch, once per run; else raise ``EngineError``."""
        self._free_cache()
        reason = (str(error).splitlines() or [''])[0]
        if count == 1 or not first_try:
            raise EngineError(
                f'{self._where} has no memory left for {count} '
                f'{"gaze" if count == 1 else "gazes at once"}: use a smaller model, end what else '
                f'uses its memory, or choose another device ({reason})'
            ) from error
        self.batch = max(1, count // 4)
        _LOG.warning(
            '%s has no memory left for %d gazes at once (%s): from now on %d at a time',
            self._where, count, reason, self.batch,
        )  # fmt: skip


def needed(seen: np.ndarray, allowed: tuple[int, ...]) -> np.ndarray:
    """Return positions, rising, of the tokens (N,) that are seen, filled up to an allowed number.

    Leaving out what no gaze sees saves its time.
    """
    count = next(size for size in allowed if size >= seen.sum())
    return np.sort(np.argsort(~seen, kind='stable')[:count])


def _is_out_of_memory(error: Exception) -> bool:
    """Tell by the words: "out of memory", "failed to allocate memory", "can't allocate memory"."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or 'out of memory' in words or 'allocate memory' in words
