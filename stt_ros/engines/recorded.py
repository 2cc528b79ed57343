# SPDX-License-Identifier: Apache-2.0
"""A function of fixed shapes, recorded once on a CUDA device and replayed: a CUDA graph.

One upload of bytes, one launch, one download, and no wait but for that. On a CPU, where there is
nothing to record, the function is called instead; all else is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

# Gazes that one recording is for; fewer are filled up.
_BATCHES = (1, 2, 4, 8, 16, 32)


class Recorder:
    """Keeps a recording per batch size, number of tokens and kind of answer.

    ``function`` is a ``deploy.Network``; ``exact`` keeps TensorFloat-32 out of float32.
    """

    def __init__(self, function: Callable, device: torch.device, exact: bool) -> None:
        self._function = function
        self._device = device
        self._exact = exact
        self._recordings: dict[tuple, _Recording] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == 'cuda' else None

    def run(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray, best_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and ious of tokens (B,N,3,T,T) at the positions ``seen``; see ``Network``.

        They are views of memory that the next run writes into.
        """
        batch = next(size for size in _BATCHES if size >= len(tokens))
        key = (batch, len(seen), best_only)
        if key not in self._recordings:
            shape = (batch, len(seen), *tokens.shape[2:])
            self._recordings[key] = self._record(shape, best_only)
        logits, ious = self._recordings[key].replay(tokens, valid, seen)
        return logits[: len(tokens)], ious[: len(tokens)]

    def clear(self) -> None:
        """Forget all recordings and their memory."""
        self._recordings.clear()

    def _record(self, shape: tuple[int, ...], best_only: bool) -> _Recording:
        def function(tokens: Tensor, valid: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
            return self._function(tokens, valid, seen, best_only)

        with torch.cuda.device(self._device) if self._pool else contextlib.nullcontext():
            with _tf32(not self._exact):
                return _Recording(function, shape, self._device, self._pool)


class _Recording:
    """Memory on both sides and the work between; shape is that of the tokens, (B,S,3,T,T)."""

    def __init__(self, function: Callable, shape: tuple[int, ...], device, pool) -> None:
        batch, count = shape[:2]
        pinned = device.type == 'cuda'
        # Whole 8 bytes first, as the positions are aligned.
        layout = (((count,), torch.int64), (shape, torch.uint8), ((batch, count), torch.bool))
        total = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in layout)
        self._sent = torch.zeros(total, dtype=torch.uint8, pin_memory=pinned)
        self._received = torch.zeros(total, dtype=torch.uint8, device=device)
        self._inputs = [view.numpy() for view in _views(self._sent, layout)]
        seen, tokens, valid = _views(self._received, layout)
        valid[:] = True  # no softmax over nothing while recording

        def work() -> tuple[Tensor, Tensor, Tensor]:
            logits, ious = function(tokens, valid, seen)
            return torch.cat([logits.flatten(), ious.flatten()]), logits, ious

        self._work, self._graph = work, None
        if pinned:
            self._stream = torch.cuda.Stream(device)
            self._result, logits, ious = self._capture(work, pool)
        else:
            self._result, logits, ious = work()
        self._answer = torch.zeros(self._result.shape, pin_memory=pinned)
        answer = self._answer.numpy()
        self._logits = answer[: logits.numel()].reshape(logits.shape)
        self._ious = answer[logits.numel() :].reshape(ious.shape)

    def replay(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run on up to B gazes; the rest of the answer means nothing."""
        positions, values, mask = self._inputs
        count = len(tokens)
        positions[:] = seen
        values[:count] = tokens[:, seen]  # any channel order is put right by this copy
        mask[:count] = valid[:, seen]
        mask[count:] = True
        if self._graph is None:
            self._received.copy_(self._sent)
            self._answer.copy_(self._work()[0])
            return self._logits, self._ious
        with torch.cuda.stream(self._stream):
            self._received.copy_(self._sent, non_blocking=True)
            self._graph.replay()
            self._answer.copy_(self._result, non_blocking=True)
        self._stream.synchronize()
        return self._logits, self._ious

    def _capture(self, work: Callable, pool) -> tuple[Tensor, Tensor, Tensor]:
        """Run a few times, as libraries set themselves up then, and record one run."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(3):
                work()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=self._stream):
            result = work()
        return result


def _views(memory: Tensor, layout: tuple) -> list[Tensor]:
    """Return tensors of the given shapes and types, one after the other in memory of bytes."""
    views, start = [], 0
    for shape, dtype in layout:
        size = int(np.prod(shape)) * dtype.itemsize
        views.append(memory[start : start + size].view(dtype).view(shape))
        start += size
    return views


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Allow TensorFloat-32 or not while recording; a replay does what was recorded."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
