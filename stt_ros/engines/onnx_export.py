# SPDX-License-Identifier: Apache-2.0
"""The network as one ONNX file: any number of gazes and tokens, the valid mask an input."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from stt_ros import zoo
from stt_ros.engines.deploy import Network
from stt_ros.errors import KEEP_NUMPY, EngineError

# Of inputs, outputs and metadata. A file of another version is refused.
VERSION = '1'
INPUTS, OUTPUTS = ('tokens', 'valid', 'positions'), ('logits', 'ious')

_OPSET = 18
_TORCH = (2, 6)  # the first whose exporter knows open shapes


def export(weights: str, path: Path, precision: str = 'fp32') -> None:
    """Write a model of the zoo to a file, in fp32 or fp16.

    Inputs: tokens (batch, tokens, 3, T, T) uint8, valid (batch, tokens) bool, positions (tokens,)
    int64. Outputs: logits (batch, masks, tokens, T, T) and ious (batch, masks), float32.
    Raises ``EngineError`` when the packages are missing or too old, or the file cannot be written.
    """
    if path.suffix != '.onnx' or not path.parent.is_dir():
        raise EngineError(f'cannot export to {path}: it must end in .onnx, in a folder that exists')
    try:
        import onnx
        import onnxscript  # noqa: F401  what torch.onnx needs
    except ImportError as error:
        raise EngineError(
            f'exporting needs what is not installed ({error}): '
            f'pip install onnx onnxscript onnxruntime{KEEP_NUMPY}'
        ) from error
    if tuple(map(int, torch.__version__.split('.')[:2])) < _TORCH:
        raise EngineError(
            f'exporting needs PyTorch {_TORCH[0]}.{_TORCH[1]} or newer, this is '
            f'{torch.__version__}: pip install -U torch, or export on another machine'
        )
    model = zoo.load(weights)
    network = Network(model, {'fp32': torch.float32, 'fp16': torch.float16}[precision]).eval()
    proto = _program(network, model.config).model_proto
    metadata = {
        'stt_ros': VERSION,
        'model': weights,
        'precision': precision,
        'config': json.dumps(asdict(model.config)),
    }
    onnx.helper.set_model_props(proto, metadata)
    try:
        onnx.save(proto, path)
    except OSError as error:
        raise EngineError(f'cannot write {path}: {error.strerror}') from error


def _program(network: Network, config):
    n, size = config.pattern.num_tokens, config.pattern.token_size
    # Two gazes and not all tokens: what is 1 or N in the example could be taken for a constant.
    example = (
        torch.zeros(2, n - 1, 3, size, size, dtype=torch.uint8),
        torch.ones(2, n - 1, dtype=torch.bool),
        torch.arange(n - 1),
    )
    batch, tokens = torch.export.Dim('batch'), torch.export.Dim('tokens')
    shapes = ({0: batch, 1: tokens}, {0: batch, 1: tokens}, {0: tokens}, None)
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        return torch.onnx.export(
            network, (*example, False), dynamo=True, dynamic_shapes=shapes, opset_version=_OPSET,
            input_names=INPUTS, output_names=OUTPUTS, verbose=False,
        )  # fmt: skip
