# SPDX-License-Identifier: Apache-2.0
"""All that can be seen in a frame: a grid of gazes, and SAM's rules of what to keep.

Kirillov et al., "Segment Anything", 2023: predicted IoU, stability, box NMS, the rule of crop
edges, the smallest region.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts import grids
from stt_ros.prompts.base import Candidate, PromptError, as_frame
from stt_ros.prompts.clean import clean
from stt_ros.prompts.combine import SAME_GAZE

CROP_EDGE = 20  # pixels: a mask nearer to a crop's edge is cut off by it


class Everything:
    """A prompt that looks everywhere and has no opinion, for other prompts to vote on.

    ``answer(segmenter, image, [Everything(), other], 'all_instances')`` finds all that ``other``
    agrees with. Raises ``PromptError`` for fewer than one point per side.
    """

    def __init__(self, points_per_side: int = 8) -> None:
        grids.grid((0, 0, 1, 1), points_per_side)
        self.points_per_side = points_per_side

    def propose(self, frame: Frame) -> np.ndarray:
        """Return the grid's points."""
        height, width = frame.size
        return grids.grid((0, 0, width, height), self.points_per_side)

    def score(self, candidates: Sequence[Candidate]) -> None:
        """Abstain."""
        return None


@dataclass(frozen=True, eq=False)
class Found(Candidate):
    """A mask of everything-mode."""

    crop_box: tuple[int, int, int, int]  # the part of the frame it was found in


