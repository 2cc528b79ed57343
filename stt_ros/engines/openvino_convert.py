# SPDX-License-Identifier: Apache-2.0
"""The network as OpenVINO graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from stt_ros.engines.deploy import Network
from stt_ros.model import SegmentThisThing


def convert(model: SegmentThisThing) -> dict[str, ov.Model]:
    """Return the graphs 'read', 'draw' and 'draw_one' of a model, which is changed by this."""
    network = Network(model)
    pattern = model.config.pattern
    n, size = 4, pattern.token_size  # any number of tokens: it is left open
    example = (
        torch.zeros(1, n, 3, size, size, dtype=torch.uint8),
        torch.ones(1, n, dtype=torch.bool),
        torch.arange(n),
    )
    with torch.inference_mode():
        *seen, ious = network.read(*example)
        return {
            'read': _graph(network.read, example),
            'draw': _graph(network.draw, seen),
            'draw_one': _graph(
                lambda *seen: network.draw(*seen[:-1], mask=seen[-1]), [*seen, ious.argmax(1)]
            ),
        }


class _Function(nn.Module):
    def __init__(self, function: Callable) -> None:
        super().__init__()
        self._function = function

    def forward(self, *arguments: Tensor):
        return self._function(*arguments)


def _graph(function: Callable, example) -> ov.Model:
    """Convert by the front end itself: ``ov.convert_model`` is slower and reports its usage."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        traced = torch.jit.trace(_Function(function).eval(), tuple(example), check_trace=False)
    frontend = FrontEndManager().load_by_framework('pytorch')
    decoder = TorchScriptPythonDecoder(traced)  # must live until the end of the conversion
    graph = frontend.convert(frontend.load(decoder))
    for port, tensor in zip(graph.inputs, example, strict=True):
        # Batch and tokens are open, the rest is known.
        shape = list(tensor.shape)
        opened = [-1] * min(2, len(shape)) + shape[2:]
        port.get_node().set_partial_shape(ov.PartialShape(opened))
    graph.validate_nodes_and_infer_types()
    return graph
