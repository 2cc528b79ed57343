# SPDX-License-Identifier: Apache-2.0
"""The network on OpenVINO: on x86 CPUs faster than PyTorch, above all for small models."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import openvino as ov

from stt_ros import weights_io, zoo
from stt_ros.engines import cache, openvino_int8
from stt_ros.engines.batching import BATCH, BatchedEngine
from stt_ros.engines.torch_engine import spare_threads
from stt_ros.errors import EngineError
from stt_ros.model import ModelConfig

_GRAPHS = ('read', 'draw', 'draw_one')
_CONFIG = 'config.json'
_HINTS = {'fp32': 'f32', 'bf16': 'bf16'}


@functools.cache
def _core() -> ov.Core:
    """Return the only core: one of several takes the stack of its thread's signals along."""
    return ov.Core()


class OpenVinoEngine(BatchedEngine):
    """Runs a model of the zoo on the CPU; see ``stt_ros.engines.Engine``.

    Reading runs in the chosen precision and drawing in fp32 (see ``deploy.Network``): two graphs.
    """

    def __init__(
        self, weights: str, device: str, precision: str, threads: int | None = None
    ) -> None:
        if device not in ('auto', 'cpu'):
            raise EngineError(f"engine 'openvino' runs on the CPU here, not on {device!r}")
        self._core = _core()
        self.precision = _choose_precision(precision, self._core)
        rest = _choose_precision('auto' if self.precision == 'int8' else precision, self._core)
        graphs, config = self._load(zoo.file_of(weights), weights)
        options = dict.fromkeys(_GRAPHS, {'INFERENCE_PRECISION_HINT': 'f32'})
        options['read'] = {'INFERENCE_PRECISION_HINT': _HINTS[rest]}
        description = f'{weights} on cpu with openvino {self.precision}'
        if self.precision == 'int8':
            openvino_int8.quantise(graphs['read'], config)
            options['read'] |= openvino_int8.options(config)
            graphs['read_all'] = openvino_int8.of_one_gaze(graphs['read'], config)
            options['read_all'] = options['read']
            description += f' (encoder; the rest {rest}; {openvino_int8.AGREEMENT})'
        self._requests = {
            name: self._compile(graph, options[name], threads) for name, graph in graphs.items()
        }
        super().__init__(config, description, 'cpu', BATCH['cpu'])

    def _compute(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray, best_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        whole = len(tokens) == 1 and len(seen) == tokens.shape[1] and 'read_all' in self._requests
        *context, ious = self._infer(
            'read_all' if whole else 'read',
            [np.ascontiguousarray(tokens[:, seen]), valid[:, seen], seen],
        )
        if not best_only:
            return self._infer('draw', context)[0], ious
        return self._infer('draw_one', [*context, ious.argmax(1)])[0], ious

    def _infer(self, graph: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Run a graph; the results are views of memory that its next run writes into."""
        request = self._requests[graph]
        request.infer(arrays, share_inputs=True)
        return [tensor.data for tensor in request.output_tensors]

    def _compile(self, graph: ov.Model, own: dict, threads: int | None) -> ov.InferRequest:
        options = own | {
            'PERFORMANCE_HINT': 'LATENCY',
            'ENABLE_CPU_PINNING': False,  # a pinned thread waits for whatever else its core runs
        }
        if threads is not None:
            options['INFERENCE_NUM_THREADS'] = threads or spare_threads()
        return self._core.compile_model(graph, 'CPU', options).create_infer_request()

    def _load(self, file: Path, weights: str) -> tuple[dict[str, ov.Model], ModelConfig]:
        """Return the graphs and the model's numbers, from the cache if they are there."""
        converted = []

        def convert() -> tuple[dict[str, ov.Model], ModelConfig]:
            if not converted:
                from stt_ros.engines.openvino_convert import convert

                model = zoo.load(weights)
                converted.append((convert(model), model.config))
            return converted[0]

        if not file.is_file():
            zoo.load(weights)  # says what is wrong
        name = f'openvino/{cache.key(file, ov.__version__)}'
        for _ in range(2):
            path = cache.folder(name, lambda folder: _save(folder, *convert()))
            if path is None or converted:
                break
            try:
                graphs = {name: self._core.read_model(path / f'{name}.xml') for name in _GRAPHS}
                return graphs, weights_io.parse_config((path / _CONFIG).read_text(), path)
            except Exception:  # damaged: made anew
                shutil.rmtree(path, ignore_errors=True)
        return convert()

    def _free(self) -> None:
        self._requests = {}


def _save(folder: Path, graphs: dict[str, ov.Model], config: ModelConfig) -> None:
    for name, graph in graphs.items():
        ov.save_model(graph, folder / f'{name}.xml', compress_to_fp16=False)
    (folder / _CONFIG).write_text(json.dumps(asdict(config)))


def _choose_precision(precision: str, core: ov.Core) -> str:
    native = 'BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if precision == 'auto':
        return 'bf16' if native else 'fp32'
    if precision == 'int8':
        openvino_int8.require_instructions()
    if precision == 'fp16':
        raise EngineError(
            "precision 'fp16' needs a CUDA device; openvino runs 'fp32', 'bf16' or 'int8'"
        )
    if precision == 'bf16' and not native:
        raise EngineError("precision 'bf16': this CPU has no such instructions; use 'fp32'")
    return precision
