# SPDX-License-Identifier: Apache-2.0
"""Engines with their models, and the parts of their runs that can be told apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stt_ros import engines
from stt_ros.engines import Engine
from stt_ros.model import ImageEncoder


class Watched:
    """A call that runs a network, with the time that the encoder in it takes noted aside."""

    def __init__(self, run: Callable, encoder: nn.Module | None) -> None:
        self._run = run
        self._inside: list[float] = []
        self._parts: list[tuple[float, float]] = []  # s in the encoder, in all else
        if encoder is not None:
            encoder.register_forward_pre_hook(lambda *_: self._inside.append(time.perf_counter()))
            encoder.register_forward_hook(lambda *_: self._inside.append(time.perf_counter()))

    def __call__(self, *arguments) -> None:
        """Run the network."""
        self._inside.clear()
        start = time.perf_counter()
        self._run(*arguments)
        total = time.perf_counter() - start
        if self._inside:
            encoder = self._inside[-1] - self._inside[0]
            self._parts.append((encoder, total - encoder))

    def parts(self, repeats: int) -> dict[str, np.ndarray]:
        """Return the milliseconds of encoder and decoder in the last calls; empty if not known."""
        if not self._parts:
            return {}
        encoder, decoder = np.array(self._parts[-repeats:]).T * 1e3
        return {'encoder': encoder, 'decoder': decoder}


@dataclass(frozen=True, eq=False)
class Network:
    """A loaded engine; ``name`` is that of the engine with the precision it has chosen."""

    engine: Engine
    name: str
    model: str
    run: Watched

    def transfers(self, tokens: np.ndarray, logits: np.ndarray) -> dict[str, Callable[[], object]]:
        """Return moving tokens to a CUDA device and logits back as calls; none for a CPU."""
        device = getattr(self.engine, 'device', None)
        if not isinstance(device, torch.device) or device.type != 'cuda':
            return {}
        here, there = torch.from_numpy(tokens).pin_memory(), torch.from_numpy(logits).to(device)

        def upload() -> None:
            here.to(device)
            torch.cuda.synchronize(device)

        return {'upload': upload, 'download': there.cpu}


def load(
    weights: str, label: str, engine: str, device: str, precision: str, threads: int
) -> Network:
    """Load a model and run it once in every size; raises what ``engines.create`` raises."""
    made = engines.create(weights, device, precision, engine, threads)
    made.warm_up()
    name = f'{engine} {getattr(made, "precision", precision)}'
    return Network(made, name, label, Watched(made.run, _encoder_of(made)))


def _encoder_of(engine: Engine) -> nn.Module | None:
    """Return the encoder that an engine of PyTorch runs on a CPU, None for other engines."""
    if str(getattr(engine, 'device', '')) != 'cpu':
        return None
    modules = [value for value in vars(engine).values() if isinstance(value, nn.Module)]
    inside = [module for outer in modules for module in outer.modules()]
    return next((module for module in inside if isinstance(module, ImageEncoder)), None)
