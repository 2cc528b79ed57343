# SPDX-License-Identifier: Apache-2.0
"""Point at pixels of an image, get masks: frame and gazes in, sorted hypotheses out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stt_ros import engines, masks
from stt_ros.foveation import SCALES, FoveationPattern
from stt_ros.frame import Frame

# Gazes per call of the engine: bounds the memory of a long list.
MAX_BATCH = 32


@dataclass(frozen=True, eq=False)
class View:
    """One foveated look: the pattern laid on an image of ``size`` (H, W) around ``gaze`` (x, y)."""

    pattern: FoveationPattern
    gaze: tuple[float, float]
    size: tuple[int, int]
    tokens: np.ndarray  # (N, 3, T, T) uint8, RGB

    @cached_property
    def areas(self) -> np.ndarray:
        """Pixels of the image behind each value, (N, T, T) int32."""
        return self.pattern.cell_areas(self.gaze, self.size)

    def paint(self, values: np.ndarray, interpolation: str = 'nearest', roi=None) -> np.ndarray:
        """Paint foveated values into the image; see ``FoveationPattern.paint``."""
        return self.pattern.paint(values, self.gaze, self.size, interpolation, roi)

    def picture(self) -> np.ndarray:
        """What the network saw, (H, W, 3) uint8 RGB; black outside the receptive field."""
        return self.paint(self.tokens)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One of the masks that a gaze may mean; painted when first asked for."""

    view: View
    logits: np.ndarray  # (N, T, T) float32, foveated like the tokens
    predicted_iou: float  # as the network says it, not clipped
    interpolation: str = 'bilinear'
    threshold: float = 0.0  # logit above which a pixel is in the mask

    @cached_property
    def stability(self) -> float:
        """How little the mask changes when the threshold moves by one logit, in [0, 1]."""
        return masks.stability(self.logits, self.view.areas, self.threshold)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight box (x, y, width, height) of the mask in pixels; all 0 when it is empty."""
        return self._painted[0]

    @property
    def crop(self) -> np.ndarray:
        """The mask inside its box, (height, width) bool."""
        return self._painted[1]

    @cached_property
    def area_px(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.crop))

    def mask(self) -> np.ndarray:
        """The mask of the whole image, (H, W) bool."""
        full = np.zeros(self.view.size, bool)
        x, y, width, height = self.box
        full[y : y + height, x : x + width] = self.crop
        return full

    @cached_property
    def _painted(self) -> tuple[tuple[int, int, int, int], np.ndarray]:
        view = self.view
        roi = view.pattern.bounding_roi(self.logits > self.threshold, view.gaze, view.size)
        painted = view.paint(self.logits, self.interpolation, roi)
        inside = painted > self.threshold
        x, y, width, height = masks.bounding_box(inside)
        crop = inside[y : y + height, x : x + width]
        return ((roi[0] + x, roi[1] + y, width, height) if crop.size else (0, 0, 0, 0)), crop


@dataclass(frozen=True, eq=False)
class Segmentation:
    """All that one gaze may mean, the most likely first."""

    view: View
    hypotheses: tuple[Hypothesis, ...]

    @property
    def gaze(self) -> tuple[float, float]:
        """The gaze (x, y) in pixels."""
        return self.view.gaze


class Segmenter:
    """A loaded network and the way from a frame to masks."""

    def __init__(self, engine: engines.Engine, scale: int = 0) -> None:
        """Segment with an engine; it is closed with the segmenter.

        ``scale``: how many pixels of the image, each way, the network reads as one, of
        ``foveation.SCALES``; 0: so many that the image is about as large as those that the
        network was trained on. Raises ``ValueError`` for another scale.
        """
        if scale not in (0, *SCALES):
            raise ValueError(f'scale is {scale}; allowed: 0, {", ".join(map(str, SCALES))}')
        self.engine = engine
        self.scale = scale

    @classmethod
    def create(
        cls,
        weights: str = 'default',
        device: str = 'auto',
        precision: str = 'auto',
        engine: str = 'auto',
        threads: int | None = None,
        compiled: bool = False,
        scale: int = 0,
    ) -> Segmenter:
        """Load a model; see ``stt_ros.engines.create`` for the values and errors."""
        made = engines.create(weights, device, precision, engine, threads, compiled)
        return cls(made, scale)

    @property
    def pattern(self) -> FoveationPattern:
        """The network's foveation pattern."""
        return self.engine.pattern

    def segment(
        self,
        image: np.ndarray | Frame,
        gazes: Sequence[Sequence[float]],
        interpolation: str = 'bilinear',
        threshold: float = 0.0,
        best_only: bool = False,
        scale: int = 0,
    ) -> list[Segmentation]:
        """Segment what each gaze (x, y), in pixels, points at; one result per gaze, in order.

        ``image`` is RGB (H, W, 3) or gray (H, W) uint8, or a ``Frame`` in its own channel order.
        ``best_only`` makes the hypothesis of the highest predicted IoU alone, which is faster.
        ``scale`` takes the place of ``scale_for`` this image.
        Raises ``ValueError`` for an image that is none of these or a gaze outside it,
        ``EngineError`` when the engine cannot go on.
        """
        frame = image if isinstance(image, Frame) else _as_frame(image)
        if np.ndim(gazes) != 2 and len(gazes):
            raise ValueError(f'gazes are {gazes!r}; expected a list of points [(x, y), ...]')
        gazes = [check_inside(gaze, frame.size) for gaze in gazes]
        scale = scale or self.scale_for(frame.size)
        results: list[Segmentation] = []
        for start in range(0, len(gazes), MAX_BATCH):
            batch = gazes[start : start + MAX_BATCH]
            views, tokens, valid = look(frame, batch, self.pattern, scale)
            logits, ious = self.engine.run(tokens, valid, best_only)
            for view, maps, scores in zip(views, logits, ious, strict=True):
                # Copies: a result that is kept must not keep the whole batch.
                ranked = tuple(
                    Hypothesis(view, maps[k].copy(), float(scores[k]), interpolation, threshold)
                    for k in np.argsort(-scores, kind='stable')
                )
                results.append(Segmentation(view, ranked))
        return results

    def scale_for(self, size: tuple[int, int]) -> int:
        """Return how many pixels of an image (H, W), each way, are read as one."""
        return self.scale or self.pattern.scale_for(size)

    def close(self) -> None:
        """Free the network; the segmenter cannot be used any more."""
        self.engine.close()

    def warm_up(self) -> None:
        """Run once in every size, so that the first real frame is as fast as the others."""
        self.engine.warm_up()


