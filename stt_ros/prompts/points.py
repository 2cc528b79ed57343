# SPDX-License-Identifier: Apache-2.0
"""Points on the thing, and points that are not on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError, check_inside, check_points
from stt_ros.prompts.extent import reach


class Points:
    """Pixels (x, y) inside the thing (``positive``) and outside it (``negative``), any number.

    Negative points alone propose nothing: they help other prompts. Raises ``PromptError`` for no
    point at all, a point that is not two finite numbers, or a pixel that is both.
    """

    local = True

    def __init__(self, positive=(), negative=()) -> None:
        self.positive = check_points(positive)
        self.negatives = check_points(negative, 'negative point')
        if not len(self.positive) + len(self.negatives):
            raise PromptError('there is no point; expected at least one, (x, y) in pixels')
        both = {*_pixels(self.positive)} & {*_pixels(self.negatives)}
        if both:
            raise PromptError(
                f'the points contradict each other: pixel {min(both)} is positive and negative'
            )

    def propose(self, frame: Frame) -> np.ndarray:
        """Return every positive point; raises ``PromptError`` for points outside the frame."""
        check_inside(self.positive, frame.size)
        check_inside(self.negatives, frame.size, 'negative point')
        return self.positive

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the share of positive points inside, times that of negative points outside.

        Less when a candidate is much longer than the positive points reach.
        """
        held = np.array([self._score(candidate) for candidate in candidates])
        return held * reach(self.positive, candidates)

    def _score(self, candidate: Candidate) -> float:
        inside = candidate.contains(self.positive).mean() if len(self.positive) else 1.0
        outside = 1 - candidate.contains(self.negatives).mean() if len(self.negatives) else 1.0
        return float(inside * outside)


def _pixels(points: np.ndarray) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.floor(points)]
