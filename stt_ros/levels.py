# SPDX-License-Identifier: Apache-2.0
"""The concentric levels of a foveation pattern: where each one's cells and tokens lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

    @property
    def size(self) -> int:
        """Side of the level in pixels."""
        return self.cells * self.stride

    def edges(self, origin: int, length: int) -> np.ndarray:
        """Cell edges (cells + 1,) along one axis of an image, clipped to its ``length`` px.

        ``origin`` is the corner of the receptive field on that axis.
        """
        start = origin + self.offset
        return np.clip(np.arange(start, start + self.size + 1, self.stride), 0, length)


def build_levels(
    token_size: int, strides: tuple[int, ...], grids: tuple[int, ...]
) -> tuple[Level, ...]:
    """Lay out the levels of a valid pattern, innermost first."""
    field = strides[-1] * grids[-1] * token_size
    levels: list[Level] = []
    for stride, grid in zip(strides, grids, strict=True):
        hole = levels[-1].size // (stride * token_size) if levels else 0
        margin = (grid - hole) // 2
        kept = np.ones((grid, grid), bool)
        kept[margin : margin + hole, margin : margin + hole] = False
        rows, cols = np.nonzero(kept)
        first = levels[-1].tokens.stop if levels else 0
        cells = grid * token_size
        tokens = slice(first, first + len(rows))
        offset = (field - cells * stride) // 2
        levels.append(Level(stride, grid, cells, offset, rows, cols, tokens))
    return tuple(levels)


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
