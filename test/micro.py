# SPDX-License-Identifier: Apache-2.0
"""The golden vectors' models as weights files, and what tests of engines share."""

from importlib.util import find_spec

import golden
import pytest
import torch

from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.weights_io import save

PATTERN = FoveationPattern.standard()
MICRO = [case for case in golden.cases('model') if case['encoder']['depth'] == 2]
GAZES = [(300, 200), (5.5, 470), (639, 0), (320, 240), (600, 20)]

has_openvino = pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino')
has_onnx = pytest.mark.skipif(
    not all(map(find_spec, ('onnx', 'onnxscript', 'onnxruntime'))),
    reason='needs onnx, onnxscript and onnxruntime',
)


def write_weights(case, path):
    """Write the weights of a golden case, float32; returns the path as a text."""
    encoder, seed = case['encoder'], case['weight_seed']
    model = SegmentThisThing(
        ModelConfig(encoder['depth'], encoder['embedding_dim'], encoder['num_heads'])
    )
    model.load_state_dict(
        {
            key: torch.from_numpy(golden.weights(key, tuple(value.shape), seed))
            for key, value in model.state_dict().items()
        }
    )
    save(model, path, case['name'], torch.float32)
    return str(path)


def seen_only(logits, valid):
    """Return logits (B,M,N,T,T) of the valid tokens: (tokens, M, T, T)."""
    return logits.swapaxes(1, 2)[valid]
