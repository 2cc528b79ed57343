# SPDX-License-Identifier: Apache-2.0
"""Foveated values painted into an image: each level a grid of cells, the finer over the coarser.

Values are (N, T, T[, C]) float32 or uint8. ``origin`` is the pixel (x, y) of the image, of ``size``
(H, W), where the receptive field begins, and ``roi`` (x, y, width, height) what is painted of it.
"""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros.levels import Level

Box = tuple[int, int, int, int]


def paint_levels(
    levels: tuple[Level, ...],
    values: np.ndarray,
    origin: tuple[int, int],
    size: tuple[int, int],
    interpolation: str,
    roi: Box,
    fill: float,
) -> np.ndarray:
    """Paint the roi (height, width[, C]); pixels outside the receptive field get ``fill``."""
    (ox, oy), (x, y, width, height) = origin, roi
    box = x - ox, y - oy, width, height
    covering = (k for k, level in enumerate(levels, 1) if level.covers(box))
    levels = levels[: next(covering, None)]
    canvas = np.empty((height, width, *values.shape[3:]), values.dtype)
    if not levels[-1].covers(box):
        canvas[:] = fill
    grids = _grids(values, levels)
    if interpolation == 'bilinear':
        _continue_grids(grids, levels, origin, size)
    for level, grid in zip(reversed(levels), reversed(grids), strict=True):
        corner = (ox + level.offset - x, oy + level.offset - y)
        _paint_grid(canvas, grid, corner, level.stride, interpolation)
    return canvas


def paint_enlarged(
    levels: tuple[Level, ...],
    values: np.ndarray,
    origin: tuple[int, int],
    size: tuple[int, int],
    roi: Box,
    fill: float,
    scale: int,
) -> np.ndarray:
    """Paint into the image made smaller by ``scale``, and interpolate between its pixels.

    ``levels`` lie on the smaller image, all else on the image. One enlargement takes less time than
    one per level.
    """
    field = levels[-1].size * scale
    start, stop = np.array([roi[:2], np.add(roi[:2], roi[2:])])
    begin, end = np.maximum(origin, 0), np.minimum(np.add(origin, field), size[::-1])
    first, last = np.clip([start, stop], begin, np.maximum(begin, end))  # what is painted
    if (first >= last).any():
        return np.full((roi[3], roi[2], *values.shape[3:]), fill, values.dtype)
    # Pixels of the smaller image, one more on each side where there are, to interpolate between.
    low = np.maximum(first // scale - 1, begin // scale)
    high = np.minimum(-(-last // scale) + 1, -(-end // scale))
    small = paint_levels(
        levels,
        values,
        (origin[0] // scale, origin[1] // scale),
        (-(-size[0] // scale), -(-size[1] // scale)),
        'bilinear',
        (*low.tolist(), *(high - low).tolist()),
        fill,
    )
    shape = ((high - low) * scale)[::-1]
    large = cv2.resize(small, tuple(shape[::-1].tolist()), interpolation=cv2.INTER_LINEAR)
    large = large.reshape(*shape, *values.shape[3:])  # OpenCV drops a single channel
    (left, top), (right, bottom) = first - low * scale, last - low * scale
    large = large[top:bottom, left:right]
    if large.shape[:2] == (roi[3], roi[2]):
        return large
    canvas = np.full((roi[3], roi[2], *values.shape[3:]), fill, values.dtype)
    (left, top), (right, bottom) = first - start, last - start
    canvas[top:bottom, left:right] = large
    return canvas


def _grids(values: np.ndarray, levels: tuple[Level, ...]) -> list[np.ndarray]:
    """Lay each level's values out as an image (n, n[, C]) with a hole of zeros."""
    grids: list[np.ndarray] = []
    t, channels = values.shape[1], values.shape[3:]
    for level in levels:
        blocks = np.zeros((level.grid, level.grid, t, t, *channels), values.dtype)
        blocks[level.rows, level.cols] = values[level.tokens]
        grids.append(blocks.swapaxes(1, 2).reshape(level.cells, level.cells, *channels))
    return grids


def _continue_grids(grids, levels, origin: tuple[int, int], size: tuple[int, int]) -> None:
    """Give interpolation neighbours: means of finer levels in holes, edges beyond borders."""
    for k, (level, grid) in enumerate(zip(levels, grids, strict=True)):
        if k:
            hole = levels[k - 1].size // level.stride
            at = (level.cells - hole) // 2
            means = cv2.resize(grids[k - 1], (hole, hole), interpolation=cv2.INTER_AREA)
            grid[at : at + hole, at : at + hole] = means.reshape(hole, hole, *grid.shape[2:])
        for axis, lines in ((0, grid), (1, grid.swapaxes(0, 1))):
            first, last = level.inside(origin[1 - axis], size[axis])
            if first < last:
                lines[:first] = lines[first]
                lines[last:] = lines[last - 1]


def _paint_grid(
    canvas: np.ndarray,
    grid: np.ndarray,
    corner: tuple[int, int],
    stride: int,
    interpolation: str,
) -> None:
    """Upscale a square grid of cells (n, n[, C]) by its stride (px) into the canvas (H, W[, C]).

    ``corner`` (x, y) is where the grid's first cell begins, which may be outside the canvas.
    """
    (x0, c0, c1), (y0, r0, r1) = (
        _visible_cells(at, stride, len(grid), length)
        for at, length in zip(corner, canvas.shape[1::-1], strict=True)
    )
    if c0 >= c1 or r0 >= r1:
        return
    patch = np.ascontiguousarray(grid[r0:r1, c0:c1])
    if interpolation == 'bilinear' and stride > 1:
        width, height = patch.shape[1] * stride, patch.shape[0] * stride
        upscaled = cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR)
        patch = upscaled.reshape(height, width, *patch.shape[2:])  # OpenCV drops a single channel
    else:
        patch = patch.repeat(stride, axis=1).repeat(stride, axis=0)
    left, top = max(x0, 0), max(y0, 0)
    # The patch carries a margin for the interpolation; only the level's visible part is copied.
    right = min(corner[0] + len(grid) * stride, canvas.shape[1])
    bottom = min(corner[1] + len(grid) * stride, canvas.shape[0])
    canvas[top:bottom, left:right] = patch[top - y0 : bottom - y0, left - x0 : right - x0]


def _visible_cells(at: int, stride: int, cells: int, length: int) -> tuple[int, int, int]:
    """Return where the first cell lies (px), and the cells in [0, length) with one of margin."""
    first = max(0, -at // stride - 1)
    last = min(cells, -(-(length - at) // stride) + 1)
    visible = at < length and at + cells * stride > 0
    return (at + first * stride, first, last) if visible else (0, 0, 0)