def check_inside(gaze: Sequence[float], size: tuple[int, int]) -> tuple[float, float]:
    """Return the gaze (x, y) if it is in an image of ``size`` (H, W), else raise ``ValueError``."""
    x, y = (float(v) for v in gaze)
    if not (0 <= x < size[1] and 0 <= y < size[0]):  # NaN fails too
        raise ValueError(
            f'gaze ({x:g}, {y:g}) is outside the image of {size[1]} x {size[0]} pixels: '
            f'x must be in [0, {size[1]}), y in [0, {size[0]})'
        )
    return x, y


def look(
    frame: Frame, gazes: list[tuple[float, float]], pattern: FoveationPattern, scale: int = 1
) -> tuple[list[View], np.ndarray, np.ndarray]:
    """Read a frame, as if made ``scale`` times smaller, around K gazes (x, y) in it.

    Returns the views and what an engine gets: RGB tokens (K, N, 3, T, T) and valid (K, N).
    """
    laid = pattern.scaled(scale)
    tokens, valid = laid.foveate(frame.pixels, np.array(gazes), frame.filler)
    if frame.reversed:
        tokens = tokens[:, :, ::-1]  # put right by the copies: here and in the engines
    views = [View(laid, g, frame.size, t.copy()) for g, t in zip(gazes, tokens, strict=True)]
    return views, tokens, valid


def _as_frame(image: np.ndarray) -> Frame:
    image = np.asarray(image)
    return Frame(image, 'mono' if image.ndim == 2 else 'rgb')
