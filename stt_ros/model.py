# SPDX-License-Identifier: Apache-2.0
"""The Segment This Thing network: foveated tokens in, foveated mask logits and their IoUs out.

Written from the description of the method (Schmidt & Newcombe, CVPR 2025, arXiv 2506.11131);
module names follow the published state dicts, so that their weights load without renaming.
Shapes: B gazes, N image tokens, T token size, E encoder width, F decoder width, M masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_ros.foveation import FoveationPattern
from stt_ros.layers import (
    MLP,
    Calibration,
    CrossAttention,
    Doubling,
    GroupedMLP,
    PixelBranch,
    SelfAttention,
)

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
    pixel_channels: int = 0  # of the pixel branch; 0: none, as published
    calibration: int = 0  # knots of the map of the predicted IoUs; 0: none, as published
    pattern: FoveationPattern = field(default_factory=FoveationPattern.standard)

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

    The predicted IoUs are raw numbers (no sigmoid). Values of invalid tokens mean nothing, and
    leaving such tokens out changes nothing else: ``positions`` (B,N) int64 then says which of the
    pattern's tokens the N given ones are.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.mask_decoder = MaskDecoder(config)

    def forward(
        self, tokens: Tensor, valid: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Segment each of the B foveated views."""
        *seen, ious = self.read(tokens, valid, positions)
        return self.draw(*seen), ious

    def read(
        self, tokens: Tensor, valid: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return all that ``draw`` takes, then ious (B,M).

        Whoever wants the best mask alone need not draw the others; and drawing is what suffers
        most from low precision.
        """
        features, registers = self.image_encoder(tokens, valid, positions)
        image, queries, ious = self.mask_decoder.read(features, registers, valid, positions)
        return image, queries, tokens, ious

    def draw(self, *seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B,M,N,T,T), or with ``mask`` (B,) int64 that of each gaze: (B,1,N,T,T)."""
        return self.mask_decoder.draw(*seen, mask=mask)

    def drawing_parts(self) -> list[nn.Module]:
        """The modules that ``draw`` uses, and ``read`` does not."""
        decoder = self.mask_decoder
        parts = [decoder.output_upscaling, decoder.mask_heads]
        return parts + ([decoder.pixels] if decoder.pixels else [])

    def token_readers(self) -> list[nn.Linear]:
        """The layers that take the tokens' values, as (channel, row, column)."""
        pixels = self.mask_decoder.pixels
        return [self.image_encoder.patch_emb] + ([pixels.filters] if pixels else [])


class ImageEncoder(nn.Module):
    """Pre-norm transformer over the image tokens and R registers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, width = config.pattern.token_size, config.width
        self.pos_enc = _table(config.pattern.num_tokens, width)
        self.reg_tokens = _table(config.registers, width)
        self.patch_emb = nn.Linear(3 * size * size, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, config.heads) for _ in range(config.depth))
        self.neck = MLP(width, config.decoder_width, config.decoder_width)

    def forward(
        self, tokens: Tensor, valid: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return image features (B,N,F) and register features (B,R,F)."""
        x = self.patch_emb(tokens.flatten(2)) + _rows(self.pos_enc, positions)
        registers = self.reg_tokens.expand(x.shape[0], -1, -1).to(x.dtype)
        x = torch.cat([x, registers], dim=1)
        mask = _key_mask(valid, self.reg_tokens.shape[0])
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
    """Mask and IoU queries read the image; a mask is a product with the upscaled features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, masks = config.decoder_width, config.masks
        self.token_size = config.pattern.token_size
        self.register_buffer('order', _quadtree_order(self.token_size), persistent=False)
        self.iou_token = _table(width, std=1.0)
        self.mask_tokens = _table(masks, width, std=1.0)
        self.pos_enc = _table(config.pattern.num_tokens, width)
        self.reg_enc = _table(config.registers, width)
        self.transformer = TwoWayTransformer(config)
        self.output_upscaling = _upscaling(width, config.upscaling)
        self.mask_heads = GroupedMLP(masks, width, config.upscaling[-1])
        self.iou_prediction_head = MLP(width, width, masks, layers=2)
        channels = config.pixel_channels
        self.pixels = PixelBranch(width, channels, masks) if channels else None
        self.calibration = Calibration(masks, config.calibration) if config.calibration else None

    def read(
        self, features: Tensor, registers: Tensor, valid: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image's context (B,N,F), the masks' queries (B,M,F) and ious (B,M)."""
        image = features + _rows(self.pos_enc, positions)
        context = torch.cat([image, registers + self.reg_enc], dim=1)
        queries = torch.cat([self.iou_token[None], self.mask_tokens]).to(context.dtype)
        queries = queries.expand(context.shape[0], -1, -1)
        queries, context = self.transformer(queries, context, _key_mask(valid, registers.shape[1]))
        ious = self.iou_prediction_head(queries[:, 0])
        ious = ious if self.calibration is None else self.calibration(ious)
        return context[:, : valid.shape[1]], queries[:, 1:], ious

    def draw(
        self, image: Tensor, queries: Tensor, tokens: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Return logits of all masks, or of one per gaze; see ``SegmentThisThing.draw``."""
        upscaled = self._upscale(image)
        heads = self.mask_heads(queries, mask)
        logits = upscaled @ heads.to(upscaled.dtype).transpose(1, 2)[:, None]
        if self.pixels is not None:  # flat: some engines add along short axes slowly
            added = self.pixels(tokens, image, queries, mask)
            logits = (logits.flatten(2) + added.flatten(2)).view_as(logits)
        size = self.token_size
        return logits[:, :, self.order].permute(0, 3, 1, 2).unflatten(-1, (size, size))

    def _upscale(self, image: Tensor) -> Tensor:
        """Upscale each token's feature (B,N,F) on its own to (B,N,T*T,C), in quadtree order.

        A transposed convolution of kernel 2 and stride 2 is one linear map per pixel, to its four
        children. Left in the order in which they are made, nothing is moved in memory between the
        stages; only the few logits are put in rows in the end.
        """
        x = image[:, :, None]
        for layer in self.output_upscaling:
            x = layer(x)
        return x


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


def _table(*shape: int, std: float = 0.02) -> nn.Parameter:
    """Return a learned table with a start like that of vision transformers."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=std))


def _upscaling(width: int, channels: tuple[int, ...]) -> nn.Sequential:
    """Doublings by transposed convolution; all but the last are normed, all end in a GELU."""
    stages: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise((width, *channels))):
        stages.append(Doubling(a, b))
        if i < len(channels) - 1:
            stages.append(nn.LayerNorm(b, eps=1e-6))
        stages.append(nn.GELU())
    return nn.Sequential(*stages)


def _rows(table: Tensor, positions: Tensor | None) -> Tensor:
    """Return the table's rows at the given positions, by default all in order."""
    return table if positions is None else table[positions]


def _quadtree_order(size: int) -> Tensor:
    """Return where each pixel of a token, row by row (T*T,), is when each has its four children."""
    with torch.device('cpu'):  # though the model may be laid out on 'meta', without memory
        order, children = torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[0, 1], [2, 3]])
        while len(order) < size:
            ones = torch.ones_like(children)
            order = torch.kron(4 * order, ones) + children.repeat(order.shape)
    return order.flatten()


def _key_mask(valid: Tensor, registers: int) -> Tensor:
    """Keys that may be read (B,1,1,N+R): the valid image tokens and all registers."""
    return F.pad(valid, (0, registers), value=True)[:, None, None]
