# SPDX-License-Identifier: Apache-2.0
"""The network on PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import nn

from stt_ros import zoo
from stt_ros.errors import EngineError
from stt_ros.layers import Doubling, SelfAttention
from stt_ros.model import SegmentThisThing, normalise

# Tokens are run in multiples of this number.
_SIZE_STEP = 24

_DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class TorchEngine:
    """Runs a model of the zoo; see ``stt_ros.engines.Engine``."""

    def __init__(
        self, weights: str, device: str, precision: str, threads: int | None = None
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        if threads is not None and self.device.type == 'cpu':
            torch.set_num_threads(threads or _spare_threads())
        self.model = _cast(zoo.load(weights), _DTYPES[self.precision]).to(self.device).eval()
        self.pattern = self.model.config.pattern
        self.description = f'{weights} on {self.device} with torch {self.precision}'

    @torch.inference_mode()
    def run(self, tokens: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (B,M,N,T,T), -inf where a token is invalid, and ious (B,M), float32."""
        if self.model is None:
            raise EngineError('the engine is closed; make a new one')
        positions = _needed(valid.any(axis=0))
        logits, ious = self._forward(tokens[:, positions], valid[:, positions], positions)
        full = np.full(
            (*logits.shape[:2], *tokens.shape[1:2], *logits.shape[3:]), -np.inf, np.float32
        )
        full[:, :, positions] = logits.float().cpu().numpy()
        full.swapaxes(1, 2)[~valid] = -np.inf
        return full, ious.float().cpu().numpy()

    def _forward(self, tokens: np.ndarray, valid: np.ndarray, positions: np.ndarray):
        dtype = _DTYPES[self.precision]
        tokens, valid, positions = (
            torch.from_numpy(a).to(self.device) for a in (tokens, valid, positions)
        )
        positions = positions.expand(len(tokens), -1)
        try:
            with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                return self.model(normalise(tokens), valid, positions)
        except torch.cuda.OutOfMemoryError as error:
            raise EngineError(
                f'{self.device} has no memory left for {len(tokens)} gazes at once: segment fewer '
                f'at a time or use a smaller model ({str(error).splitlines()[0]})'
            ) from error

    def warm_up(self) -> None:
        """Run once in each of the sizes that ``run`` uses."""
        n, size = self.pattern.num_tokens, self.pattern.token_size
        for used in (*range(_SIZE_STEP, n, _SIZE_STEP), n):
            self.run(np.zeros((1, n, 3, size, size), np.uint8), np.arange(n)[None] < used)

    def device_memory(self) -> int:
        """Bytes that PyTorch holds on the CUDA device."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == 'cuda' else 0

    def close(self) -> None:
        """Free the model and give CUDA memory back."""
        self.model = None
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()


def _needed(seen: np.ndarray) -> np.ndarray:
    """Positions of the tokens (N,) that are seen, filled up with others to one of a few sizes.

    Leaving out what no gaze sees saves its time; every new size would cost memory and time too.
    """
    order = np.argsort(~seen, kind='stable')
    return np.sort(order[: -(-max(1, seen.sum()) // _SIZE_STEP) * _SIZE_STEP])


def _cast(model: SegmentThisThing, dtype: torch.dtype) -> SegmentThisThing:
    """Store the matrices in the numbers they are used in; sums and norms stay float32."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, SelfAttention, Doubling)):
            module.to(dtype)
    return model


def _spare_threads() -> int:
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
