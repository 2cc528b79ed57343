# SPDX-License-Identifier: Apache-2.0
"""Losses on foveated masks: every cell counts with the image pixels behind it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCORE_WEIGHT = 3.0
FURTHER = 0.5  # weight of each further mask
RANK_TEMPERATURE = 0.1  # of scores (IoU)


def weighted_iou(inside: Tensor, target: Tensor, area: Tensor) -> Tensor:
    """IoU (B,M) in image pixels of masks (B,M,P) and a target (B,P), bool; area (B,P) px."""
    target = target[:, None] & (area[:, None] > 0)
    both = ((inside & target) * area[:, None]).sum(-1)
    either = ((inside | target) * area[:, None]).sum(-1)
    return both / either.clamp(min=1e-6)


def mask_losses(logits: Tensor, target: Tensor, area: Tensor, focal: float) -> Tensor:
    """Focal + dice of each hypothesis (B,M); logits (B,M,P), target (B,P) in [0, 1], area (B,P) px.

    Dice counts areas, as IoU does. Focal counts sqrt(area): by area, the coarse far ground would
    outweigh the thing's own outline hundreds of times.
    """
    target = target[:, None]
    p = logits.sigmoid()
    error = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction='none')
    weight = area.sqrt()[:, None]
    weight = weight / weight.sum(-1, keepdim=True)
    focal_loss = (error * (p - target).square() * weight).sum(-1)
    pa = p * area[:, None]
    both, total = (pa * target).sum(-1), pa.sum(-1) + (area[:, None] * target).sum(-1)
    return focal * focal_loss + 1 - (2 * both + 1) / (total + 1)


def _further(
    logits: Tensor, also: Tensor, count: Tensor, area: Tensor, focal: float, each: Tensor
) -> Tensor:
    """Losses (B,) of further masks (B,K,P), each by the best hypothesis that learns no other."""
    total = each.new_zeros(len(each))
    taken = F.one_hot(each.argmin(1), each.shape[1]).bool()
    for k in range(min(also.shape[1], each.shape[1] - 1)):
        rows = (count > k).nonzero()[:, 0]
        left = mask_losses(logits[rows], also[rows, k], area[rows], focal)
        left = left.masked_fill(taken[rows], torch.inf)
        found, which = left.min(1)
        total = total.index_add(0, rows, found)
        taken[rows, which] = True
    return total


def loss(
    logits: Tensor,
    ious: Tensor,
    target: Tensor,
    area: Tensor,
    also: tuple[Tensor, Tensor] | None = None,
    focal: float = 20.0,
    top: float = 0.2,
    others: float = 0.05,
) -> tuple[Tensor, dict]:
    """Total loss and its parts; logits (B,M,P), ious (B,M), target and area (B,P).

    ``also`` are further masks that the gaze could mean (B,K,P), and how many of them count (B,).
    The best hypothesis learns the mask; with weight ``top`` so does the one that is ranked first,
    which is the one that people see, and with ``others`` all do. Each further mask is learnt by the
    best of the hypotheses that are left, with weight FURTHER. The scores learn what is true,
    and the order: the IoU that is lost when a hypothesis is drawn by the softmax of the scores.
    """
    each = mask_losses(logits, target, area, focal)
    best, ranked_first = each.min(1).values, ious.argmax(1, keepdim=True)
    mask = (1 - top - others) * best + others * each.mean(1)
    mask = mask + top * each.gather(1, ranked_first)[:, 0]
    if also is not None:
        mask = mask + FURTHER * _further(logits, *also, area, focal, each)
    with torch.no_grad():
        true = weighted_iou(logits > 0, target >= 0.5, area)
    score = F.mse_loss(ious, true)
    drawn = (true * (ious / RANK_TEMPERATURE).softmax(1)).sum(1)
    lost = (true.max(1).values - drawn).mean()
    parts = {
        'mask': best.mean(),
        'score': score,
        'best_iou': true.max(1).values.mean(),
        'top_iou': true.gather(1, ranked_first).mean(),
    }
    total = mask.mean() + SCORE_WEIGHT * score + lost
    return total, {k: float(v.detach()) for k, v in parts.items()}
