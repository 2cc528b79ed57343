# SPDX-License-Identifier: Apache-2.0
"""Grids of coarse cells painted into an image."""

from __future__ import annotations

import cv2
import numpy as np


def paint_grid(
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
