# SPDX-License-Identifier: Apache-2.0
"""Which engine runs where: a table of what was measured (docs/performance.md), not a trial."""

from __future__ import annotations

import platform
from importlib.util import find_spec

from stt_ros.errors import EngineError

EXPORTED = '.onnx'


def choose(engine: str, device: str, weights: str, compiled: bool) -> tuple[str, str]:
    """Return the engine for what was asked for, and why it was chosen ('' if it was not).

    Raises ``EngineError`` for what excludes each other.
    """
    exported = weights.endswith(EXPORTED)
    if exported and engine not in ('auto', 'onnxruntime'):
        raise EngineError(
            f"{weights} is an exported file, for engine 'onnxruntime' (or 'auto'), not '{engine}'"
        )
    if compiled and (exported or engine not in ('auto', 'torch')):
        raise EngineError(f"compiling is for engine 'torch', not for '{engine}' with {weights}")
    if engine != 'auto':
        return engine, ''
    name, why = _first(exported, device, compiled)
    return name, f'auto: {why}'


def require_precision(precision: str, engine: str, why: str) -> None:
    """Raise ``EngineError`` for int8 with an engine that has no such thing."""
    if precision == 'int8' and engine != 'openvino':
        raise EngineError(
            "precision 'int8' is for engine 'openvino' on an x86 CPU; "
            f"'{engine}'{f' ({why})' if why else ''} takes 'auto', 'fp32', 'bf16' or 'fp16'"
        )


def options(engine: str, compiled: bool) -> dict[str, bool]:
    """Return the arguments that only some engines take."""
    return {'compiled': compiled} if engine == 'torch' else {}


def _first(exported: bool, device: str, compiled: bool) -> tuple[str, str]:
    """Return the first row of the table that applies."""
    if exported:
        return 'onnxruntime', 'an exported file'
    if compiled:
        return 'torch', 'the one that compiles'
    if device != 'cpu' and (device != 'auto' or _cuda()):
        return 'torch', 'CUDA graphs are for CUDA devices'
    if platform.machine().lower() not in ('x86_64', 'amd64'):
        return 'torch', f'nothing faster is known on {platform.machine()}'
    if find_spec('openvino') is None:
        return 'torch', 'openvino is faster but not installed: pip install openvino'
    return 'openvino', 'the fastest on x86 CPUs'


def _cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
