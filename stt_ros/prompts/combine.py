# SPDX-License-Identifier: Apache-2.0
"""One answer from any prompts: look where they propose, keep what they agree on.

``answer(segmenter, image, [Box((10, 20, 200, 100)), Points(negative=[(30, 40)])])``

The prompts' order changes nothing, and neither does a prompt that abstains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts import region
from stt_ros.prompts.base import Answer, Candidate, Prompt, PromptError, as_frame
from stt_ros.prompts.clean import clean
from stt_ros.prompts.negatives import cut_out
from stt_ros.prompts.region import Region

MODES = ('one_object', 'one_per_prompt', 'all_instances')
FLOOR = 1e-3  # an agreement of 0 still ranks candidates by the other prompts
SAME_GAZE = 2.0  # pixels: gazes nearer than this are one
MAX_PARTS = 4  # candidates that one union may join
TOGETHER = 0.5  # share of the smaller one that two candidates of a union have in common


def answer(
    segmenter,
    frame: np.ndarray | Frame,
    prompts: Sequence[Prompt],
    mode: str = 'one_object',
    *,
    interpolation: str = 'bilinear',
    min_region_area: int = 0,
    min_agreement: float = 0.5,
    max_overlap: float = 0.5,
) -> list[Answer]:
    """Segment what the prompts mean.

    ``frame`` is a ``Frame`` or RGB (H, W, 3) uint8. ``mode`` says what is asked for:

    one_object      one answer that all prompts mean together; [] when nothing was found
    one_per_prompt  one answer per prompt, in their order; prompts without a gaze of their own
                    (only negative points) or that abstain count for all the others. A prompt
                    that finds nothing has no answer.
    all_instances   all that agree at least ``min_agreement`` times as well as the best one, best
                    first, no two with an IoU above ``max_overlap``

    ``min_region_area`` in pixels: smaller holes are filled and smaller islands taken away, 0:
    neither. Raises ``PromptError`` for no prompt, a prompt that makes no sense in this frame, or
    another mode.
    """
    if mode not in MODES:
        raise PromptError(f'mode is {mode!r}; allowed: {", ".join(MODES)}')
    prompts = list(prompts)
    if not prompts:
        raise PromptError('there is no prompt; expected at least one')
    frame = as_frame(frame)
    gazes = [np.asarray(prompt.propose(frame), float).reshape(-1, 2) for prompt in prompts]
    if not any(len(g) for g in gazes) and all(len(_negatives([p])) for p in prompts):
        raise PromptError(
            'there are only negative points: nothing says where the thing is; add a positive point '
            'or another prompt'
        )
    looks = segment(segmenter, frame, gazes, interpolation)
    groups = _groups(prompts, gazes) if mode == 'one_per_prompt' else [range(len(prompts))]
    answers: list[Answer] = []
    for group in groups:
        scene = _Scene.of([prompts[i] for i in group], [looks[i] for i in group], frame.size)
        if not scene.candidates:
            continue
        found = (
            instances(scene, min_agreement, max_overlap)
            if mode == 'all_instances'
            else [best(scene)]
        )
        for candidate in found:
            answers.append(_finish(scene, candidate, len(prompts), group, min_region_area))
    return answers


Look = tuple[Candidate, ...]  # the candidates of one gaze, the most likely first


def segment(
    segmenter, frame: Frame, gazes: Sequence[np.ndarray], interpolation: str = 'bilinear'
) -> list[list[Look]]:
    """Look at each prompt's gazes (K, 2), at nearly equal ones once: per prompt a look per gaze."""
    merged = merge_gazes(np.concatenate(gazes))
    results = segmenter.segment(frame, merged, interpolation) if len(merged) else []
    looks = [
        tuple(Candidate.of(hypothesis) for hypothesis in result.hypotheses) for result in results
    ]
    per_prompt = []
    for own in gazes:
        nearest = [int(np.hypot(*(merged - gaze).T).argmin()) for gaze in own]
        per_prompt.append([looks[k] for k in sorted(set(nearest))])
    return per_prompt


def merge_gazes(gazes: np.ndarray) -> np.ndarray:
    """Return the gazes (K, 2) without those near another one, in an order of their own."""
    kept: list[np.ndarray] = []
    for gaze in np.unique(gazes, axis=0):
        if all(np.hypot(*(gaze - other)) >= SAME_GAZE for other in kept):
            kept.append(gaze)
    return np.array(kept).reshape(-1, 2)


@dataclass
class _Scene:
    """What was seen in one frame for some prompts that mean the same."""

    prompts: list[Prompt]
    candidates: list[Candidate]
    ranks: np.ndarray  # (C,) how good each candidate is, all in all
    support: np.ndarray  # (C,) how much the other gazes saw the same
    negatives: np.ndarray  # (K, 2)

    @classmethod
    def of(cls, prompts: list[Prompt], looks: list[list[Look]], size) -> _Scene:
        unique = {look[0].gaze: look for own in looks for look in own}
        ordered = [unique[gaze] for gaze in sorted(unique)]
        negatives = _negatives(prompts)
        limits = [p.limits for p in prompts if getattr(p, 'limits', None) is not None]
        per_gaze = [[c for c in (_limited(c, limits) for c in look) if c.area] for look in ordered]
        seeds = [_limited(s, limits) for p in prompts for s in getattr(p, 'seeds', ())]
        seeds.sort(key=lambda seed: (seed.box, seed.area))
        per_gaze = [look for look in (*per_gaze, *([s] for s in seeds)) if look]
        candidates = [candidate for look in per_gaze for candidate in look]
        owner = np.repeat(np.arange(len(per_gaze)), [len(look) for look in per_gaze])
        support = supports(region.ious(candidates), owner)
        ranks = rank(prompts, candidates, support)
        return cls(prompts, candidates, ranks, support, negatives)


