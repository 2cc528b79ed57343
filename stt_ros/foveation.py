# SPDX-License-Identifier: Apache-2.0
"""Foveated tokens of an image, and foveated values painted back into the image.

A foveation pattern is a set of concentric square levels around the gaze. Level ``i`` samples the
image at stride ``strides[i]`` and keeps only the ring that the finer levels inside it leave open,
so resolution falls off with the distance from the gaze (Schmidt & Newcombe, "Segment This Thing",
CVPR 2025). Pixels are ``(x, y)``: x to the right, y down, (0, 0) the top-left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np

from stt_ros.boxsums import LANES, box_means, scratch
from stt_ros.checks import check_gaze, check_image, check_roi, whole
from stt_ros.levels import Layout, Level, build_levels, check_pattern
from stt_ros.painting import paint_enlarged, paint_levels

# round(255 * ImageNet mean): what the network sees where the image ends.
FILLER_RGB = (124, 116, 104)

# How many pixels of an image, each way, a network may read as one.
SCALES = (1, 2, 4, 8, 16)

# Far beyond any image, small enough for int64 arithmetic on pixel coordinates.
_FAR = 2**40


@dataclass(frozen=True)
class FoveationPattern:
    """Token size in pixels, and per level (innermost first) a stride and a grid size.

    ``usual_side`` is the longer side in pixels of the images that a network was taught with, 0 if
    it takes all sizes alike, as the published ones do. With ``scale`` s above 1 the pattern's
    corner and all strides are multiples of s, and of every s rows of an image one is read.
    Raises ``ValueError`` naming the level and its numbers when the levels do not nest.
    """

    token_size: int
    strides: tuple[int, ...]
    grid_sizes: tuple[int, ...]
    usual_side: int = field(default=0, compare=False)
    scale: int = 1

    def __post_init__(self) -> None:
        for name in ('strides', 'grid_sizes'):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        whole('token_size', (self.token_size,))
        if whole('usual_side', (self.usual_side,))[0] < 0:
            raise ValueError(f'usual_side is {self.usual_side}: must be 0 or more')
        check_pattern(self.token_size, self.strides, self.grid_sizes)
        scale = whole('scale', (self.scale,))[0]
        if scale < 1 or any(stride % scale for stride in self.strides):
            raise ValueError(f'scale is {scale}: strides {self.strides} must be multiples of it')

    @classmethod
    def standard(cls) -> FoveationPattern:
        """Return the pattern of the published models: 172 tokens over 1280 x 1280 pixels."""
        return cls(16, (1, 2, 4, 6, 8), (4, 4, 6, 8, 10))

    @classmethod
    def of_default_model(cls) -> FoveationPattern:
        """Return the same for a network that was taught with images of 800 pixels or so."""
        return replace(cls.standard(), usual_side=800)

    def scaled(self, factor: int) -> FoveationPattern:
        """Return the pattern whose boxes are ``factor`` times as wide, so that it sees as far.

        It reads of an image what this pattern reads of the image made smaller by that factor. Of
        so many rows one is read, as the rows of a large frame take longer to come from memory than
        all else does, and what the last rows and pixels lack to one more counts as filler.
        """
        return self if factor == 1 else _scaled(self, factor)

    def scale_for(self, size: tuple[int, int]) -> int:
        """Return by which of ``SCALES`` an image (H, W) comes nearest to the usual size."""
        if not self.usual_side:
            return 1
        return min(SCALES, key=lambda scale: abs(math.log(max(size) / scale / self.usual_side)))

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the square around the gaze that is looked at."""
        return self.strides[-1] * self.grid_sizes[-1] * self.token_size

    @property
    def num_tokens(self) -> int:
        """Number of tokens N."""
        return self.levels[-1].tokens.stop

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels, innermost first."""
        return build_levels(self.token_size, self.strides, self.grid_sizes, self.scale)

    @cached_property
    def _unscaled(self) -> FoveationPattern:
        strides = tuple(stride // self.scale for stride in self.strides)
        return FoveationPattern(self.token_size, strides, self.grid_sizes)

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.levels)

    def crop_origin(self, gaze: Sequence[float]) -> tuple[int, int]:
        """Return the top-left pixel (x, y) of the receptive field, truncated toward zero.

        A multiple of ``scale``, the gaze being rounded down to one.
        Raises ``ValueError`` when the gaze is not two finite numbers.
        """
        scale, half = self.scale, self.receptive_field / 2 / self.scale
        at = (v if scale == 1 else v // scale for v in check_gaze(gaze))
        return tuple(scale * int(max(-_FAR, min(_FAR, math.trunc(v - half)))) for v in at)

    def foveate(
        self,
        image: np.ndarray,
        gazes: Sequence,
        filler: Sequence[int] = FILLER_RGB,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the tokens around one gaze (x, y) or around each of K gazes (K, 2).

        ``image`` is (H, W, C) or (H, W) uint8 and is neither copied nor padded; ``filler`` is the
        colour beyond its border, in the image's channel order. Channels after ``len(filler)`` are
        left out (alpha), a single channel is repeated.

        Returns tokens (N, 3, T, T) uint8, each value the floored mean of its box of pixels (of
        the rows that are read), and valid (N,) bool, False for tokens wholly outside the image;
        with K gazes a leading axis K.
        Raises ``ValueError`` for another image type, an empty image or a gaze that is not finite.
        """
        image = check_image(image, len(filler))
        many = np.ndim(gazes) == 2
        origins = [self.crop_origin(gaze) for gaze in (gazes if many else [gazes])]
        size = self.token_size
        tokens = np.empty((len(origins), self.num_tokens, len(filler), size, size), np.uint8)
        valid = np.empty(tokens.shape[:2], bool)
        for k, origin in enumerate(origins):
            self._read(image, origin, filler, tokens[k])
            valid[k] = self._layout.seen(origin, image.shape[:2])
        return (tokens, valid) if many else (tokens[0], valid[0])

    def paint(
        self,
        values: np.ndarray,
        gaze: Sequence[float],
        size: tuple[int, int],
        interpolation: str = 'nearest',
        roi: tuple[int, int, int, int] | None = None,
        fill: float | None = None,
    ) -> np.ndarray:
        """Paint foveated values back into an image of ``size`` (H, W).

        ``values`` is (N, T, T), or (N, C, T, T) with C <= 4 channels, floating or uint8. Those of
        tokens outside the image are not looked at.
        ``interpolation``: 'nearest' fills each box with its value (the published visualisation),
        'bilinear' interpolates between the box centres, each ring continued into the finer one.
        With ``scale`` above 1 it paints the image made smaller by it, and enlarges that bilinearly.
        ``roi`` (x, y, width, height) paints only that part. Pixels outside the receptive field get
        ``fill``: by default -inf (never part of a mask), 0 for integers.

        Returns (H, W) or (H, W, C) (the roi's size if given), float32 or uint8.
        Raises ``ValueError`` for another shape, interpolation or a roi outside the image.
        """
        values = self._check_values(values)
        if interpolation not in ('nearest', 'bilinear'):
            raise ValueError(f"interpolation is {interpolation!r}; allowed: 'nearest', 'bilinear'")
        roi = check_roi(roi, size)
        if fill is None:
            fill = -np.inf if values.dtype.kind == 'f' else 0
        origin = self.crop_origin(gaze)
        if interpolation == 'bilinear' and self.scale > 1:
            levels = self._unscaled.levels
            return paint_enlarged(levels, values, origin, size, roi, fill, self.scale)
        return paint_levels(self.levels, values, origin, size, interpolation, roi, fill)

    def cell_areas(self, gaze: Sequence[float], size: tuple[int, int]) -> np.ndarray:
        """Count the pixels of an image (H, W) behind each value of each token: (N, T, T) int32.

        Sums of foveated masks weighted by it are pixel areas inside the image.
        """
        ox, oy = self.crop_origin(gaze)
        areas = scratch('areas', (self.levels[-1].stop,), np.int32)
        for level in self.levels:
            heights, widths = level.lengths(oy, size[0]), level.lengths(ox, size[1])
            grid = areas[level.start : level.stop].reshape(level.cells, level.cells)
            np.multiply.outer(heights, widths, out=grid)
        return self._layout.cut(areas)

    def bounding_roi(
        self, selected: np.ndarray, gaze: Sequence[float], size: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """Return the roi (x, y, width, height) of an image (H, W) that holds the selected values.

        ``selected`` is (N, T, T) bool. The roi has a margin of the coarsest stride, so that it also
        holds the pixels whose bilinear interpolation reads a selected value (but for those that a
        ring continued into a finer one makes, further away).
        """
        box = self._layout.box(selected)
        if box is None:
            return 0, 0, 0, 0
        (ox, oy), margin, (height, width) = self.crop_origin(gaze), self.strides[-1], size
        left, top = (max(0, at - margin) for at in (box[0] + ox, box[1] + oy))
        right, bottom = min(width, box[2] + ox + margin), min(height, box[3] + oy + margin)
        return min(left, width), min(top, height), max(0, right - left), max(0, bottom - top)

    def _read(self, image, origin, filler, tokens) -> None:
        filler = np.array([*filler, 0, 0, 0][:LANES], np.uint8)
        cells = scratch('cells', (self.levels[-1].stop, LANES), np.uint8)
        cells.view(np.uint32)[:] = filler.view(np.uint32)
        image = image[min(self.scale // 2, len(image) - 1) :: self.scale]
        for level in self.levels:
            grid = cells[level.start : level.stop].reshape(level.cells, level.cells, LANES)
            corner = (origin[0] + level.offset, (origin[1] + level.offset) // self.scale)
            box = (level.stride, level.stride // self.scale)
            box_means(image, corner, box, level.bands, filler, grid)
        kept = self._layout.cut(cells.view(np.uint32)).view(np.uint8)
        planes = scratch('planes', (LANES, kept.size // LANES), np.uint8)
        planes = cv2.split(kept.reshape(1, -1, LANES), [plane[None] for plane in planes])
        for channel in range(tokens.shape[1]):
            tokens[:, channel] = planes[channel].reshape(tokens[:, channel].shape)

    def _check_values(self, values: np.ndarray) -> np.ndarray:
        """Return the values channels last: (N, T, T) or (N, T, T, C), float32 or uint8."""
        values = np.asarray(values)
        n, t = self.num_tokens, self.token_size
        if values.dtype.kind == 'f':
            values = values.astype(np.float32, copy=False)
        if values.dtype not in (np.float32, np.uint8):
            raise ValueError(f'values are {values.dtype}; expected floating numbers or uint8')
        if values.shape == (n, t, t):
            return values
        if values.shape[:1] + values.shape[2:] == (n, t, t) and 1 <= values.shape[1] <= 4:
            return values.transpose(0, 2, 3, 1)
        raise ValueError(
            f'values have shape {values.shape}; expected ({n}, {t}, {t}), or ({n}, C, {t}, {t}) '
            'with 1 to 4 channels C'
        )


@lru_cache
def _scaled(pattern: FoveationPattern, factor: int) -> FoveationPattern:
    strides = tuple(stride * factor for stride in pattern.strides)
    scale = pattern.scale * factor
    return FoveationPattern(pattern.token_size, strides, pattern.grid_sizes, scale=scale)
