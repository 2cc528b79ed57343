# SPDX-License-Identifier: Apache-2.0
"""What the node and the command line ask: any prompts, names for the masks, what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Answer, Prompt, PromptError
from stt_ros.prompts.combine import answer
from stt_ros.prompts.everything import Everything, Settings, everything
from stt_ros.prompts.hub import PromptModelError


@dataclass(frozen=True)
class Options:
    """How to answer, whatever is asked."""

    interpolation: str = 'bilinear'
    min_region_area: int = 0  # pixels: smaller holes are filled, smaller islands taken away
    points_per_side: int = 16  # of everything's grid
    crop_layers: int = 0  # of everything, as the two thresholds: see ``Settings``
    min_predicted_iou: float = 0.3  # about a hundred masks of a street
    min_stability: float = 0.0
    budget_ms: float | None = None  # of everything
    progress: Callable[[int, int], None] | None = None  # of everything: gazes done, and in all
    labeller: Callable | None = None  # ``labels.Labeller.named``, or none


@dataclass(frozen=True)
class Reply:
    """The answers, best first, and for each prompt left out why."""

    answers: list[Answer]
    problems: list[str] = field(default_factory=list)


def ask(
    segmenter,
    frame: Frame,
    prompts: Sequence[Prompt],
    mode: str = 'one_object',
    options: Options | None = None,
) -> Reply:
    """Answer prompts as ``combine.answer`` does, and 'everything' alone by SAM's rules.

    A prompt whose model cannot be had abstains, which is told in ``Reply.problems``. Raises
    ``PromptError`` as ``answer`` does, and when no other prompt than such found anything.
    """
    options = options or Options()
    if len(prompts) == 1 and isinstance(prompts[0], Everything):
        return _named(frame, _everything(segmenter, frame, mode, options), [], options)
    spared = [_Spared(prompt) for prompt in prompts]
    answers = answer(
        segmenter,
        frame,
        spared,
        mode,
        interpolation=options.interpolation,
        min_region_area=options.min_region_area,
    )
    problems = [f'prompts[{k}]: {s.problem}' for k, s in enumerate(spared) if s.problem]
    if problems and not answers:
        raise PromptModelError('; '.join(problems))
    return _named(frame, answers, problems, options)


class _Spared:
    """A prompt that abstains while the model that it needs cannot be had."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self.problem = ''

    def propose(self, frame: Frame) -> np.ndarray:
        try:
            return self._prompt.propose(frame)
        except PromptModelError as error:
            self.problem = str(error)
            return np.empty((0, 2))

    def score(self, candidates) -> np.ndarray | None:
        return None if self.problem else self._prompt.score(candidates)

    def __getattr__(self, name: str):
        if name.startswith('_') or self.problem:
            raise AttributeError(name)
        return getattr(self._prompt, name)


def _everything(segmenter, frame: Frame, mode: str, options: Options) -> list[Answer]:
    if mode != 'all_instances':
        raise PromptError(f"mode is '{mode}'; everything alone is many things: all_instances")
    settings = Settings(
        points_per_side=options.points_per_side,
        crop_layers=options.crop_layers,
        min_predicted_iou=options.min_predicted_iou,
        min_stability=options.min_stability,
        min_region_area=options.min_region_area,
    )
    found = everything(
        segmenter,
        frame,
        settings,
        budget_ms=options.budget_ms,
        progress=options.progress,
        interpolation=options.interpolation,
    )
    return [
        Answer(
            f.box,
            f.crop,
            f.gaze,
            f.predicted_iou,
            f.stability,
            score=1.0,
            agreement=(None,),
            crop_box=f.crop_box,
        )  # fmt: skip
        for f in found
    ]


def _named(frame: Frame, answers: list[Answer], problems: list[str], options: Options) -> Reply:
    if options.labeller is not None and answers:
        try:
            answers = options.labeller(frame, answers)
        except PromptModelError as error:
            problems = [*problems, f'names: {error}']
    return Reply(answers, problems)
