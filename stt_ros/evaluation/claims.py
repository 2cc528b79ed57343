# SPDX-License-Identifier: Apache-2.0
"""What prompts promise, measured: mean IoU of each kind, and whether the promises hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from stt_ros import masks
from stt_ros.evaluation import users
from stt_ros.evaluation.noc import next_click
from stt_ros.evaluation.truth import Sample
from stt_ros.prompts import Region, answer, refine
from stt_ros.prompts.everything import Settings, everything

CLICK, CORRECTED, ALL = 'one click', 'one click, corrected', 'everything, best'
SINGLE = {
    CLICK: users.one_click,
    'three clicks': users.three_clicks,
    'box': users.box,
    'scribble': users.scribble,
    'polygon': users.polygon,
    'lasso': users.lasso,
    'coarse mask': users.coarse_mask,
}
COMBINED = (
    (CLICK, 'box'),
    ('three clicks', 'box'),
    ('three clicks', 'scribble'),
    ('box', 'scribble'),
    ('box', 'coarse mask'),
    ('box', 'scribble', 'coarse mask'),
)


@dataclass
class Table:
    """IoUs by kind of prompt and group of pictures."""

    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, kind: str, group: str, iou: float) -> None:
        """Note one result."""
        self.rows.setdefault(kind, {}).setdefault(group, []).append(iou)

    def mean(self, kind: str) -> float:
        """Return the mean of the groups' means."""
        return float(np.mean([np.mean(ious) for ious in self.rows[kind].values()]))

    def text(self) -> str:
        """Return the table: a line per kind, a column per group."""
        groups = list(dict.fromkeys(g for row in self.rows.values() for g in row))
        lines = [f'{"mean IoU":36}' + ''.join(f'{g[:11]:>12}' for g in [*groups, 'mean'])]
        for kind, row in self.rows.items():
            cells = [f'{np.mean(row[g]):12.3f}' if g in row else f'{"-":>12}' for g in groups]
            lines.append(f'{kind:36}' + ''.join(cells) + f'{self.mean(kind):12.3f}')
        things = [f'{len(self.rows[CLICK][g]):12}' for g in groups]
        return '\n'.join([*lines, f'{"things":36}' + ''.join(things)])


def measure(segmenter, samples: Iterable[Sample], grid: int = 16) -> Table:
    """Answer every kind of prompt for every sample; ``grid`` 0 leaves everything-mode out.

    Things of one picture that follow each other share everything-mode's work.
    """
    table, seen = Table(), (None, [])
    for sample in samples:
        if grid and seen[0] is not sample.image:
            asked = Settings(points_per_side=grid)
            seen = sample.image, everything(segmenter, sample.image, asked)
        truth = Region.of_mask(sample.mask)
        for kind, iou in _ious(segmenter, sample):
            table.add(kind, sample.group, iou)
        if grid:
            table.add(ALL, sample.group, max((f.iou(truth) for f in seen[1]), default=0.0))
    return table


def promises(table: Table) -> list[tuple[str, float, float]]:
    """Return what is promised: (in words, measured, wanted at least)."""
    click, box = table.mean(CLICK), table.mean('box')
    found = [
        ('three clicks - one click', table.mean('three clicks') - click, 0.05),
        ('box - one click', box - click, 0.05),
        ('scribble - box', table.mean('scribble') - box, -0.02),
        ('one corrective click - none', table.mean(CORRECTED) - click, 0.0),
    ]
    if ALL in table.rows:
        found.append(('everything, best match - one click', table.mean(ALL) - click, 0.03))
    for kinds in COMBINED:
        best = max(table.mean(kind) for kind in kinds)
        name = ' + '.join(kinds)
        found.append((f'{name} - best of them', table.mean(name) - best, -0.02))
    return found


def _ious(segmenter, sample: Sample):
    """Yield (kind, IoU) of every kind of prompt for one thing."""
    for kinds in (*((kind,) for kind in SINGLE), *COMBINED):
        asked = [SINGLE[kind](sample.mask) for kind in kinds]
        found = answer(segmenter, sample.image, asked)
        mask = found[0].mask(sample.mask.shape) if found else np.zeros_like(sample.mask)
        yield ' + '.join(kinds), masks.iou(mask, sample.mask)
        if kinds == (CLICK,):
            yield CORRECTED, _corrected(segmenter, sample, found, mask)


def _corrected(segmenter, sample: Sample, found, mask: np.ndarray) -> float:
    """Return the IoU after one more click, set as in the NoC protocol."""
    first = masks.interior_point(sample.mask)
    if not found or not found[0].area or np.array_equal(mask, sample.mask):
        return masks.iou(mask, sample.mask)
    click, positive = next_click(sample.mask, mask, [first])
    clicks = ([first, click], []) if positive else ([first], [click])
    better = refine(segmenter, sample.image, found[0], *clicks)
    return masks.iou(better.mask(mask.shape), sample.mask)
