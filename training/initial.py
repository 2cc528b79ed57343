# SPDX-License-Identifier: Apache-2.0
"""Where training starts: weights that let what is in the image reach the masks at once.

With PyTorch's default initialisation hardly any of a token's content arrives at the pixel features:
a linear readout of them tells none of the pixels' colours. The network then spends most of a short
training answering with discs of three sizes. Here every layer keeps the scale of its input, the
upscaling starts as nearest neighbour, and near tokens start with like position codes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stt_ros.model import MLP, GroupedMLP, SegmentThisThing
from training.dataset import BOXES, PATTERN, T

BLOCKS = 'image_encoder.blocks.'
LAST = ('attn.out_proj.', 'mlp.fc.')  # the last layer of each branch of a block


@torch.no_grad()
def initialise(model: SegmentThisThing):
    """Set all weights of a fresh model."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity='linear')
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, (MLP, GroupedMLP)):
            for layer in module.layers:
                nn.init.kaiming_normal_(layer[0].weight)
    depth = model.config.depth
    for block in model.image_encoder.blocks:
        block.attn.out_proj.weight.div_((2 * depth) ** 0.5)
        block.mlp.fc.weight.div_((2 * depth) ** 0.5)
    decoder = model.mask_decoder
    for layer in decoder.transformer.layers:
        layer.cross_attn_image_to_token.out_proj.weight.mul_(0.3)
    for stage in decoder.output_upscaling:
        if getattr(stage, 'weight', nn.Parameter(torch.zeros(1))).ndim == 4:
            _start_upscaling(stage)
    decoder.mask_heads.fc.weight.mul_(0.2)
    if decoder.pixels is not None:
        decoder.pixels.heads.fc.weight.mul_(0.2)
        nn.init.ones_(decoder.pixels.reading.bias)
    decoder.iou_prediction_head.fc.weight.mul_(0.05)
    nn.init.constant_(decoder.iou_prediction_head.fc.bias, 0.3)
    place_positions(model.image_encoder.pos_enc, 0.5)
    place_positions(decoder.pos_enc, 0.3)


@torch.no_grad()
def start_from(model: SegmentThisThing, state: dict[str, torch.Tensor]):
    """Load weights, also those of a network with fewer encoder blocks.

    The further blocks are copies of the ones before them, with the last layer of each branch at
    zero: at first they add nothing, and the larger network says what the smaller one said.
    Raises ``ValueError`` for weights of more blocks than the network has, or of none.
    """
    old = 1 + max((int(n.split('.')[2]) for n in state if n.startswith(BLOCKS)), default=-1)
    new = model.config.depth
    if not 0 < old <= new:
        raise ValueError(f'{old} encoder blocks do not fit into a network of {new}')
    sources = [i * old // new for i in range(new)]
    grown = {name: value for name, value in state.items() if not name.startswith(BLOCKS)}
    for place, source in enumerate(sources):
        block = f'{BLOCKS}{source}.'
        for name in [n for n in state if n.startswith(block)]:
            part = name.removeprefix(block)
            adds = place and source == sources[place - 1] and part.startswith(LAST)
            value = torch.zeros_like(state[name]) if adds else state[name]
            grown[f'{BLOCKS}{place}.{part}'] = value
    model.load_state_dict(grown)


def _start_upscaling(stage: nn.Module):
    """Give a pixel's four children nearly the same map, as nearest-neighbour upscaling would.

    With four unlike random maps per stage, 256 unlike ones in the end, no mask head could
    read the same thing from all pixels of a token.
    """
    inputs, outputs, *children = stage.weight.shape
    shared = torch.randn(inputs, outputs, 1, 1) / inputs**0.5
    own = torch.randn(inputs, outputs, *children) / inputs**0.5
    stage.weight.copy_((shared + 0.3 * own).to(stage.weight))
    nn.init.zeros_(stage.bias)


def place_positions(table: torch.Tensor, scale: float):
    """Start a position table (N, E) from the tokens' places: near tokens get like codes.

    Sines and cosines of the asinh of the distance from the gaze, in x, y and along the diagonals;
    asinh makes steps near the gaze as long as the far, coarse ones.
    """
    centres = BOXES[:, :2] + BOXES[:, 2:] * T / 2 - PATTERN.receptive_field / 2
    turn = np.pi / 4 * np.arange(4)
    along = centres @ np.stack([np.cos(turn), np.sin(turn)])
    phase = np.arcsinh(along / 16)[..., None] * np.geomspace(0.3, 4, table.shape[1] // 8)
    codes = np.concatenate([np.sin(phase), np.cos(phase)], -1).reshape(len(centres), -1)
    codes = codes - codes.mean(0)
    table[:, : codes.shape[1]] = scale * torch.from_numpy(codes).to(table)
