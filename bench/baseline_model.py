# SPDX-License-Identifier: Apache-2.0
"""The network of the baseline: the layers as the method defines them, from those that torch has.

B views, N image tokens, T token size, E encoder width, F decoder width, M masks, R registers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(nn.Module):
    """``network(tokens (B,N,3,T,T) float, valid (B,N) bool)`` -> logits (B,M,N,T,T), ious (B,M)."""

    def __init__(self, config) -> None:
        super().__init__()
        self.image_encoder = Encoder(config)
        self.mask_decoder = Decoder(config)

    def forward(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Segment each view."""
        return self.mask_decoder(self.image_encoder(tokens, valid), tokens, valid)


class Encoder(nn.Module):
    """Patch embedding, position table and registers, pre-norm transformer, neck."""

    def __init__(self, config) -> None:
        super().__init__()
        width, tokens = config.width, config.pattern.num_tokens
        self.pos_enc = nn.Parameter(torch.zeros(tokens, width))
        self.reg_tokens = nn.Parameter(torch.zeros(config.registers, width))
        self.patch_emb = nn.Linear(3 * config.pattern.token_size**2, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.neck = Mlp(width, config.decoder_width, config.decoder_width)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return the features of image tokens and registers (B,N+R,F)."""
        x = self.patch_emb(tokens.flatten(2)) + self.pos_enc
        x = torch.cat([x, self.reg_tokens.expand(len(x), -1, -1)], 1)
        for block in self.blocks:
            x = block(x, _ignored(valid, len(self.reg_tokens)))
        return self.neck(x)


class Block(nn.Module):
    """Self-attention and MLP, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = Mlp(width, 4 * width, width)

    def forward(self, x: Tensor, ignored: Tensor) -> Tensor:
        """Map (B,L,E) to (B,L,E)."""
        y = self.norm1(x)
        x = x + self.attn(y, y, y, key_padding_mask=ignored, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """IoU and mask queries, two-way transformer, upscaling by transposed convolutions."""

    def __init__(self, config) -> None:
        super().__init__()
        width, masks = config.decoder_width, config.masks
        channels = (width, *config.upscaling)
        self.masks = masks
        self.iou_token = nn.Parameter(torch.zeros(width))
        self.mask_tokens = nn.Parameter(torch.zeros(masks, width))
        self.pos_enc = nn.Parameter(torch.zeros(config.pattern.num_tokens, width))
        self.reg_enc = nn.Parameter(torch.zeros(config.registers, width))
        self.transformer = TwoWay(config)
        stages: list[nn.Module] = []
        for i, out in enumerate(channels[1:]):
            stages.append(nn.ConvTranspose2d(channels[i], out, kernel_size=2, stride=2))
            stages += [ChannelNorm(out, eps=1e-6)] * (i < len(channels) - 2) + [nn.GELU()]
        self.output_upscaling = nn.Sequential(*stages)
        self.mask_heads = Heads(masks, width, channels[-1])
        self.iou_prediction_head = Mlp(width, width, masks, hidden_layers=2)
        channels, knots = config.pixel_channels, config.calibration
        self.pixels = Pixels(width, channels, masks) if channels else None
        self.calibration = Calibration(masks, knots) if knots else None

    def forward(self, features: Tensor, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B,N+R,F) and tokens to logits (B,M,N,T,T) and ious (B,M)."""
        batch, n = valid.shape
        context = features + torch.cat([self.pos_enc, self.reg_enc])
        queries = torch.cat([self.iou_token[None], self.mask_tokens]).expand(batch, -1, -1)
        ignored = _ignored(valid, len(self.reg_enc))
        queries, context = self.transformer(queries, context, ignored)
        upscaled = self.output_upscaling(context[:, :n].flatten(0, 1)[..., None, None])
        upscaled = upscaled.unflatten(0, (batch, n))
        logits = torch.einsum('bmc,bncij->bmnij', self.mask_heads(queries[:, 1:]), upscaled)
        if self.pixels:
            logits = logits + self.pixels(tokens, context[:, :n], queries[:, 1:])
        ious = self.iou_prediction_head(queries[:, 0])
        return logits, self.calibration(ious) if self.calibration else ious


class Pixels(nn.Module):
    """Logits from the pixels: filters of 4 x 4, weighed by what a token and a mask make of them."""

    def __init__(self, width: int, channels: int, masks: int) -> None:
        super().__init__()
        self.filters = nn.Linear(3 * 16, 16 * channels)
        self.reading = nn.Linear(width, channels)
        self.heads = Heads(masks, width, channels)

    def forward(self, tokens: Tensor, context: Tensor, queries: Tensor) -> Tensor:
        """Map tokens (B,N,3,T,T), context (B,N,F) and queries (B,M,F) to logits (B,M,N,T,T)."""
        weight = self.filters.weight.view(-1, 3, 4, 4)
        seen = F.conv2d(tokens.flatten(0, 1), weight, self.filters.bias, stride=4).relu()
        # The 16 pixels of a block are in the order of a tree: halves of it, then halves of those.
        seen = seen.unflatten(1, (2, 2, 2, 2, -1)).permute(0, 5, 6, 1, 3, 7, 2, 4)
        seen = seen.reshape(*tokens.shape[:2], -1, *tokens.shape[3:])
        weights = self.reading(context), self.heads(queries)
        return torch.einsum('bnc,bmc,bncij->bmnij', *weights, seen)


class Calibration(nn.Module):
    """Straight lines between knots, and on beyond the first and the last."""

    def __init__(self, masks: int, knots: int) -> None:
        super().__init__()
        self.register_buffer('said', torch.zeros(masks, knots))
        self.register_buffer('true', torch.zeros(masks, knots))

    def forward(self, ious: Tensor) -> Tensor:
        """Map (B,M) to (B,M)."""
        said, true = (x.expand(len(ious), -1, -1) for x in (self.said, self.true))
        at = (torch.searchsorted(said, ious[..., None]) - 1).clamp(0, said.shape[-1] - 2)
        (x0, x1), (y0, y1) = ((t.gather(2, at), t.gather(2, at + 1)) for t in (said, true))
        return (y0 + (y1 - y0) * (ious[..., None] - x0) / (x1 - x0))[..., 0]


class TwoWay(nn.Module):
    """Blocks in which queries and context read each other, and a last look of the queries."""

    def __init__(self, config) -> None:
        super().__init__()
        width, heads = config.decoder_width, config.decoder_heads
        self.layers = nn.ModuleList(TwoWayBlock(config) for _ in range(config.decoder_depth))
        self.final_norm = nn.LayerNorm(width)
        self.final_attn_token_to_image = Cross(width, heads)

    def forward(self, q: Tensor, c: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
        """Map queries and context to the same shapes."""
        for layer in self.layers:
            q, c = layer(q, c, ignored)
        return q + self.final_attn_token_to_image(self.final_norm(q), c, ignored), c


class TwoWayBlock(nn.Module):
    """Queries read themselves, then the context, then think; the context reads the queries."""

    def __init__(self, config) -> None:
        super().__init__()
        width, heads = config.decoder_width, config.decoder_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm3, self.norm4 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attn_token_to_image = Cross(width, heads)
        self.cross_attn_image_to_token = Cross(width, heads)
        self.mlp = Mlp(width, config.decoder_mlp, width)

    def forward(self, q: Tensor, c: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
        """Map queries and context to the same shapes."""
        y = self.norm1(q)
        q = q + self.self_attn(y, y, y, need_weights=False)[0]
        q = q + self.cross_attn_token_to_image(self.norm2(q), c, ignored)
        q = q + self.mlp(self.norm3(q))
        return q, c + self.cross_attn_image_to_token(self.norm4(c), q, None)


class Cross(nn.Module):
    """Multi-head attention of half the width inside."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width // 2)
        self.kv_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width // 2, width)

    def forward(self, queries: Tensor, context: Tensor, ignored: Tensor | None) -> Tensor:
        """Return what the queries (B,L,F) read in the context (B,S,F): (B,L,F)."""
        q = self._split(self.q_proj(queries))
        k, v = map(self._split, self.kv_proj(context).chunk(2, -1))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if ignored is not None:
            scores = scores.masked_fill(ignored[:, None, None], float('-inf'))
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ChannelNorm(nn.LayerNorm):
    """A norm over the channels of pictures (B,C,H,W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int, hidden_layers: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden if i else inputs, hidden), nn.ReLU())
            for i in range(hidden_layers)
        )
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (...,inputs) to (...,outputs)."""
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)


class Heads(nn.Module):
    """An MLP per mask, as grouped convolutions."""

    def __init__(self, masks: int, width: int, outputs: int) -> None:
        super().__init__()
        inside = masks * width
        self.masks = masks
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(inside, inside, 1, groups=masks), nn.ReLU()) for _ in range(2)
        )
        self.fc = nn.Conv1d(inside, masks * outputs, 1, groups=masks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B,M,F) to (B,M,outputs)."""
        x = x.flatten(1)[..., None]
        for layer in self.layers:
            x = layer(x)
        return self.fc(x).view(len(x), self.masks, -1)


def _ignored(valid: Tensor, registers: int) -> Tensor:
    """Return the keys (B,N+R) that nobody may read: invalid image tokens."""
    return F.pad(~valid, (0, registers), value=False)
