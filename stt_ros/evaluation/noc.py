# SPDX-License-Identifier: Apache-2.0
"""How many clicks until the mask is good: the number-of-clicks protocol (NoC).

Up to 20 clicks; the first at the peak of the distance transform of the true mask, each further one
at that of the error. The kind of error (missed or too much) with the larger total area decides the
sign, as in SEEM; RITM and SimpleClick compare the two peaks instead. Pixels already clicked do not
count as errors. NoC of a threshold is the number of the first click whose mask reaches it, 20 if
none does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stt_ros import masks
from stt_ros.prompts import Points, answer, refine

CLICKS = 20
THRESHOLDS = (0.85, 0.90)

Click = tuple[int, int]


def next_click(truth: np.ndarray, mask: np.ndarray, clicked: list[Click]) -> tuple[Click, bool]:
    """Return the next click (x, y) and whether it is positive; masks are (H, W) bool.

    Raises ``ValueError`` when there is no error left to click on.
    """
    missed, extra = truth & ~mask, mask & ~truth
    for x, y in clicked:
        missed[y, x] = extra[y, x] = False
    positive = bool(np.count_nonzero(missed) >= np.count_nonzero(extra))
    return masks.interior_point(missed if positive else extra), positive


def clicks_needed(ious: np.ndarray, threshold: float) -> int:
    """Return the number of the first click with at least this IoU, all of them when none has."""
    reached = np.flatnonzero(np.asarray(ious) >= threshold)
    return int(reached[0]) + 1 if len(reached) else len(ious)


def play(
    segmenter, image: np.ndarray, truth: np.ndarray, clicks: int = CLICKS, goal: float = 0.9
) -> np.ndarray:
    """Click until the mask is good; return the IoU after each click, (clicks,) float64.

    ``image`` is (H, W, 3) uint8 RGB, ``truth`` (H, W) bool. Once ``goal`` is reached no more is
    clicked, and the rest is filled with the last IoU.
    """
    said: dict[bool, list[Click]] = {True: [], False: []}
    mask, last, ious = np.zeros_like(truth), None, []
    while len(ious) < clicks and (not ious or ious[-1] < goal):
        click, positive = next_click(truth, mask, said[True] + said[False])
        said[positive].append(click)
        last = _answered(segmenter, image, said[True], said[False], last)
        mask = last.mask(truth.shape) if last else np.zeros_like(truth)
        ious.append(masks.iou(mask, truth))
    return np.array(ious + ious[-1:] * (clicks - len(ious)))


def _answered(segmenter, image, positive: list[Click], negative: list[Click], last):
    """Return the last answer corrected, or the first one; None when it is empty."""
    if last is None:
        found = answer(segmenter, image, [Points(positive, negative)])
        last = found[0] if found else None
    else:
        last = refine(segmenter, image, last, positive, negative)
    return last if last is not None and last.area else None


def table(curves: dict[str, list[np.ndarray]], thresholds: Sequence[float] = THRESHOLDS) -> str:
    """Return NoC and mean IoU per group and of all things, as a table in text."""
    everything = [curve for group in curves.values() for curve in group]
    heads = [f'NoC@{t * 100:g}' for t in thresholds] + [f'never {t * 100:g}' for t in thresholds]
    shown = [n for n in (1, 2, 3, 5, 10, 20) if n <= len(everything[0])]
    heads += [f'IoU@{n}' for n in shown]
    lines = [f'{"":14}{"things":>7}' + ''.join(f'{head:>10}' for head in heads)]
    for name, group in [*curves.items(), ('all', everything)]:
        needed = [[clicks_needed(c, t) for c in group] for t in thresholds]
        never = [np.mean([c.max() < t for c in group]) for t in thresholds]
        cells = [f'{np.mean(n):10.2f}' for n in needed] + [f'{n:10.0%}' for n in never]
        cells += [f'{np.mean([c[n - 1] for c in group]):10.3f}' for n in shown]
        lines.append(f'{name[:13]:14}{len(group):7}' + ''.join(cells))
    return '\n'.join(lines)


def plot(curves: dict[str, list[np.ndarray]], path: Path) -> None:
    """Draw mean IoU over clicks per group as a picture file; needs matplotlib (ImportError)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.add_subplot()
    for name, group in curves.items():
        mean = np.mean(group, axis=0)
        axes.plot(np.arange(1, len(mean) + 1), mean, marker='.', label=f'{name} ({len(group)})')
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color='0.7', linewidth=0.8, linestyle='--')
    axes.set(xlabel='clicks', ylabel='mean IoU', ylim=(0, 1))
    axes.legend(loc='lower right')
    figure.savefig(path)