@dataclass(frozen=True)
class Settings:
    """What everything-mode looks at and keeps; raises ``PromptError`` for values out of range.

    How sure a network is of a good mask differs from network to network, so by default nothing is
    left out for it; SAM's own thresholds are 0.88 and 0.95.
    """

    points_per_side: int = 16  # of the whole frame; enlarged parts have half as many per layer
    crop_layers: int = 0  # 1: also 2 x 2 parts, enlarged twice; 2: also 4 x 4; ...
    min_predicted_iou: float = 0.0
    min_stability: float = 0.0  # at one logit more and less
    max_box_iou: float = 0.7  # two masks whose boxes overlap more are one
    min_region_area: int = 0  # pixels: smaller holes are filled, smaller islands taken away
    batch: int = 16  # gazes between two looks at the clock

    def __post_init__(self) -> None:
        for name, low, high in (
            ('points_per_side', 1, 256), ('crop_layers', 0, 4), ('min_predicted_iou', -1e9, 1),
            ('min_stability', 0, 1), ('max_box_iou', 0, 1), ('min_region_area', 0, 10**9),
            ('batch', 1, 1024),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise PromptError(f'{name} is {value}; allowed: {low} to {high}')


def everything(
    segmenter,
    frame: np.ndarray | Frame,
    settings: Settings | None = None,
    *,
    budget_ms: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    interpolation: str = 'bilinear',
) -> list[Found]:
    """Return all that is seen in a frame, that of the highest predicted IoU first.

    ``frame`` is a ``Frame`` or RGB (H, W, 3) uint8. With a budget (milliseconds, for looking)
    what was found when it is used up is returned, at least that of the first batch; gazes come in
    an order that is spread over the frame at any time. ``progress(done, total)`` is called with
    numbers of gazes. Raises ``PromptError`` for a budget that is not above 0.
    """
    if budget_ms is not None and not budget_ms > 0:
        raise PromptError(f'budget is {budget_ms} ms; expected a number above 0, or None')
    settings, frame = settings or Settings(), as_frame(frame)
    deadline = None if budget_ms is None else time.monotonic() + budget_ms / 1000
    found = []
    for crop, results in looks(segmenter, frame, settings, deadline, progress, interpolation):
        for result in results:
            found += [_found(crop, h) for h in result.hypotheses if _sure(h, settings)]
    found = [f for f in found if f.area and not _cut_off(f, frame.size)]
    smallest = [f.crop_box[2] * f.crop_box[3] for f in found]
    ranked = [found[k] for k in np.lexsort(([-f.predicted_iou for f in found], smallest))]
    kept = [ranked[k] for k in nms([f.box for f in ranked], settings.max_box_iou)]
    if settings.min_region_area:
        kept = _cleaned(kept, settings)
    return sorted(kept, key=lambda f: -f.predicted_iou)


def looks(segmenter, frame, settings, deadline=None, progress=None, interpolation='bilinear'):
    """Yield (crop, segmentations) batch by batch until all is seen or the deadline (s) is past."""
    layers = grids.crops(frame.size, settings.crop_layers)
    places = [
        (crop, crop.inside(gazes))
        for layer, row in enumerate(layers)
        for crop, gazes in _gazes(row, max(1, settings.points_per_side >> layer))
    ]
    scale = segmenter.scale_for(frame.size)  # of the parts, too, which are enlarged to be seen so
    total, done = sum(len(gazes) for _, gazes in places), 0
    for crop, gazes in places:
        view = crop.view(frame)
        for start in range(0, len(gazes), settings.batch):
            if done and deadline is not None and time.monotonic() >= deadline:
                return
            batch = gazes[start : start + settings.batch]
            yield crop, segmenter.segment(view, batch, interpolation, scale=scale)
            done += len(batch)
            if progress:
                progress(done, total)


def _gazes(row: Sequence[grids.Crop], per_side: int):
    """Yield (crop, gazes) for the parts of a layer; where parts overlap no gaze comes twice."""
    taken = np.empty((0, 2))
    for crop in row:
        gazes = grids.grid(crop.box, per_side)
        apart = np.linalg.norm(gazes[:, None] - taken[None], axis=2)
        gazes = gazes[(apart >= SAME_GAZE).all(axis=1)]
        taken = np.concatenate([taken, gazes])
        yield crop, gazes


def nms(boxes: Sequence[Sequence[int]], max_iou: float) -> list[int]:
    """Return which boxes (x, y, width, height), best first, overlap no better one too much."""
    if not len(boxes):
        return []
    low = np.asarray(boxes, float)[:, :2]
    high = low + np.asarray(boxes, float)[:, 2:]
    areas = np.prod(high - low, axis=1)
    alive, kept = np.ones(len(boxes), bool), []
    for k in range(len(boxes)):
        if not alive[k]:
            continue
        kept.append(k)
        sides = np.minimum(high[k], high) - np.maximum(low[k], low)
        shared = np.prod(np.clip(sides, 0, None), axis=1)
        alive &= shared <= max_iou * (areas[k] + areas - shared)
    return kept


def _sure(hypothesis, settings: Settings) -> bool:
    return (
        hypothesis.predicted_iou > settings.min_predicted_iou
        and hypothesis.stability >= settings.min_stability
    )


def _found(crop: grids.Crop, hypothesis) -> Found:
    seen = crop.outside(Candidate.of(hypothesis))
    return Found(seen.box, seen.crop, seen.gaze, seen.predicted_iou, seen.stability, crop.box)


def _cut_off(found: Found, size: tuple[int, int]) -> bool:
    """Say whether a crop's edge, that is no edge of the frame (H, W), cuts a mask off."""
    low, high = np.array(found.box[:2]), np.add(found.box[:2], found.box[2:])
    crop_low = np.array(found.crop_box[:2])
    crop_high = crop_low + found.crop_box[2:]
    near_low = (low - crop_low <= CROP_EDGE) & (crop_low > 0)
    near_high = (crop_high - high <= CROP_EDGE) & (crop_high < size[::-1])
    return bool((near_low | near_high).any())


def _cleaned(found: list[Found], settings: Settings) -> list[Found]:
    """Clean every mask and merge again, those first that had nothing to clean."""
    pairs = []
    for mask in found:
        tidy = clean(mask, settings.min_region_area)
        changed = tidy.area != mask.area or not np.array_equal(tidy.crop, mask.crop)
        shape = (tidy.box, tidy.crop, mask.gaze, mask.predicted_iou, mask.stability, mask.crop_box)
        pairs.append((changed, Found(*shape)))
    pairs.sort(key=lambda pair: pair[0])
    return [pairs[k][1] for k in nms([f.box for _, f in pairs], settings.max_box_iou)]
