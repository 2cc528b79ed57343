# SPDX-License-Identifier: Apache-2.0
"""What all prompts share: they propose gazes, and they say how well a candidate agrees.

A click, a box, a scribble, a sentence and an example picture differ in these two only. The
network looks at every proposed gaze, and :func:`stt_ros.prompts.combine.answer` weighs what it
finds. To write a new kind, write a class with ``propose`` and ``score``; no base class is needed.

Pixels are (x, y): x to the right, y down. Boxes are (x, y, width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.region import Region
from stt_ros.segmenter import Hypothesis


class PromptError(ValueError):
    """A prompt that makes no sense; the text holds the value and what is allowed."""


@dataclass(frozen=True, eq=False)
class Candidate(Region):
    """One of the masks that one gaze may mean, or a union of such.

    ``box``, ``crop``, ``area``, ``iou()``, ``contains()``, ``mask(size)``: see ``Region``.
    """

    gaze: tuple[float, float]  # where the network looked, pixels
    predicted_iou: float  # as the network says it, not clipped
    stability: float  # in [0, 1]

    @classmethod
    def of(cls, hypothesis: Hypothesis) -> Candidate:
        """Paint a hypothesis of the network."""
        return cls(
            hypothesis.box,
            hypothesis.crop,
            hypothesis.view.gaze,
            hypothesis.predicted_iou,
            hypothesis.stability,
        )

    def reshaped(self, region: Region) -> Candidate:
        """Return the same candidate with another mask."""
        return Candidate(region.box, region.crop, self.gaze, self.predicted_iou, self.stability)


@dataclass(frozen=True, eq=False)
class Answer(Candidate):
    """A mask that the prompts agree on."""

    score: float = 0.0  # product of the agreements, in [0, 1]
    # In the order of the prompts: how well each agrees, in [0, 1]; None: it abstained.
    agreement: tuple[float | None, ...] = ()
    label: str = ''  # what the thing is called, '' when nobody says
    label_probability: float = 0.0
    # Of everything: the part of the frame it was found in, x, y, width, height; None: the frame.
    crop_box: tuple[int, int, int, int] | None = None


class Prompt(Protocol):
    """Anything that proposes gazes and scores candidates.

    A prompt may also have these attributes; the combiner reads them after ``propose``:

    ``negatives``  points (K, 2) in pixels that are never inside an answer,
    ``limits``     a ``Region`` that an answer does not leave,
    ``seeds``      candidates of its own (a list), beside those of the network,
    ``label``      the name (str) of what it finds,
    ``local``      True: it knows single pixels of the thing, and little of how far it reaches.
    """

    def propose(self, frame: Frame) -> np.ndarray:
        """Return where to look: gazes (K, 2) float, x and y in pixels, all inside the frame.

        Called once for every frame, before ``score``; the prompt keeps here what it needs of the
        frame. No gazes (0, 2): nothing of that kind is there. Raises ``PromptError`` when the
        prompt does not fit the frame.
        """

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray | None:
        """Return how well each of C candidates agrees: (C,) in [0, 1], or None: no vote.

        A candidate's number depends on it alone, not on the others. Called several times for one
        frame (unions of candidates are scored too), so it must be quick.
        """


def as_frame(image: np.ndarray | Frame) -> Frame:
    """Return a frame; an array is RGB (H, W, 3) or gray (H, W) uint8."""
    if isinstance(image, Frame):
        return image
    image = np.asarray(image)
    return Frame(image, 'mono' if image.ndim == 2 else 'rgb')


def check_points(points, what: str = 'point') -> np.ndarray:
    """Return points as (K, 2) float64; raises ``PromptError`` if they are not finite pairs."""
    try:
        array = np.asarray(points, float)
        array = array.reshape(-1, 2) if array.size == 0 else array
        array = array[None] if array.shape == (2,) else array
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(f'{what}s are {points!r}; expected [(x, y), ...] in pixels')
    for x, y in array[~np.isfinite(array).all(axis=1)]:
        raise PromptError(f'{what} ({x}, {y}): both coordinates must be finite')
    return array


def check_inside(points: np.ndarray, size: tuple[int, int], what: str = 'point') -> None:
    """Raise ``PromptError`` naming the first of the points (K, 2) outside an image (H, W)."""
    height, width = size
    points = np.asarray(points, float).reshape(-1, 2)
    for x, y in points[((points < 0) | (points >= (width, height))).any(axis=1)]:
        raise PromptError(
            f'{what} ({x:g}, {y:g}) is outside the image of {width} x {height} pixels: '
            f'x must be in [0, {width}), y in [0, {height})'
        )
