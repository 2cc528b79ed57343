# SPDX-License-Identifier: Apache-2.0
"""An example picture and the mask of a thing in it: find that thing, or its like, in other frames.

Every place of a frame is compared with the thing in the example, as IPSeg does (Tang et al., 2023).
It counts only if the place of the example that it is most like lies on the thing too, as in INSID3
(2025): look-alikes that the example shows elsewhere are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError, as_frame
from stt_ros.prompts.features import PatchFeatures
from stt_ros.prompts.heat import HeatMap
from stt_ros.prompts.hub import Loader

MAX_INSTANCES = 8
CELLS_PER_GAZE = 12  # a larger cluster is split, into at most MAX_CLUSTERS
MAX_CLUSTERS = 4
MAX_BACKGROUND = 4


class Example:
    """A thing as it looks in a picture (H, W, 3) uint8 RGB, or ``Frame``, where ``mask`` is.

    ``mask`` is (H, W), bool or above 0 on the thing. ``features`` turns a picture (H, W, 3) uint8
    into (h, w, C) numbers that cover it evenly; by default those of DINOv2 from ``loader``. Every
    instance is proposed: ``mode='all_instances'`` answers with all, the others with the best.
    ``label`` is what the answers are called.

    After ``propose``, ``similarity`` is the ``HeatMap`` of the frame and ``background`` are points
    (K, 2) in pixels that are surely not the thing. Raises ``PromptError`` for a mask of another
    size than the picture, or an empty one.
    """

    def __init__(
        self,
        picture: np.ndarray | Frame,
        mask: np.ndarray,
        loader: Loader | None = None,
        *,
        features: Callable[[np.ndarray], np.ndarray] | None = None,
        label: str = '',
    ) -> None:
        try:
            self._picture = as_frame(picture).rgb()
        except ValueError as error:
            raise PromptError(f'the example: {error}') from None
        self._mask = _check_mask(mask, self._picture.shape[:2])
        self._features = features or PatchFeatures(loader or Loader())
        self._reference: _Reference | None = None
        self.label = label
        self.similarity: HeatMap | None = None
        self.background = np.empty((0, 2))

    def learn(self) -> None:
        """Look at the example now instead of with the first frame.

        Raises ``PromptModelError`` when the model of the features cannot be had.
        """
        if self._reference is None:
            self._reference = _Reference(self._features(self._picture), self._mask)

    def propose(self, frame: Frame) -> np.ndarray:
        """Return a medoid of every cluster of places that are like the thing: (K, 2), pixels.

        The most alike come first. Raises ``PromptModelError`` as ``learn`` does.
        """
        self.learn()
        likeness, other = self._reference.compare(self._features(frame.rgb()))
        self.similarity = HeatMap(likeness, frame.size)
        cell = np.array(frame.size[::-1]) / likeness.shape[::-1]
        self.background = (_surest(other) + 0.5) * cell
        gazes = [medoid for cells in _instances(likeness) for medoid in _medoids(cells)]
        return (np.array(gazes, float).reshape(-1, 2) + 0.5) * cell

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the mean likeness inside minus that of a ring, less for background inside."""
        scores = self.similarity.contrast(candidates)
        if len(self.background):
            scores *= [1 - c.contains(self.background).mean() for c in candidates]
        return scores


class _Reference:
    """The features of the example, and which are the thing's."""

    def __init__(self, features: np.ndarray, mask: np.ndarray) -> None:
        cells = features.shape[:2]
        self.features = _unit(features)
        covered = cv2.resize(mask.astype(np.float32), cells[::-1], interpolation=cv2.INTER_AREA)
        # A thing smaller than a cell still has the cell that it covers most.
        self.inside = (covered >= min(0.5, covered.max())).ravel()
        self.thing = _unit(self.features[self.inside].mean(axis=0))
        alike = self.features @ self.thing
        self.level_in = float(alike[self.inside].mean())
        # Without a rest nothing says how unlike other things are: 0 is what random features give.
        self.level_out = 0.0 if self.inside.all() else float(alike[~self.inside].mean())

    def compare(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for each place of a frame (h, w) how like the thing and like the rest it is.

        Likeness is 1 where as like as the example's own thing, 0 where as unlike as the rest of it
        or where the backward match is not on the thing. Of the rest only what is no thing counts.
        """
        cells = features.shape[:2]
        features = _unit(features)
        span = max(self.level_in - self.level_out, 1e-6)
        likeness = np.clip((features @ self.thing - self.level_out) / span, 0, 1)
        matches = features @ self.features.T
        back = self.inside[matches.argmax(axis=1)]
        rest = matches[:, ~self.inside].max(axis=1, initial=0)
        return (
            (likeness * back).reshape(cells),
            (rest * (1 - likeness) * ~back).reshape(cells),
        )


def _unit(features: np.ndarray) -> np.ndarray:
    """Return features (..., C) as a list (N, C) of length 1, a single one as it was."""
    flat = np.asarray(features, np.float32)
    flat = flat.reshape(-1, flat.shape[-1]) if flat.ndim > 1 else flat
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-9)


def _instances(likeness: np.ndarray) -> list[np.ndarray]:
    """Return the connected cells (K, 2), x and y, more like the thing than the rest; best first."""
    count, labels = cv2.connectedComponents((likeness > 0.5).view(np.uint8), connectivity=8)
    groups = [np.argwhere(labels == k)[:, ::-1] for k in range(1, count)]
    # By the sum: a stray cell is not a thing, however like it looks.
    groups.sort(key=lambda cells: -likeness[cells[:, 1], cells[:, 0]].sum())
    return groups[:MAX_INSTANCES]


def _medoids(cells: np.ndarray) -> np.ndarray:
    """Split cells (N, 2) into clusters of near ones and return the middle cell of each: (K, 2)."""
    number = min(MAX_CLUSTERS, 1 + len(cells) // CELLS_PER_GAZE)
    centres = cells[:1].astype(float)
    while len(centres) < number:  # farthest first
        distance = np.linalg.norm(cells[:, None] - centres, axis=2).min(axis=1)
        centres = np.vstack([centres, cells[distance.argmax()]])
    for _ in range(10):
        nearest = np.linalg.norm(cells[:, None] - centres, axis=2).argmin(axis=1)
        centres = np.array([cells[nearest == k].mean(axis=0) for k in np.unique(nearest)])
    # A mean may lie beside a bent thing, a medoid never.
    medoids = np.linalg.norm(cells[:, None] - centres, axis=2).argmin(axis=0)
    return cells[np.unique(medoids)]


def _surest(other: np.ndarray) -> np.ndarray:
    """Return the cells (K, 2), x and y, that are most like the rest, far from each other."""
    other, found = other.copy(), []
    rows, columns = np.indices(other.shape)
    reach = max(other.shape) / MAX_BACKGROUND
    while len(found) < MAX_BACKGROUND and other.max() > 0.5:
        y, x = np.unravel_index(int(other.argmax()), other.shape)
        found.append((x, y))
        other[np.hypot(rows - y, columns - x) < reach] = 0
    return np.array(found, float).reshape(-1, 2)


def _check_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != size:
        shape = ' x '.join(str(side) for side in mask.shape[::-1]) or 'a single number'
        raise PromptError(
            f'the mask of the example is {shape} pixels; its picture has {size[1]} x {size[0]}'
        )
    mask = mask > 0
    if not mask.any():
        raise PromptError('the mask of the example is empty: no pixel is on the thing')
    return mask
