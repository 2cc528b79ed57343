# SPDX-License-Identifier: Apache-2.0
"""One answer from any prompts: look where they propose, keep what they agree on.

``answer(segmenter, image, [Box((10, 20, 200, 100)), Points(negative=[(30, 40)])])``

The prompts' order changes nothing, and neither does a prompt that abstains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Answer, Candidate, Prompt, PromptError, as_frame
from stt_ros.prompts.clean import clean
from stt_ros.prompts.negatives import cut_out, looked_at
from stt_ros.prompts.region import Region
from stt_ros.prompts.scene import LOWEST, Look, Scene, all_negatives, product

MODES = ('one_object', 'one_per_prompt', 'all_instances')
SAME_GAZE = 2.0  # pixels: gazes nearer than this are one


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
    prompts, frame = list(prompts), as_frame(frame)
    gazes = _propose(prompts, frame)
    held_out = [looked_at(all_negatives([prompt])) for prompt in prompts]
    looks = segment(segmenter, frame, [*gazes, *held_out], interpolation)
    looks, away = looks[: len(prompts)], looks[len(prompts) :]
    groups = _groups(prompts, gazes) if mode == 'one_per_prompt' else [range(len(prompts))]
    answers: list[Answer] = []
    for group in groups:
        scene = Scene(*([part[i] for i in group] for part in (prompts, looks, away)))
        if mode == 'all_instances':
            found = instances(scene, min_agreement, max_overlap)
        else:
            found = [best(scene)] if scene.candidates else []
        for candidate in found:
            answers.append(_finish(scene, candidate, len(prompts), group, min_region_area))
    return [found for found in answers if found.area]


def _propose(prompts: list[Prompt], frame: Frame) -> list[np.ndarray]:
    if not prompts:
        raise PromptError('there is no prompt; expected at least one')
    gazes = [np.asarray(prompt.propose(frame), float).reshape(-1, 2) for prompt in prompts]
    if not any(len(g) for g in gazes) and all(len(all_negatives([p])) for p in prompts):
        raise PromptError(
            'there are only negative points: nothing says where the thing is; add a positive point '
            'or another prompt'
        )
    return gazes


def segment(
    segmenter, frame: Frame, gazes: Sequence[np.ndarray], interpolation: str = 'bilinear'
) -> list[list[Look]]:
    """Look at each prompt's gazes (K, 2), at nearly equal ones once: per prompt a look per gaze."""
    merged = merge_gazes(np.concatenate([np.empty((0, 2)), *gazes]))
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
    gazes = np.unique(gazes, axis=0)
    kept, count = np.empty_like(gazes), 0
    for gaze in gazes:
        if (np.hypot(*(kept[:count] - gaze).T) >= SAME_GAZE).all():
            kept[count] = gaze
            count += 1
    return kept[:count]


def best(scene: Scene) -> Candidate:
    """Return the best candidate, or the union of those that agree when that is better still."""
    return scene.best([*scene.candidates, *scene.unions()])


def instances(scene: Scene, min_agreement: float, max_overlap: float) -> list[Candidate]:
    """Return what agrees nearly as well as the best, overlapping little.

    Each is a candidate, or the union of those that agree with it when that fits better.
    """
    total = product(scene.agreements(scene.candidates), len(scene.candidates))
    ranks = total * [max(c.predicted_iou, LOWEST) for c in scene.candidates]
    kept: list[Candidate] = []
    for k in np.argsort(-ranks, kind='stable'):
        candidate = scene.candidates[k]
        if total[k] <= 0 or total[k] < min_agreement * total.max():
            continue
        if _apart(candidate, kept, max_overlap):
            kept.append(candidate)
    found: list[Candidate] = []
    for candidate in map(scene.joined, kept):
        if _apart(candidate, found, max_overlap):
            found.append(candidate)
    return found


def _apart(candidate: Candidate, others: Sequence[Candidate], max_overlap: float) -> bool:
    return all(candidate.iou(other) <= max_overlap for other in others)


def _finish(scene: Scene, candidate: Candidate, count: int, group, min_region_area: int) -> Answer:
    """Clean a candidate, cut the negative points out and say who agrees how well."""
    shape: Region = candidate
    if min_region_area:
        shape = clean(shape, min_region_area)
    shape = cut_out(shape, scene.negatives)
    candidate = candidate.reshaped(shape)
    said = scene.agreements([candidate])
    agreement: list[float | None] = [None] * count
    for k, values in zip(group, said, strict=True):
        agreement[k] = None if values is None else float(values[0])
    return Answer(
        candidate.box,
        candidate.crop,
        candidate.gaze,
        candidate.predicted_iou,
        candidate.stability,
        score=float(product(said, 1)[0]),
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
    return not len(all_negatives([prompt])) and prompt.score([]) is not None