def rank(prompts, candidates: Sequence[Candidate], support: np.ndarray) -> np.ndarray:
    """Return how good each candidate is, (C,): agreement first, then what the network says."""
    quality = np.array([np.clip(c.predicted_iou, 0.05, 1) for c in candidates])
    floored = [np.maximum(a, FLOOR) for a in agreements(prompts, candidates) if a is not None]
    return quality * (0.5 + support) * _product(floored, len(candidates))


def agreements(prompts, candidates: Sequence[Candidate]) -> list[np.ndarray | None]:
    """Return what each prompt says of the candidates: (C,) in [0, 1], or None: it abstains."""
    if not candidates:
        return [np.empty(0) for _ in prompts]
    said = [prompt.score(candidates) for prompt in prompts]
    return [None if a is None else np.clip(np.asarray(a, float), 0, 1) for a in said]


def supports(ious: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return how much the other gazes saw the same as each candidate, (C,) in [0, 1].

    Mean over the other gazes of the best IoU (C, C) with one of theirs; ``owner`` (C,) is the
    number of each candidate's gaze. 0 when there is one gaze only.
    """
    number = int(owner.max()) + 1 if len(owner) else 0
    if number < 2:
        return np.zeros(len(owner))
    per_gaze = np.stack([ious[:, owner == k].max(axis=1) for k in range(number)], axis=1)
    per_gaze[np.arange(len(owner)), owner] = 0
    return per_gaze.sum(axis=1) / (number - 1)


def best(scene: _Scene) -> Candidate:
    """Return the best candidate, or the union of it and others when that ranks higher."""
    first = int(scene.ranks.argmax())
    found, height, parts = scene.candidates[first], scene.ranks[first], [first]
    while len(parts) < MAX_PARTS:
        joined, members = [], []
        for k, other in enumerate(scene.candidates):
            shared = found.shared_area(other)
            if k in parts or shared < TOGETHER * min(found.area, other.area):
                continue
            if shared < other.area:  # it adds something
                joined.append(_join(found, other))
                members.append(k)
        if not joined:
            break
        ranks = rank(scene.prompts, joined, (scene.support[members] + scene.support[first]) / 2)
        top = int(ranks.argmax())
        if ranks[top] <= height:
            break
        found, height = joined[top], ranks[top]
        parts.append(members[top])
    return found


def instances(scene: _Scene, min_agreement: float, max_overlap: float) -> list[Candidate]:
    """Return the candidates that agree nearly as well as the best, overlapping little."""
    total = _product(agreements(scene.prompts, scene.candidates), len(scene.candidates))
    kept: list[Candidate] = []
    for k in np.argsort(-scene.ranks, kind='stable'):
        candidate = scene.candidates[k]
        if total[k] <= 0 or total[k] < min_agreement * total.max():
            continue
        if all(candidate.iou(other) <= max_overlap for other in kept):
            kept.append(candidate)
    return kept


def _finish(scene, candidate: Candidate, count: int, group, min_region_area: int) -> Answer:
    """Clean a candidate, cut the negative points out and say who agrees how well."""
    shape: Region = candidate
    if min_region_area:
        shape = clean(shape, min_region_area)
    shape = cut_out(shape, scene.negatives, scene.candidates)
    candidate = candidate.reshaped(shape)
    said = agreements(scene.prompts, [candidate])
    agreement: list[float | None] = [None] * count
    for k, values in zip(group, said, strict=True):
        agreement[k] = None if values is None else float(values[0])
    return Answer(
        candidate.box,
        candidate.crop,
        candidate.gaze,
        candidate.predicted_iou,
        candidate.stability,
        score=float(_product(said, 1)[0]),
        agreement=tuple(agreement),
        label=' '.join(sorted({getattr(p, 'label', '') or '' for p in scene.prompts} - {''})),
    )


def _groups(prompts, gazes) -> list[list[int]]:
    """Return whose numbers count for each answer of one_per_prompt."""
    own = [i for i, looked in enumerate(gazes) if len(looked)]
    shared = [i for i, looked in enumerate(gazes) if not len(looked) and not _is_empty(prompts[i])]
    return [sorted([i, *shared]) for i in own]


def _is_empty(prompt) -> bool:
    """Say whether a prompt without a gaze looked for something: then it found nothing."""
    return not len(_negatives([prompt])) and prompt.score([]) is not None


def _negatives(prompts) -> np.ndarray:
    points = [np.asarray(getattr(p, 'negatives', ()), float).reshape(-1, 2) for p in prompts]
    return np.unique(np.concatenate(points), axis=0)


def _limited(candidate: Candidate, limits: Sequence[Region]) -> Candidate:
    for limit in limits:
        if candidate.shared_area(limit) < candidate.area:
            candidate = candidate.reshaped(candidate.within(limit))
    return candidate


def _join(a: Candidate, b: Candidate) -> Candidate:
    """Return the union of two candidates; its qualities are their means, weighted by area."""
    total = a.area + b.area
    iou = (a.predicted_iou * a.area + b.predicted_iou * b.area) / total
    stability = (a.stability * a.area + b.stability * b.area) / total
    union = a.union(b)
    return Candidate(union.box, union.crop, a.gaze, iou, stability)


def _product(said: list[np.ndarray | None], count: int) -> np.ndarray:
    voted = [a for a in said if a is not None]
    # Sorted, so that not even the last digit depends on the prompts' order.
    return np.prod(np.sort(voted, axis=0), axis=0) if voted else np.ones(count)
