# SPDX-License-Identifier: Apache-2.0
"""A negative point is never inside an answer: what lies there is cut out of the masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stt_ros.prompts.base import Candidate
from stt_ros.prompts.region import Region

REACH = 0.1  # of the mask's size: how far around a negative point at least is cut away
MOST_LOOKS = 8  # negative points that are looked at; the others only cut a disk

Look = Sequence[Candidate]


def looked_at(negatives: np.ndarray) -> np.ndarray:
    """Return those of the negative points (K, 2) that are worth a look of the network."""
    if len(negatives) <= MOST_LOOKS:
        return negatives
    return negatives[np.linspace(0, len(negatives) - 1, MOST_LOOKS).astype(int)]


def trim(
    candidate: Candidate, looks: Sequence[Look], agree: Callable[[list[Candidate]], np.ndarray]
) -> Candidate:
    """Cut out of a candidate what the network sees at the negative points that it holds.

    ``looks`` are the looks at the negative points; ``agree`` says how well masks agree with the
    prompts, (R,): a cut that takes a positive point away is a bad one.
    """
    for look in looks:
        at = np.array([look[0].gaze])
        if not candidate.contains(at)[0]:
            continue
        cuts = [(thing, thing.predicted_iou) for thing in look if thing.contains(at)[0]]
        rests = [_rest(candidate, thing, iou) for thing, iou in cuts]
        rests.append(candidate.reshaped(cut_out(candidate, at)))
        rests = [rest for rest in rests if rest.area] or rests[-1:]
        quality = [max(rest.predicted_iou, 0.01) for rest in rests[:-1]] + [0.01]
        candidate = rests[int(np.argmax(agree(rests) * quality))]
    return candidate


def cut_out(region: Region, negatives: np.ndarray) -> Region:
    """Return a mask without the negative points (K, 2), x and y in pixels, and what is near.

    A disk is taken away around each point that is inside; its radius is ``REACH`` of the square
    root of the mask's area.
    """
    inside = negatives[region.contains(negatives)]
    if not len(inside):
        return region
    radius = REACH * np.sqrt(region.area)
    x, y, width, height = region.box
    rows, columns = np.ogrid[y : y + height, x : x + width]
    crop = region.crop.copy()
    for px, py in np.floor(inside):
        crop &= np.hypot(columns - px, rows - py) > radius
    return Region.of_mask(crop, (x, y))


def _rest(candidate: Candidate, thing: Candidate, iou: float) -> Candidate:
    """Return a candidate without a thing: sure only when both are."""
    rest = candidate.minus(thing)
    sure = candidate.predicted_iou * min(max(iou, 0.0), 1.0)
    return Candidate(rest.box, rest.crop, candidate.gaze, sure, candidate.stability)
