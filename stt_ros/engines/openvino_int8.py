# SPDX-License-Identifier: Apache-2.0
"""The encoder's products in bytes: matrices are rounded here, what they multiply at each run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as opset

from stt_ros.errors import EngineError
from stt_ros.model import ModelConfig

# What the description says of it; measured in docs/performance.md.
AGREEMENT = 'masks of the default model agree with fp32 by an IoU of .99 on average, .97 at worst'


def quantise(graph: ov.Model, config: ModelConfig) -> None:
    """Store the encoder's matrices of a graph 'read' as int8, with a scale for each output.

    The decoder is a twentieth of the work and suffers most. OpenVINO rounds the other side of a
    product itself, token by token, if it is compiled with ``options``: nothing is calibrated.
    """
    for product in encoder_products(graph, config):
        exact = product.input_value(1).get_node().data.astype(np.float32)
        scale = np.maximum(np.abs(exact).max(axis=1, keepdims=True), 1e-30) / 127
        rough = opset.constant(np.rint(exact / scale).astype(np.int8))
        weight = opset.multiply(opset.convert(rough, 'f32'), opset.constant(scale))
        product.input(1).replace_source_output(weight.output(0))
    graph.validate_nodes_and_infer_types()


def of_one_gaze(graph: ov.Model, config: ModelConfig) -> ov.Model:
    """Return a graph 'read' of one gaze that sees all tokens: with known shapes more is fused."""
    fixed = graph.clone()
    n = config.pattern.num_tokens
    shapes = [1, n], [1, n], [n]
    fixed.reshape({
        port: [*shape, *list(port.partial_shape)[len(shape):]]
        for port, shape in zip(fixed.inputs, shapes, strict=True)
    })  # fmt: skip
    return fixed


def options(config: ModelConfig) -> dict[str, int]:
    """Return what ``compile_model`` has to be told: numbers that are rounded with one scale."""
    return {'DYNAMIC_QUANTIZATION_GROUP_SIZE': config.width}  # wider than a row: not rounded at all


def encoder_products(graph: ov.Model, config: ModelConfig) -> list[ov.Node]:
    """Return the products of tokens with matrices in the encoder: the first in a graph 'read'."""
    width, values = config.width, 3 * config.pattern.token_size**2
    block = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    expected = [(width, values), *block * config.depth]
    products = [
        node
        for node in graph.get_ordered_ops()
        if node.get_type_name() == 'MatMul'
        and node.input_value(1).get_node().get_type_name() == 'Constant'
    ][: len(expected)]
    found = [tuple(product.input_value(1).get_shape()) for product in products]
    if found != expected:
        raise EngineError(
            f"precision 'int8': OpenVINO {ov.__version__} has arranged the network in a way that "
            "is not known here; use 'auto', or another version of openvino"
        )
    return products


def require_instructions(flags: Path = Path('/proc/cpuinfo')) -> None:
    """Raise ``EngineError`` for a CPU without VNNI, on which bytes are slower than floats."""
    if flags.is_file() and 'vnni' not in flags.read_text():
        raise EngineError(
            "precision 'int8': this CPU has no instructions for it (AVX-512 VNNI or AVX-VNNI); "
            "use 'auto', 'fp32' or, where the CPU has it, 'bf16'"
        )
