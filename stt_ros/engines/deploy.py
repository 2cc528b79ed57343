# SPDX-License-Identifier: Apache-2.0
"""The network as engines run it: bytes in, float32 out, numbers as rough as they may be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stt_ros.layers import SelfAttention
from stt_ros.model import IMAGENET_MEAN, IMAGENET_STD, SegmentThisThing

# Subtracted from the bytes; what is left of them is exact in every floating-point type.
_MIDDLE = 128


class Network(nn.Module):
    """``network(tokens (B,N,3,T,T) uint8, valid (B,N) bool, positions (N,) int64)``.

    Returns logits (B,M,N,T,T) and ious (B,M), float32; with ``best_only`` the logits of the mask of
    the highest IoU alone (B,1,N,T,T). Takes the model over and changes it: normalising becomes
    part of its first layers.

    With bfloat16 only products are rough: 8 bits are too few for the sums of many layers and for
    drawing, they would move the outlines (mask IoU with float32 below 0.99). float16 is enough.
    """

    def __init__(self, model: SegmentThisThing, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        for layer in model.token_readers():
            _fold_normalisation(layer)
        self.model = model.eval().requires_grad_(False)
        self.mixed = dtype == torch.bfloat16
        self.dtype = torch.float32 if self.mixed else dtype
        if self.mixed:
            _cast_products(model, dtype)
        else:
            for parameter in model.parameters():
                parameter.data = parameter.data.to(dtype)

    def forward(
        self, tokens: Tensor, valid: Tensor, positions: Tensor, best_only: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Segment each of the B foveated views."""
        *seen, ious = self.read(tokens, valid, positions)
        return self.draw(*seen, mask=ious.argmax(1) if best_only else None), ious

    def read(self, tokens: Tensor, valid: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        """Return all that ``draw`` takes, then ious (B,M) float32."""
        values = tokens.to(self.dtype) - _MIDDLE
        positions = positions.expand(tokens.shape[0], -1)
        if self.mixed:  # no cache: a recorded graph must hold every cast
            with torch.autocast(tokens.device.type, torch.bfloat16, cache_enabled=False):
                *seen, ious = self.model.read(values, valid, positions)
        else:
            *seen, ious = self.model.read(values, valid, positions)
        return *(part.to(self.dtype) for part in seen), ious.float()

    def draw(self, *seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits, float32; of all masks or of one (B,) of each gaze."""
        return self.model.draw(*seen, mask=mask).float()


def _fold_normalisation(layer: nn.Linear) -> None:
    """Make a layer of normalised tokens one of bytes minus the middle."""
    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float64).mul(255).view(1, 3, 1)
    std = torch.tensor(IMAGENET_STD, dtype=torch.float64).mul(255).view(1, 3, 1)
    weight = layer.weight.detach().double().unflatten(1, (3, -1)) / std
    bias = layer.bias.detach().double() + (weight * (_MIDDLE - mean)).sum((1, 2))
    layer.weight = nn.Parameter(weight.flatten(1).float())
    layer.bias = nn.Parameter(bias.float())


def _cast_products(model: SegmentThisThing, dtype: torch.dtype) -> None:
    """Store the matrices that ``read`` multiplies with as they are used; tables and norms stay."""
    drawn = {module for part in model.drawing_parts() for module in part.modules()}
    for module in model.modules():
        if isinstance(module, (nn.Linear, SelfAttention)) and module not in drawn:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
