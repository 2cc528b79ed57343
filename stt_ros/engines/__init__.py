# SPDX-License-Identifier: Apache-2.0
"""Engines run the network: NumPy arrays in and out, whatever does the work inside."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from stt_ros.engines import choice
from stt_ros.errors import KEEP_NUMPY, EngineError
from stt_ros.foveation import FoveationPattern

ENGINES = ('auto', 'torch', 'openvino', 'onnxruntime')
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16', 'int8')

# What runs an engine: the module in here, its class, and how its packages are installed.
_CLASSES = {
    'torch': (
        'torch_engine', 'TorchEngine',
        'pip install torch (https://pytorch.org/get-started says which build fits your machine)',
    ),
    'openvino': ('openvino_engine', 'OpenVinoEngine', 'pip install openvino'),
    'onnxruntime': (
        'onnx_engine', 'OnnxEngine',
        f'pip install onnx onnxscript onnxruntime{KEEP_NUMPY}, for a GPU onnxruntime-gpu in place '
        'of the third',
    ),
}  # fmt: skip


class Engine(Protocol):
    """A loaded network. One engine may serve several threads: its runs take turns."""

    pattern: FoveationPattern
    description: str  # model, device, engine, precision, why; for logs and diagnostics

    def run(
        self, tokens: np.ndarray, valid: np.ndarray, best_only: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segment B foveated views: RGB tokens (B,N,3,T,T) uint8 and valid (B,N) bool.

        Returns logits (B,M,N,T,T), -inf where a token is invalid, and ious (B,M), both float32.
        ``best_only`` asks for the mask of the highest predicted IoU alone, M = 1.
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
    compiled: bool = False,
) -> Engine:
    """Load a model by name or path (an exported .onnx too) and put it on a device.

    ``threads`` is for a CPU, with PyTorch for the whole process: None leaves it alone, 0 keeps a
    core free. ``compiled`` has PyTorch compile the network, which takes a minute or more.
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
    weights = str(weights)
    chosen, why = choice.choose(engine, device, weights, compiled)
    try:
        kind = _class(chosen)
    except EngineError as error:  # a package that is there but broken
        if engine != 'auto' or chosen != 'openvino':
            raise
        kind, chosen, why = _class('torch'), 'torch', f'auto: openvino cannot be loaded: {error}'
    choice.require_precision(precision, chosen, why)
    made = kind(weights, device, precision, threads, **choice.options(chosen, compiled))
    made.description += f' ({why})' if why else ''
    return made


def _class(engine: str) -> type:
    module, name, cure = _CLASSES[engine]
    try:
        return getattr(import_module(f'stt_ros.engines.{module}'), name)
    except ImportError as error:
        if error.name == 'torch':  # which all engines need, to read weights
            cure = _CLASSES['torch'][2]
        raise EngineError(f"engine '{engine}' is not installed ({error}): {cure}") from error
