# SPDX-License-Identifier: Apache-2.0
"""Make the predicted IoUs say what is true: a rising map for each hypothesis, kept in the weights.

    python -m training.calibrate CHECKPOINT OUT.pt --pack FOLDER... --clips FOLDER...

Only pictures that were not trained on can tell: the held-out ones of the packs and the sequences
named with ``--clips``, in random views.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stt_ros import masks
from training import data, evaluate, real, scenes
from training.bank import make_bank


def collect(model, groups, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true IoUs, (S, 3) each, of one gaze on each object of random views.

    The predicted ones without the model's map, which is taken away.
    """
    map_ = model.mask_decoder.calibration
    for knots in (map_.said, map_.true):
        knots.copy_(torch.linspace(0, 1, knots.shape[1]).expand_as(knots))
    rng = np.random.default_rng(seed)
    bank = make_bank(groups)
    said, true = [], []
    while len(said) < count:
        scene = scenes.real_scene(rng, bank, 3)
        for target in scene.targets + scene.parts:
            found, predicted = evaluate.segment(model, scene.image, scenes.gaze(rng, target))
            said.append(predicted)
            true.append([masks.iou(mask, target > 127) for mask in found])
    return np.array(said), np.array(true)


def rising_map(said: np.ndarray, true: np.ndarray, knots: int) -> tuple[np.ndarray, np.ndarray]:
    """Knots (K,) of the isotonic regression of true on said, both (S,), over bins of like size.

    Isotonic means by the min-max formula (Barlow et al., "Statistical Inference under Order
    Restrictions", 1972); a small slope is kept, so that the map changes no ranking within one
    hypothesis.
    """
    order = np.argsort(said, kind='stable')
    x, y = (
        np.array([part.mean() for part in np.array_split(values[order], knots)])
        for values in (said, true)
    )
    sums = np.concatenate([[0], np.cumsum(y)])
    means = np.array(
        [[(sums[b] - sums[a]) / (b - a) if b > a else np.nan for b in range(1, knots + 1)]
         for a in range(knots)]
    )  # fmt: skip
    rising = np.array([np.nanmax(np.nanmin(means[: i + 1, i:], axis=1)) for i in range(knots)])
    apart = 1e-3 * np.arange(knots)
    return np.maximum.accumulate(x) + apart, rising + apart


def calibrate(model, said: np.ndarray, true: np.ndarray, lower: Sequence[float] = ()):
    """Set the model's map from what it said without one and what was true.

    ``lower`` is taken off each hypothesis' IoU: one that is seldom the best costs if ranked first.
    """
    target = model.mask_decoder.calibration
    for k in range(said.shape[1]):
        x, y = rising_map(said[:, k], true[:, k], target.said.shape[1])
        target.said[k], target.true[k] = torch.from_numpy(x), torch.from_numpy(y)
    for k, less in enumerate(lower):
        target.true[k] -= less


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path, help='the checkpoint with the map in it')
    parser.add_argument('--pack', type=Path, nargs='*', default=[])
    parser.add_argument(
        '--clips', type=Path, nargs='*', default=[], help='sequences not trained on'
    )
    parser.add_argument('--count', type=int, default=900, help='gazes')
    parser.add_argument(
        '--lower', type=float, nargs='*', default=[], help='IoU to take off each hypothesis'
    )
    args = parser.parse_args()
    from training.export import load_any, read

    model = load_any(args.checkpoint)
    groups = [(data.held_out(args.pack), 1.0)] if args.pack else []
    groups += [(real.davis(clip, 4), 1.0 / len(args.clips)) for clip in args.clips]
    said, true = collect(model, groups, args.count)
    print('before', figures(said, true))
    calibrate(model, said, true, args.lower)
    map_ = model.mask_decoder.calibration
    print('after', figures(map_(torch.from_numpy(said)).numpy(), true))
    state = read(args.checkpoint)
    state['average'] = model.state_dict()
    torch.save(state, args.out)


def figures(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Correlation, mean error and the IoU of the hypothesis that is ranked first."""
    top = true[np.arange(len(true)), said.argmax(1)]
    return {
        'r': round(float(np.corrcoef(said.ravel(), true.ravel())[0, 1]), 3),
        'error': round(float(np.abs(said - true).mean()), 3),
        'top': round(float(top.mean()), 3),
        'best': round(float(true.max(1).mean()), 3),
    }


if __name__ == '__main__':
    main()
