# SPDX-License-Identifier: Apache-2.0
"""Words: everything in the frame that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError
from stt_ros.prompts.boxes import Box
from stt_ros.prompts.foreground import deepest_points
from stt_ros.prompts.heat import HeatMap
from stt_ros.prompts.hub import Loader
from stt_ros.prompts.region import NOWHERE, overlap
from stt_ros.prompts.search import Findings, Search, WordSearch

MAX_CHARACTERS = 300
MAX_INSTANCES = 16
MAX_GAZES = 48  # of all instances together
SPOTS = 3  # gazes per part of a heat map
SAME_BOX = 0.5  # IoU above which two boxes mean one thing
SMALLEST = 1e-3  # of the frame: smaller spots of a heat map are noise


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing that the words may name."""

    box: tuple[float, float, float, float]  # x, y, width, height in pixels
    similarity: float  # to the words, as the model says it, in [0, 1]
    gazes: np.ndarray  # (K, 2) pixels


class Text:
    """Words that name things, such as 'a red mug'.

    ``model`` is 'owlv2', 'clipseg', 'grounding-dino', or the name or folder of a checkpoint of
    such a model, taken from ``loader``; ``search`` takes its place: any function of a picture
    (H, W, 3) uint8 RGB and words that returns ``Findings``. ``threshold``: similarity to the words
    that a thing must have, by default what the model's authors recommend.

    Every thing that is named is proposed: ``mode='all_instances'`` answers with all of them.
    After ``propose``, ``instances`` says what was found, the most similar first. Raises
    ``PromptError`` for no words, too many, or a threshold outside [0, 1].
    """

    def __init__(
        self,
        words: str,
        loader: Loader | None = None,
        *,
        model: str = 'owlv2',
        search: Search | None = None,
        threshold: float | None = None,
    ) -> None:
        self.label = _check_words(words)
        if threshold is not None and not 0 <= threshold <= 1:
            raise PromptError(f'text threshold is {threshold}; expected a number in [0, 1]')
        self.threshold = threshold
        self.instances: list[Instance] = []
        self._search = search or WordSearch(loader or Loader(), model)
        self._boxes: list[tuple[Box, float]] = []
        self._heat: HeatMap | None = None

    def propose(self, frame: Frame) -> np.ndarray:
        """Return the gazes of all instances (K, 2), none when nothing is so named.

        Raises ``PromptModelError`` when the model cannot be had.
        """
        found = self._search(frame.rgb(), self.label)
        threshold = found.threshold if self.threshold is None else self.threshold
        self._heat, self._boxes = None, []
        if found.heat is None:
            self.instances = self._from_boxes(frame, found, threshold)
        else:
            self._heat = HeatMap(found.heat, frame.size)
            self.instances = _from_heat(self._heat, threshold)
        gazes = [gaze for instance in self.instances for gaze in instance.gazes]
        return np.array(gazes, float).reshape(-1, 2)

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return how similar each candidate is to the words, (C,) in [0, 1].

        With a heat map its mean inside minus that of a ring around; with boxes the fit to the best
        one, weighed by its similarity to the words (one half where it equals the threshold).
        """
        if self._heat:
            return self._heat.contrast(candidates)
        votes = [box.score(candidates) * weight for box, weight in self._boxes]
        return np.max(votes, axis=0) if votes else np.zeros(len(candidates))

    def _from_boxes(self, frame: Frame, found: Findings, threshold: float) -> list[Instance]:
        strongest, instances = _strongest(found, threshold, frame.size), []
        for box, similarity in strongest:
            prompt = Box(box)
            # Deep points come last: of many things only those are looked at.
            gazes = prompt.propose(frame)[-(MAX_GAZES // len(strongest)) :]
            instances.append(Instance(box, similarity, gazes))
            self._boxes.append((prompt, similarity / max(similarity + threshold, 1e-9)))
        return instances


def _strongest(found: Findings, threshold: float, size: tuple[int, int]):
    """Return boxes and similarities above the threshold, one per thing, the most similar first."""
    frame = (0, 0, size[1], size[0])
    inside = [min(box[2:]) > 0 and overlap(_whole(box), frame) != NOWHERE for box in found.boxes]
    likely = np.flatnonzero((found.similarities > threshold) & np.array(inside, bool))
    boxes = [tuple(float(v) for v in found.boxes[k]) for k in likely]
    similarities = [float(found.similarities[k]) for k in likely]
    kept = cv2.dnn.NMSBoxes(boxes, similarities, 0.0, SAME_BOX) if boxes else []
    return [(boxes[k], similarities[k]) for k in np.ravel(kept).astype(int)[:MAX_INSTANCES]]


def _whole(box: np.ndarray) -> tuple[int, int, int, int]:
    x, y, width, height = box
    left, top = int(np.floor(x)), int(np.floor(y))
    return left, top, int(np.ceil(x + width)) - left, int(np.ceil(y + height)) - top


def _from_heat(heat: HeatMap, threshold: float) -> list[Instance]:
    """Return the connected parts of a heat map above a threshold, the warmest first."""
    hot = (heat.values > threshold).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    cell = np.array(heat.size[::-1]) / hot.shape[::-1]
    instances = []
    for k in range(1, count):
        if stats[k, cv2.CC_STAT_AREA] < SMALLEST * hot.size:
            continue
        part = labels == k
        gazes = (np.array(deepest_points(part, SPOTS)) + 0.5) * cell
        box = stats[k, : cv2.CC_STAT_AREA].reshape(2, 2) * cell
        instances.append(Instance(tuple(box.ravel()), float(heat.values[part].mean()), gazes))
    instances.sort(key=lambda instance: -instance.similarity)
    return instances[:MAX_INSTANCES]


def _check_words(words: str) -> str:
    if isinstance(words, str):
        words = ' '.join(words.split())
    if not isinstance(words, str) or not words:
        raise PromptError(f'the text is {words!r}; expected words that name a thing')
    if len(words) > MAX_CHARACTERS:
        raise PromptError(
            f'the text has {len(words)} characters; at most {MAX_CHARACTERS} are allowed'
        )
    return words
