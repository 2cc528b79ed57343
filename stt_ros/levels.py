# SPDX-License-Identifier: Apache-2.0
"""The concentric levels of a foveation pattern: where each one's cells and tokens lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# So many pixels that are read of a hole in a level cost more than reading four bands around it.
_WORTH_SKIPPING = 2**16


@dataclass(frozen=True)
class Level:
    """One level of a pattern; lengths in cells of ``stride`` pixels, ``offset`` in pixels."""

    stride: int
    grid: int  # tokens per side of the whole level, hole included
    cells: int  # cells per side = grid * token_size
    offset: int  # of the level's corner from the corner of the receptive field
    rows: np.ndarray  # grid row of each kept token
    cols: np.ndarray  # grid column of each kept token
    tokens: slice  # where these tokens are in the pattern's order
    start: int  # number of cells in the levels inside this one
    bands: tuple[tuple[slice, slice], ...]  # rows and columns of cells to be read

    @property
    def size(self) -> int:
        """Side of the level in pixels."""
        return self.cells * self.stride

    @property
    def stop(self) -> int:
        """Number of cells up to and with this level."""
        return self.start + self.cells**2

    def covers(self, box: tuple[int, int, int, int]) -> bool:
        """Tell whether a box (x, y, width, height) in the receptive field lies in the level."""
        low, high, (x, y, width, height) = self.offset, self.offset + self.size, box
        return low <= x and low <= y and x + width <= high and y + height <= high

    def inside(self, origin: int, length: int) -> tuple[int, int]:
        """Return the first line of cells inside an image's axis, and the one behind the last.

        ``origin`` and ``length`` as for ``lengths``; equal or the wrong way round if there is none.
        """
        start = origin + self.offset
        return max(0, -start // self.stride), min(self.cells, -((start - length) // self.stride))

    def lengths(self, origin: int, length: int) -> np.ndarray:
        """Pixels (cells,) int32 of each line of cells inside an image's axis of ``length`` px.

        ``origin`` is the corner of the receptive field on that axis.
        """
        start = origin + self.offset
        edges = np.arange(start, start + self.size + 1, self.stride)
        np.maximum(edges, 0, out=edges)
        np.minimum(edges, length, out=edges)
        return (edges[1:] - edges[:-1]).astype(np.int32)


class Layout:
    """The tokens of all levels in tables."""

    def __init__(self, levels: tuple[Level, ...]) -> None:
        self._size = size = levels[0].cells // levels[0].grid
        grids = [np.stack([level.cols, level.rows], axis=1) for level in levels]
        # Left and top in the receptive field (N, 2) and side (N, 1), in pixels.
        self._corners = np.concatenate(
            [
                level.offset + grid * size * level.stride
                for level, grid in zip(levels, grids, strict=True)
            ]
        )
        strides = [level.stride for level in levels]
        self._strides = np.repeat(strides, [len(grid) for grid in grids])[:, None]
        self._sides = size * self._strides
        # Where in the cells of all levels each line of a token is (N, T), counted in such lines.
        self._lines = np.concatenate(
            [
                level.start // size
                + (level.rows[:, None] * size + np.arange(size)) * level.grid
                + level.cols[:, None]
                for level in levels
            ]
        )

    def seen(self, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Tell which tokens overlap an image (H, W): (N,) bool."""
        begin = self._corners + origin
        inside = (begin < size[::-1]) & (begin + self._sides > 0)
        return inside[:, 0] & inside[:, 1]

    def box(self, selected: np.ndarray) -> tuple[int, int, int, int] | None:
        """Return left, top, right and bottom in the receptive field of what is selected (N, T, T).

        None if nothing is; in pixels.
        """
        tokens = np.flatnonzero(selected.reshape(len(selected), -1).any(axis=1))
        if not len(tokens):
            return None
        some = selected[tokens]
        lines = np.stack([some.any(axis=1), some.any(axis=2)], axis=1)  # columns, rows: (n, 2, T)
        first, behind = lines.argmax(axis=2), self._size - lines[..., ::-1].argmax(axis=2)
        corners, strides = self._corners[tokens], self._strides[tokens]
        low, high = (
            (corners + first * strides).min(axis=0),
            (corners + behind * strides).max(axis=0),
        )
        return (*low.tolist(), *high.tolist())

    def cut(self, cells: np.ndarray) -> np.ndarray:
        """Cut cells, one item each, level after level and row after row, into tokens (N, T, T)."""
        lines = cells.reshape(-1).view(np.dtype((np.void, self._size * cells.itemsize)))
        return np.take(lines, self._lines).view(cells.dtype).reshape(-1, self._size, self._size)


def build_levels(
    token_size: int, strides: tuple[int, ...], grids: tuple[int, ...], scale: int = 1
) -> tuple[Level, ...]:
    """Lay out the levels of a valid pattern of which one of ``scale`` rows is read, from inside."""
    field = strides[-1] * grids[-1] * token_size
    levels: list[Level] = []
    for stride, grid in zip(strides, grids, strict=True):
        hole = levels[-1].size // (stride * token_size) if levels else 0
        margin = (grid - hole) // 2
        kept = np.ones((grid, grid), bool)
        kept[margin : margin + hole, margin : margin + hole] = False
        rows, cols = np.nonzero(kept)
        cells = grid * token_size
        before = levels[-1] if levels else None
        first_token = before.tokens.stop if before else 0
        skipped = (hole * token_size * stride) ** 2 // scale >= _WORTH_SKIPPING
        levels.append(
            Level(
                stride,
                grid,
                cells,
                offset=(field - cells * stride) // 2,
                rows=rows,
                cols=cols,
                tokens=slice(first_token, first_token + len(rows)),
                start=before.stop if before else 0,
                bands=_bands(cells, margin * token_size if hole and skipped else 0),
            )
        )
    return tuple(levels)


def _bands(cells: int, margin: int) -> tuple[tuple[slice, slice], ...]:
    """Cut a square of cells into the four bands around its hole; without margin leave it whole."""
    whole = slice(0, cells)
    if not margin:
        return ((whole, whole),)
    low, high = slice(0, margin), slice(cells - margin, cells)
    middle = slice(margin, cells - margin)
    return (low, whole), (middle, low), (middle, high), (high, whole)


def check_pattern(token_size: int, strides: tuple[int, ...], grids: tuple[int, ...]) -> None:
    """Raise ``ValueError`` naming the first level that does not nest around the one inside it."""
    if not strides or len(strides) != len(grids):
        raise ValueError(f'{len(strides)} strides {strides} for {len(grids)} grid sizes {grids}')
    if token_size < 1 or min(strides) < 1 or min(grids) < 1:
        raise ValueError(
            f'token size {token_size}, strides {strides}, grid sizes {grids}: all must be >= 1'
        )
    for i in range(1, len(strides)):
        inner, block = strides[i - 1] * grids[i - 1], strides[i] * grids[i]
        where = f'level {i} (stride {strides[i]}, grid {grids[i]})'
        if strides[i] <= strides[i - 1]:
            raise ValueError(f'{where}: stride must exceed {strides[i - 1]}, that of level {i - 1}')
        if block <= inner:
            raise ValueError(
                f'{where}: block of {block} token widths must exceed the inner {inner}'
            )
        if inner % strides[i]:
            raise ValueError(f'{where}: inner block of {inner} is not a multiple of the stride')
        if (grids[i] - inner // strides[i]) % 2:
            raise ValueError(
                f'{where}: ring around {inner // strides[i]} cells is not equally thick on all '
                'sides'
            )
