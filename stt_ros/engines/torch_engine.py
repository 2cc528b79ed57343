# SPDX-License-Identifier: Apache-2.0
"""The network on PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

import logging
import os
import time

import numpy as np
import torch

from stt_ros import zoo
from stt_ros.engines.batching import BATCH, COARSE, FINE, BatchedEngine
from stt_ros.engines.deploy import Network
from stt_ros.engines.recorded import Recorder
from stt_ros.errors import EngineError

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}

_LOG = logging.getLogger('stt_ros')


class TorchEngine(BatchedEngine):
    """Runs a model of the zoo; see ``stt_ros.engines.Engine``."""

    def __init__(
        self,
        weights: str,
        device: str,
        precision: str,
        threads: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        if threads is not None and self.device.type == 'cpu':
            torch.set_num_threads(threads or spare_threads())
        model = zoo.load(weights)
        self._compiled = compiled
        super().__init__(
            model.config,
            f'{weights} on {self.device} with torch{" compiled" * compiled} {self.precision}',
            str(self.device),
            BATCH[self.device.type],
            # Compiling and recording cost more for each size than it saves.
            COARSE if compiled or self.device.type == 'cuda' else FINE,
        )
        self.network = Network(model, DTYPES[self.precision]).to(self.device)
        function = torch.compile(self.network) if compiled else self.network
        self._recorder = None
        if self.device.type == 'cuda':
            self._recorder = Recorder(function, self.device, exact=self.precision == 'fp32')
        self._function = function

    def warm_up(self) -> None:
        """Run once in each of the sizes that ``run`` uses; tell how long compiling takes."""
        start = time.monotonic()
        if self._compiled:
            _LOG.warning('torch.compile: compiling, which takes minutes')
        super().warm_up()
        if self._compiled:
            _LOG.warning('torch.compile: done after %.0f s', time.monotonic() - start)

    @torch.inference_mode()
    def _compute(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray, best_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._recorder is not None:
            return self._recorder.run(tokens, valid, seen, best_only)
        arrays = np.ascontiguousarray(tokens[:, seen]), valid[:, seen], seen
        logits, ious = self._function(*map(torch.from_numpy, arrays), best_only)
        return logits.numpy(), ious.numpy()

    def device_memory(self) -> int:
        """Bytes that PyTorch holds on the CUDA device."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == 'cuda' else 0

    def _free_cache(self) -> None:
        if self._recorder is not None:
            self._recorder.clear()
            torch.cuda.empty_cache()

    def _free(self) -> None:
        self.network = self._function = None
        self._free_cache()
        self._recorder = None


def spare_threads() -> int:
    """All cores but one; more than four only wait for each other on so few tokens."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


def choose_device(device: str) -> torch.device:
    """Return a device by its name, 'auto' too; raises ``EngineError`` when it is not there."""
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if device.startswith('cuda'):
        index = device.partition(':')[2] or '0'
        if not torch.cuda.is_available() or not index.isdigit():
            raise EngineError(
                f"device '{device}' was asked for, but PyTorch {torch.__version__} sees no CUDA "
                "device here; use device 'cpu' or 'auto', or install a CUDA build of PyTorch"
            )
        if int(index) >= torch.cuda.device_count():
            raise EngineError(
                f"device '{device}': there are {torch.cuda.device_count()} CUDA devices"
            )
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> str:
    """Return 'fp32', 'bf16' or 'fp16'; raises ``EngineError`` for what a device cannot do."""
    if precision == 'auto':
        if device.type == 'cuda':
            return 'bf16' if torch.cuda.get_device_capability(device) >= (8, 0) else 'fp16'
        # Without the instructions bf16 is emulated, slower than fp32.
        native_bf16 = getattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False)
        return 'bf16' if native_bf16() else 'fp32'
    if precision == 'fp16' and device.type == 'cpu':
        raise EngineError("precision 'fp16' needs a CUDA device; a CPU runs 'fp32' or 'bf16'")
    return precision
