# SPDX-License-Identifier: Apache-2.0
"""Rounds: an answer is corrected click by click, and nothing that was said is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Answer, Candidate, Prompt, PromptError, as_frame
from stt_ros.prompts.combine import segment
from stt_ros.prompts.negatives import cut_out
from stt_ros.prompts.points import Points
from stt_ros.prompts.region import Region, overlap
from stt_ros.prompts.scene import LOWEST

DISK = 0.05  # weight of a disk when the network's masks are no help
# Powers of the IoU with the last answer, for every click before: what is seen at a missed point is
# a guess at the thing itself, what is seen beside it often more than what has to go.
CAUTION_ADDING, CAUTION_TAKING = 0.5, 2


def refine(
    segmenter,
    frame: np.ndarray | Frame,
    last: Answer,
    positive=(),
    negative=(),
    prompts: Sequence[Prompt] = (),
    interpolation: str = 'bilinear',
) -> Answer:
    """Correct an answer by clicks: what was memorised is the last mask and all clicks so far.

    ``frame`` is the picture of the answer. ``positive`` and ``negative`` are **all** clicks given
    to correct this thing, (K, 2) pixels each, the new ones too; each is right in the answer.
    ``prompts`` are those of the first answer: their agreement is told again, before that of the
    clicks; one that had no say in the answer has none now. Raises ``PromptError`` for clicks that
    contradict each other or lie outside, and for an empty last answer.
    """
    frame, clicks = as_frame(frame), Points(positive, negative)
    if not last.area:
        raise PromptError('the last answer is empty: there is nothing to refine')
    clicks.propose(frame)
    if overlap(last.box, (0, 0, frame.size[1], frame.size[0])) != tuple(last.box):
        x, y, width, height = last.box
        raise PromptError(
            f'the last answer (x={x}, y={y}, {width} x {height}) leaves the image of '
            f'{frame.size[1]} x {frame.size[0]} pixels: it is of another one'
        )
    gazes = np.concatenate([clicks.positive, clicks.negatives])
    wrong = last.contains(gazes) != (np.arange(len(gazes)) < len(clicks.positive))
    looks = segment(segmenter, frame, [gaze[None] for gaze in gazes[wrong]], interpolation)
    seen = {tuple(gaze): look[0] for gaze, look in zip(gazes[wrong], looks, strict=True)}
    repaired = repair(last, clicks, seen, frame.size)
    shape = cut_out(repaired, clicks.negatives)
    voting = [*last.agreement[: len(prompts)], *[1.0] * (len(prompts) - len(last.agreement)), 1.0]
    said = [
        None if before is None else _agreement(prompt, repaired.reshaped(shape), frame)
        for prompt, before in zip((*prompts, clicks), voting, strict=True)
    ]
    voted = [a for a in said if a is not None]
    return replace(
        last,
        box=shape.box,
        crop=shape.crop,
        score=float(np.prod(np.sort(voted))),
        agreement=tuple(said),
    )


def repair(
    last: Candidate,
    clicks: Points,
    looks: dict[tuple[float, float], Sequence[Candidate]],
    size: tuple[int, int],
) -> Candidate:
    """Return the last answer with every click right that it had wrong.

    ``looks`` has what the network sees at the clicks (x, y) that are wrong. What is seen at a
    missed positive point is added and at a negative point inside taken away: of the network's
    masks, and of a disk, the one that leaves most other clicks right. The more clicks there were
    the better the last answer is, and the less it should change.
    """
    before = max(0, len(clicks.positive) + len(clicks.negatives) - 1)
    for points, wanted in ((clicks.positive, True), (clicks.negatives, False)):
        caution = before * (CAUTION_ADDING if wanted else CAUTION_TAKING)
        for gaze in map(tuple, points):
            if bool(last.contains(np.array([gaze]))[0]) == wanted:
                continue
            parts = [(seen, max(seen.predicted_iou, LOWEST)) for seen in looks.get(gaze, ())]
            parts.append((_disk(last, gaze, size), DISK))
            options = [_changed(last, part, wanted) for part, _ in parts]
            weights = [w * o.iou(last) ** caution for o, (_, w) in zip(options, parts, strict=True)]
            right = [_right(option, clicks) for option in options]
            last = options[int(np.lexsort((weights, right))[-1])]
    return last


def _agreement(prompt: Prompt, candidate: Candidate, frame: Frame) -> float | None:
    prompt.propose(frame)
    said = prompt.score([candidate])
    return None if said is None else float(np.clip(said[0], 0, 1))


def _right(candidate: Candidate, clicks: Points) -> int:
    """Count the clicks that a mask has right."""
    inside = np.count_nonzero(candidate.contains(clicks.positive))
    return inside + np.count_nonzero(~candidate.contains(clicks.negatives))


def _changed(last: Candidate, part: Region, add: bool) -> Candidate:
    return last.reshaped(last.union(part) if add else last.minus(part))


def _disk(last: Region, gaze: tuple[float, float], size: tuple[int, int]) -> Region:
    """Return a disk around a point that reaches halfway to the border of a mask."""
    x, y = (int(v) for v in gaze)
    left, top, width, height = last.box
    padded = np.pad(last.crop, 1)
    inner_y, inner_x = np.clip(y - top + 1, 0, height + 1), np.clip(x - left + 1, 0, width + 1)
    here = padded[inner_y, inner_x]
    rows, columns = np.nonzero(padded != here)
    distance = np.hypot(rows - 1 + top - y, columns - 1 + left - x).min()
    radius = max(int(distance / 2), 1)
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = Region.of_mask(rows**2 + columns**2 <= radius**2, (x - radius, y - radius))
    return disk.within(Region((0, 0, size[1], size[0]), np.ones(size, bool)))
