# SPDX-License-Identifier: Apache-2.0
"""Strokes over the thing, and outlines drawn around it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError, check_inside, check_points
from stt_ros.prompts.boxes import MARGIN
from stt_ros.prompts.extent import reach
from stt_ros.prompts.foreground import deepest_points
from stt_ros.prompts.region import Region, box_iou, overlap

GAZES = 5  # looks along a stroke or inside an outline
LONGEST = 1e6  # pixels of all strokes together: every one of them is looked up in every candidate
FARTHEST = 1e6  # coordinate of an outline's corner


class Scribble:
    """Strokes over the thing (``positive``) and over what is not it (``negative``).

    Each stroke is a polyline of pixels (x, y), (K, 2), or a single point. Raises ``PromptError``
    for no stroke at all, an empty stroke, strokes of both kinds through one pixel, or strokes that
    are too long.
    """

    def __init__(self, positive: Sequence = (), negative: Sequence = (), gazes: int = GAZES):
        self.positive = [_check_stroke(stroke) for stroke in positive]
        strokes = [_check_stroke(stroke) for stroke in negative]
        if not self.positive and not strokes:
            raise PromptError('the scribble has no stroke; expected at least one, [(x, y), ...]')
        self.gazes = gazes
        self._inside = _every_pixel(self.positive)
        self.negatives = _every_pixel(strokes)
        both = {*map(tuple, np.floor(self._inside))} & {*map(tuple, np.floor(self.negatives))}
        if both:
            x, y = min(both)
            raise PromptError(
                f'the strokes contradict each other: pixel ({x:g}, {y:g}) is on a positive and a '
                'negative one'
            )

    def propose(self, frame: Frame) -> np.ndarray:
        """Return points spread along the strokes; ``PromptError`` if one leaves the frame."""
        check_inside(self._inside, frame.size, 'point of a stroke')
        check_inside(self.negatives, frame.size, 'point of a negative stroke')
        if len(self._inside) <= self.gazes:
            return self._inside
        at = (np.arange(self.gazes) + 0.5) * len(self._inside) / self.gazes
        return self._inside[at.astype(int)]

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the share of the strokes covered, times that of negative ones left out.

        Less when a candidate is much longer than the positive strokes reach.
        """
        held = np.array([self._score(candidate) for candidate in candidates])
        return held * reach(self._inside, candidates)

    def _score(self, candidate: Candidate) -> float:
        covered = candidate.contains(self._inside).mean() if len(self._inside) else 1.0
        leaked = candidate.contains(self.negatives).mean() if len(self.negatives) else 0.0
        return float(covered * (1 - leaked))


class Polygon:
    """The thing's outline by its corners (x, y), (K, 2) pixels, K >= 3.

    It may reach over the border of the picture, and cross itself: all that it encloses is meant.
    Raises ``PromptError`` for fewer corners, one too far away, or an outline without an area.
    """

    def __init__(self, corners: Sequence, gazes: int = GAZES) -> None:
        self.corners = check_points(corners, 'corner')
        if len(self.corners) < 3:
            raise PromptError(f'the outline has {len(self.corners)} corners; expected 3 or more')
        for x, y in self.corners[(np.abs(self.corners) > FARTHEST).any(axis=1)]:
            raise PromptError(
                f'corner ({x:g}, {y:g}) is too far away: coordinates up to {FARTHEST:g} are allowed'
            )
        if cv2.contourArea(cv2.convexHull(self.corners.astype(np.float32))) < 1:
            raise PromptError(
                'the outline has no area: all its corners lie on a line, or within a pixel'
            )
        self.gazes = gazes
        self.limits: Region | None = None
        self._area: Region | None = None

    def propose(self, frame: Frame) -> np.ndarray:
        """Return points deep inside; ``PromptError`` for an outline outside the frame."""
        height, width = frame.size
        mask = _enclosed(self.corners, frame.size)
        if not mask.any():
            (left, top), (right, bottom) = self.corners.min(axis=0), self.corners.max(axis=0)
            raise PromptError(
                f'the outline (x {left:g} to {right:g}, y {top:g} to {bottom:g}) is outside the '
                f'image of {width} x {height} pixels'
            )
        self._area = Region.of_mask(mask)
        self.limits = _grown(self._area, frame.size)
        corner = self._area.box[:2]
        return np.array(deepest_points(self._area.crop, self.gazes, corner))

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the share of the outline's inside covered, times each one's share inside."""
        return np.array([self._score(candidate) for candidate in candidates])

    def _score(self, candidate: Candidate) -> float:
        shared = candidate.shared_area(self._area)
        return shared / self._area.area * shared / max(candidate.area, 1)


class Lasso(Polygon):
    """A loose line around the thing: it must be inside and reach the line's extent."""

    def _score(self, candidate: Candidate) -> float:
        inside = candidate.shared_area(self._area) / max(candidate.area, 1)
        return box_iou(candidate.box, self._area.box) * inside


def _check_stroke(stroke) -> np.ndarray:
    points = check_points(stroke, 'point of a stroke')
    if not len(points):
        raise PromptError('a stroke is empty; expected [(x, y), ...] in pixels')
    return points


def _every_pixel(strokes: Sequence[np.ndarray]) -> np.ndarray:
    """Return points a pixel apart along all the strokes, (K, 2); ``PromptError`` if too long."""
    length = sum(np.abs(np.diff(stroke, axis=0)).max(axis=1).sum() for stroke in strokes)
    if length > LONGEST:
        raise PromptError(
            f'the strokes are {length:g} pixels long; at most {LONGEST:g} are allowed'
        )
    points = [np.empty((0, 2))]
    for stroke in strokes:
        points.append(stroke[:1])
        for start, end in zip(stroke[:-1], stroke[1:], strict=True):
            steps = max(1, int(np.ceil(np.abs(end - start).max())))
            points.append(start + (end - start) * np.arange(1, steps + 1)[:, None] / steps)
    return np.concatenate(points)


def _enclosed(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return what an outline encloses in a frame (H, W), however often it goes around: bool."""
    mask = np.zeros(size, np.uint8)
    # This leaves out what it goes around twice: inside of the outermost border all is meant.
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(mask, parts, -1, 1, cv2.FILLED).view(bool)


def _grown(area: Region, size: tuple[int, int]) -> Region:
    """Return the outline's inside grown by the margin that hand-drawn lines get."""
    x, y, width, height = area.box
    margin = int(np.ceil(MARGIN * max(width, height)))
    around = overlap(
        (x - margin, y - margin, width + 2 * margin, height + 2 * margin), (0, 0, size[1], size[0])
    )
    outside = (~area.window(around)).view(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)
    return Region.of_mask(distance <= margin, around[:2])
