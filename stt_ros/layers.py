# SPDX-License-Identifier: Apache-2.0
"""The layers of the network, with the parameter names and layouts of the published weights."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameter layout of ``nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B,L,E) to (B,L,E); mask (B,1,1,L) bool, True for keys that may be read."""
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(_attend(q, k, v, self.heads, mask))


class CrossAttention(nn.Module):
    """Queries (B,L,F) read a context (B,S,F) through an inner width of F/2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width // 2)
        self.kv_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width // 2, width)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B,L,F); mask (B,1,1,S) bool, True for keys that may be read."""
        k, v = self.kv_proj(context).chunk(2, dim=-1)
        return self.out_proj(_attend(self.q_proj(queries), k, v, self.heads, mask))


class MLP(nn.Module):
    """Linear + ReLU for each hidden layer, then a Linear without."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int = 1) -> None:
        super().__init__()
        sizes = [inputs] + [hidden] * layers
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)
        )
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)


class GroupedMLP(nn.Module):
    """One small MLP per mask token, stored as 1x1 convolutions with a group per mask."""

    def __init__(self, groups: int, width: int, outputs: int) -> None:
        super().__init__()
        self.groups = groups

        def conv(out: int) -> nn.Conv1d:
            return nn.Conv1d(groups * width, groups * out, 1, groups=groups)

        self.layers = nn.ModuleList(nn.Sequential(conv(width), nn.ReLU()) for _ in range(2))
        self.fc = conv(outputs)

    def forward(self, x: Tensor, group: Tensor | None = None) -> Tensor:
        """Map (B,M,F) to (B,M,outputs); with ``group`` (B,) int64 only that one: (B,1,outputs)."""
        if group is None:
            x = x.flatten(1)[..., None]
            for layer in self.layers:
                x = layer(x)
            return self.fc(x).view(x.shape[0], self.groups, -1)
        x = x.gather(1, group[:, None, None].expand(-1, 1, x.shape[2]))
        for layer in self.layers:
            x = self._alone(layer[0], x, group).relu()
        return self._alone(self.fc, x, group)

    def _alone(self, conv: nn.Conv1d, x: Tensor, group: Tensor) -> Tensor:
        """Map (B,1,inputs) to (B,1,outputs) by the given group of a convolution."""
        weight = conv.weight.view(self.groups, -1, conv.weight.shape[1])[group]
        return x @ weight.transpose(1, 2) + conv.bias.view(self.groups, 1, -1)[group]


class Doubling(nn.Module):
    """A transposed convolution of kernel 2, stride 2: a linear map from a pixel to its children.

    Parameters are those of ``nn.ConvTranspose2d``: weight (C_in, C_out, 2, 2), bias (C_out,).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (4 * outputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 2, 2).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (B,N,P,C_in) to their children (B,N,4P,C_out)."""
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        children = F.linear(x, weight, self.bias.repeat(4))
        return children.view(*x.shape[:2], -1, self.bias.shape[0])


class PixelBranch(nn.Module):
    """What the pixels themselves add to the logits; each token says how they are to be read.

    A token's feature has fewer numbers than its pixels: outlines finer than it can hold come from
    here. Filters look at blocks of 4 x 4 pixels; a mask and a token together weigh their answers.
    """

    BLOCK = 4

    def __init__(self, width: int, channels: int, masks: int) -> None:
        super().__init__()
        self.filters = nn.Linear(3 * self.BLOCK**2, self.BLOCK**2 * channels)
        self.reading = nn.Linear(width, channels)
        self.heads = GroupedMLP(masks, width, channels)

    def forward(
        self, tokens: Tensor, context: Tensor, queries: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Tokens (B,N,3,T,T), context (B,N,F), queries (B,M,F) -> (B,N,T*T,M), quadtree order."""
        seen = F.relu(self.filters(_blocks(tokens, self.BLOCK)))
        weights = (
            self.reading(context)[..., None] * self.heads(queries, mask).transpose(1, 2)[:, None]
        )
        return seen.view(*tokens.shape[:2], -1, weights.shape[2]) @ weights.to(seen.dtype)


class Calibration(nn.Module):
    """A rising, piecewise linear map of each mask's predicted IoU; its ends go on straight."""

    def __init__(self, masks: int, knots: int) -> None:
        super().__init__()
        line = torch.linspace(0, 1, knots).expand(masks, knots)
        self.register_buffer('said', line.clone())
        self.register_buffer('true', line.clone())

    def forward(self, ious: Tensor) -> Tensor:
        """Map (B,M) to (B,M), float32."""
        slopes = _steps(self.true) / _steps(self.said)
        past = ious.float()[..., None] - self.said[:, :-1]
        bends = (_steps(slopes) * past[..., 1:].relu()).sum(-1)
        return self.true[:, 0] + slopes[:, 0] * past[..., 0] + bends


def _steps(x: Tensor) -> Tensor:
    """Return the differences along the last axis; OpenVINO knows no ``diff``."""
    return x[..., 1:] - x[..., :-1]


def _blocks(tokens: Tensor, size: int) -> Tensor:
    """Cut tokens (B,N,3,T,T) into blocks (B,N,(T/size)^2,3*size*size), in quadtree order."""
    batch, n, channels, side, _ = tokens.shape
    levels = int(side // size).bit_length() - 1  # int: of a tensor, while being traced
    split = tokens.reshape(batch * n, channels, *[2] * levels, size, *[2] * levels, size)
    halves = [d for i in range(levels) for d in (2 + i, 3 + levels + i)]
    ordered = split.permute(0, *halves, 1, 2 + levels, 3 + 2 * levels)
    return ordered.reshape(batch, n, 4**levels, channels * size * size)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention on (B,L,A) split into heads."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
