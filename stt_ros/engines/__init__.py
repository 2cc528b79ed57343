# SPDX-License-Identifier: Apache-2.0
"""Engines run the network: NumPy arrays in and out, whatever does the work inside."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from stt_ros.errors import EngineError
from stt_ros.foveation import FoveationPattern

ENGINES = ('auto', 'torch')
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')


class Engine(Protocol):
    """A loaded network."""

    pattern: FoveationPattern
    description: str  # model, device and precision, for logs and diagnostics

    def run(self, tokens: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segment B foveated views: RGB tokens (B,N,3,T,T) uint8 and valid (B,N) bool.

        Returns logits (B,M,N,T,T), -inf where a token is invalid, and ious (B,M), both float32.
        """

    def warm_up(self) -> None:
        """Do once what is done only on first runs."""

    def device_memory(self) -> int:
        """Bytes of accelerator memory in use; 0 on a CPU."""

    def close(self) -> None:
        """Free the network and its memory."""


def create(
    weights: str = 'default',
    device: str = 'auto',
    precision: str = 'auto',
    engine: str = 'auto',
    threads: int | None = None,
) -> Engine:
    """Load a model by name or path and put it on a device.

    ``threads`` is for a CPU and the whole process: None leaves it alone, 0 keeps a core free.
    Raises ``EngineError`` for an engine, device or precision that cannot be had, and the zoo's
    errors for weights.
    """
    for value, allowed, what in (
        (engine, ENGINES, 'engine'),
        (device, DEVICES, 'device'),
        (precision, PRECISIONS, 'precision'),
    ):
        if value not in allowed and not (what == 'device' and value.startswith('cuda:')):
            raise EngineError(f'{what} is {value!r}; allowed: {", ".join(allowed)}')
    try:
        from stt_ros.engines.torch_engine import TorchEngine
    except ImportError as error:
        raise EngineError(
            f'PyTorch cannot be imported ({error}); install it: pip install torch '
            '(https://pytorch.org/get-started says which build fits your machine)'
        ) from error
    return TorchEngine(weights, device, precision, threads)
