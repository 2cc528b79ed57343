# SPDX-License-Identifier: Apache-2.0
"""The named models and where their weights are."""

from __future__ import annotations

from stt_ros.model import ModelConfig, SegmentThisThing

CONFIGS = {
    'stt-s': ModelConfig(6, 192, 3, decoder_width=128, decoder_mlp=512),
    'stt-b': ModelConfig(12, 768, 12),
    'stt-l': ModelConfig(24, 1024, 16),
    'stt-h': ModelConfig(32, 1280, 16),
}
DEFAULT = 'stt-s'


def build(name: str) -> SegmentThisThing:
    """Return the named model with random weights; ``ValueError`` lists the names there are."""
    if name not in CONFIGS:
        raise ValueError(f'no model {name!r}; there are {", ".join(CONFIGS)}')
    return SegmentThisThing(CONFIGS[name])
