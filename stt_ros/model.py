# SPDX-License-Identifier: Apache-2.0
"""The Segment This Thing network: foveated tokens in, foveated mask logits and their IoUs out.

Written from the description of the method (Schmidt & Newcombe, CVPR 2025, arXiv 2506.11131);
module names follow the published state dicts, so that their weights load without renaming.
Shapes: B gazes, N image tokens, T token size, E encoder width, F decoder width, M masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_ros.foveation import FoveationPattern

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """The numbers in which the models differ; defaults are those of the published ones."""

    depth: int
    width: int
    heads: int
    decoder_width: int = 256
    decoder_mlp: int = 2048
    decoder_heads: int = 8
    decoder_depth: int = 2
    masks: int = 3
    registers: int = 1
    pattern: FoveationPattern = FoveationPattern.standard()

    @property
    def upscaling(self) -> tuple[int, ...]:
        """Channels of the mask upscaling, one per doubling: F/2, F/4, F/8, F/8, ..."""
        stages = self.pattern.token_size.bit_length() - 1
        return tuple(self.decoder_width // min(2 ** (i + 1), 8) for i in range(stages))


def normalise(tokens: Tensor) -> Tensor:
    """Turn RGB tokens (..., 3, T, T) uint8 into the network's float32 input."""
    mean = torch.tensor(IMAGENET_MEAN, device=tokens.device).mul(255).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=tokens.device).mul(255).view(3, 1, 1)
    return (tokens.float() - mean) / std


class SegmentThisThing(nn.Module):
    """``model(tokens (B,N,3,T,T) float, valid (B,N) bool)`` -> logits (B,M,N,T,T), ious (B,M).

    The predicted IoUs are raw numbers (no sigmoid). Values of invalid tokens mean nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.mask_decoder = MaskDecoder(config)

    def forward(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Segment each of the B foveated views."""
        features, registers = self.image_encoder(tokens, valid)
        return self.mask_decoder(features, registers, valid)


class ImageEncoder(nn.Module):
    """Pre-norm transformer over the image tokens and R registers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, width = config.pattern.token_size, config.width
        self.pos_enc = nn.Parameter(0.02 * torch.randn(config.pattern.num_tokens, width))
        self.reg_tokens = nn.Parameter(0.02 * torch.randn(config.registers, width))
        self.patch_emb = nn.Linear(3 * size * size, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, config.heads) for _ in range(config.depth))
        self.neck = MLP(width, config.decoder_width, config.decoder_width)

    def forward(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return image features (B,N,F) and register features (B,R,F)."""
        x = self.patch_emb(tokens.flatten(2)) + self.pos_enc
        registers = self.reg_tokens.expand(len(x), -1, -1).to(x.dtype)
        x = torch.cat([x, registers], dim=1)
        mask = _key_mask(valid, len(self.reg_tokens))
        for block in self.blocks:
            x = block(x, mask)
        x = self.neck(x)
        n = valid.shape[1]
        return x[:, :n], x[:, n:]


class EncoderBlock(nn.Module):
    """x += MHA(LN1(x)); x += MLP(LN2(x)), ReLU, four times wider inside."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.mlp = MLP(width, 4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B,L,E) to (B,L,E)."""
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class MaskDecoder(nn.Module):
    """Mask and IoU queries read the image features; each mask is a product with upscaled features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, masks = config.decoder_width, config.masks
        self.masks = masks
        self.iou_token = nn.Parameter(torch.randn(width))
        self.mask_tokens = nn.Parameter(torch.randn(masks, width))
        self.pos_enc = nn.Parameter(0.02 * torch.randn(config.pattern.num_tokens, width))
        self.reg_enc = nn.Parameter(0.02 * torch.randn(config.registers, width))
        self.transformer = TwoWayTransformer(config)
        self.output_upscaling = _upscaling(width, config.upscaling)
        self.mask_heads = GroupedMLP(masks, width, config.upscaling[-1])
        self.iou_prediction_head = MLP(width, width, masks, layers=2)

    def forward(self, features: Tensor, registers: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B,M,N,T,T) and ious (B,M)."""
        context = torch.cat([features + self.pos_enc, registers + self.reg_enc], dim=1)
        queries = torch.cat([self.iou_token[None], self.mask_tokens]).to(context.dtype)
        queries = queries.expand(len(context), -1, -1)
        queries, context = self.transformer(queries, context, _key_mask(valid, registers.shape[1]))
        upscaled = self._upscale(context[:, : valid.shape[1]])
        heads = self.mask_heads(queries[:, 1:])
        logits = torch.einsum('bmc,bnchw->bmnhw', heads.to(upscaled.dtype), upscaled)
        return logits, self.iou_prediction_head(queries[:, 0])

    def _upscale(self, image: Tensor) -> Tensor:
        """Upscale each token's feature (B,N,F) on its own to a map (B,N,C,T,T)."""
        batch, n, width = image.shape
        maps = self.output_upscaling(image.reshape(batch * n, width, 1, 1))
        return maps.reshape(batch, n, *maps.shape[1:])


class TwoWayTransformer(nn.Module):
    """Queries and context attend to one another."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads = config.decoder_width, config.decoder_heads
        self.layers = nn.ModuleList(
            TwoWayBlock(width, heads, config.decoder_mlp) for _ in range(config.decoder_depth)
        )
        self.final_norm = nn.LayerNorm(width)
        self.final_attn_token_to_image = CrossAttention(width, heads)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map queries (B,1+M,F) and context (B,N+R,F) to the same shapes."""
        for layer in self.layers:
            queries, context = layer(queries, context, mask)
        attended = self.final_attn_token_to_image(self.final_norm(queries), context, mask)
        return queries + attended, context


class TwoWayBlock(nn.Module):
    """Self-attention of the queries, queries read the context, MLP, context reads the queries."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.self_attn = SelfAttention(width, heads)
        self.cross_attn_token_to_image = CrossAttention(width, heads)
        self.cross_attn_image_to_token = CrossAttention(width, heads)
        self.mlp = MLP(width, mlp, width)

    def forward(self, q: Tensor, c: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new queries and the new context; the context is normed only as a query."""
        q = q + self.self_attn(self.norm1(q), None)
        q = q + self.cross_attn_token_to_image(self.norm2(q), c, mask)
        q = q + self.mlp(self.norm3(q))
        return q, c + self.cross_attn_image_to_token(self.norm4(c), q, None)


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
            nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in zip(sizes, sizes[1:])
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

    def forward(self, x: Tensor) -> Tensor:
        """Map (B,M,F) to (B,M,outputs)."""
        x = x.flatten(1)[..., None]
        for layer in self.layers:
            x = layer(x)
        return self.fc(x).view(len(x), self.groups, -1)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


def _upscaling(width: int, channels: tuple[int, ...]) -> nn.Sequential:
    """Doublings by transposed convolution; all but the last are normed, all end in a GELU."""
    stages: list[nn.Module] = []
    for i, (a, b) in enumerate(zip((width, *channels), channels)):
        stages.append(nn.ConvTranspose2d(a, b, kernel_size=2, stride=2))
        if i < len(channels) - 1:
            stages.append(ChannelNorm(b))
        stages.append(nn.GELU())
    return nn.Sequential(*stages)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention on (B,L,A) split into heads."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def _key_mask(valid: Tensor, registers: int) -> Tensor:
    """Keys that may be read (B,1,1,N+R): the valid image tokens and all registers."""
    return F.pad(valid, (0, registers), value=True)[:, None, None]
