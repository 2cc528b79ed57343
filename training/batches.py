# SPDX-License-Identifier: Apache-2.0
"""Batches out of the ring: only the tokens inside the image, mirrored and re-lit at random."""

from __future__ import annotations

import numpy as np
import torch

from training.dataset import ALSO, MIRROR, Ring, T


def pick(rng: np.random.Generator, ring: Ring, batch: int, groups: int = 4):
    """Endless index arrays (batch,); samples of like token counts go together, in random order."""
    counts = None
    while True:
        ready = ring.ready()
        if len(ready) < batch * groups:
            yield None
            continue
        chosen = rng.choice(ready, batch * groups, replace=False)
        counts = ring.slots['valid'][chosen].sum(1)
        chosen = chosen[np.argsort(counts, kind='stable')].reshape(groups, batch)
        yield from chosen[rng.permutation(groups)]


def collate(
    rng: np.random.Generator, records: np.ndarray, light: float = 0.1
) -> dict[str, torch.Tensor]:
    """Stack records into tensors of the n <= N tokens that are needed.

    tokens (B,n,3,T,T) float normalised, positions (B,n) int64, valid (B,n) bool,
    target (B,n*T*T) float in [0, 1], area (B,n*T*T) float in pixels (0 outside the image),
    also (B,ALSO,n*T*T) like target, the first further (B,) int64 of them given.
    """
    size = len(records)
    n = int(records['valid'].sum(1).max())
    out = {
        'tokens': np.zeros((size, n, 3, T, T), np.uint8),
        'positions': np.zeros((size, n), np.int64),
        'valid': np.zeros((size, n), bool),
        'target': np.zeros((size, n, T, T), np.uint8),
        'area': np.zeros((size, n, T, T), np.uint8),
        'also': np.zeros((size, ALSO, n, T, T), np.uint8),
        'further': records['further'].astype(np.int64),
    }
    for b, record in enumerate(records):
        where = np.flatnonzero(record['valid'])
        k = len(where)
        area = record['heights'][where, :, None] * record['widths'][where, None, :]
        mirrored = rng.random() < 0.5
        step = -1 if mirrored else 1
        out['positions'][b, :k] = MIRROR[where] if mirrored else where
        out['tokens'][b, :k] = record['tokens'][where][..., ::step]
        out['target'][b, :k] = record['target'][where][..., ::step]
        out['also'][b, :, :k] = record['also'][:, where][..., ::step]
        out['area'][b, :k] = area[..., ::step]
        out['valid'][b, :k] = True
    return _tensors(rng, out, light)


def _tensors(rng, out: dict, light: float) -> dict[str, torch.Tensor]:
    size = len(out['tokens'])
    mean = 255 * np.array((0.485, 0.456, 0.406), np.float32)
    std = 255 * np.array((0.229, 0.224, 0.225), np.float32)
    gain = np.exp(rng.normal(0, light, (size, 1)) + rng.normal(0, light / 2, (size, 3))).astype(
        np.float32
    )
    shift = (rng.normal(0, light, (size, 1)) + rng.normal(0, light / 2, (size, 3))).astype(
        np.float32
    )
    gain, shift = gain / std, shift - mean / std * gain
    tokens = torch.from_numpy(out['tokens']).float()
    tokens.mul_(torch.from_numpy(gain)[:, None, :, None, None]).add_(
        torch.from_numpy(shift)[:, None, :, None, None]
    )
    flat = {k: torch.from_numpy(out[k]).flatten(1).float() for k in ('target', 'area')}
    return {
        'tokens': tokens,
        'positions': torch.from_numpy(out['positions']),
        'valid': torch.from_numpy(out['valid']),
        'target': flat['target'] / 255,
        'area': flat['area'],
        'also': torch.from_numpy(out['also']).flatten(2).float() / 255,
        'further': torch.from_numpy(out['further']),
    }
