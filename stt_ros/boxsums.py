# SPDX-License-Identifier: Apache-2.0
"""Exact means of boxes of pixels: lines of pixels are summed first, then columns of the sums."""

from __future__ import annotations

import threading
from itertools import pairwise

import cv2
import numpy as np

# Channels of a cell: three and one that nobody looks at, so that a cell is one word of memory.
LANES = 4

# Sums of boxes up to this stride fit into 16 bits, and the four lanes of a cell into 64.
_NARROW = 16

_TO_LANES = {1: cv2.COLOR_GRAY2BGRA, 3: cv2.COLOR_BGR2BGRA}
_ORDER = {1: [0, 0, 0, 0], 3: [0, 1, 2, 2], 4: [0, 1, 2, 3]}

_kept = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return memory that the calling thread gets again when it next asks for this name.

    The system hands out fresh memory page by page, which would take as long as the sums.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = getattr(_kept, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, np.uint8)
        setattr(_kept, name, memory)
    return memory[:size].view(dtype).reshape(shape)


def box_means(
    image: np.ndarray,
    corner: tuple[int, int],
    stride: int,
    filler: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Write the floored means of boxes of ``stride`` pixels to ``cells`` (rows, columns, LANES).

    ``image`` is (H, W, 1, 3 or 4) uint8; the first box begins at its pixel ``corner`` (x, y). What
    boxes on the border lack counts as ``filler`` (LANES,); boxes beyond it are left as they are.
    """
    columns = _Boxes(corner[0], stride, cells.shape[1], image.shape[1])
    rows = _Boxes(corner[1], stride, cells.shape[0], image.shape[0])
    if columns.count <= 0 or rows.count <= 0:
        return
    lanes = np.uint16 if stride <= _NARROW else np.uint64
    words = _sum_lines(image, rows, columns, lanes).view(np.uint64)
    sums = words[:, ::stride].copy()
    for i in range(1, stride):
        sums += words[:, i::stride]
    if rows.clipped or columns.clipped:
        missing = stride**2 - np.multiply.outer(rows.lengths(), columns.lengths())
        sums += missing.astype(np.uint64)[..., None] * filler.astype(lanes).view(np.uint64)
    cells[rows.seen, columns.seen] = sums.view(lanes) // lanes(stride**2)


class _Boxes:
    """Boxes along one axis, those that see pixels: which ones, and where they begin and end."""

    def __init__(self, start: int, stride: int, boxes: int, length: int) -> None:
        first = max(0, -start // stride)
        last = min(boxes, -((start - length) // stride))
        self.seen, self.count, self.stride = slice(first, last), last - first, stride
        self.low, self.high = start + first * stride, start + last * stride
        self.begin, self.end = max(self.low, 0), min(self.high, length)
        self.clipped = self.begin > self.low or self.end < self.high

    def lengths(self) -> np.ndarray:
        """Pixels in each box."""
        lengths = np.full(self.count, self.stride)
        lengths[0] -= self.begin - self.low
        lengths[-1] -= self.high - self.end
        return lengths

    def runs(self):
        """Yield the runs [a, b) of boxes of one length, and their first and last pixel."""
        cuts = {0, int(self.begin > self.low), self.count - (self.end < self.high), self.count}
        for a, b in pairwise(sorted(cuts)):
            begin, end = (self.low + i * self.stride for i in (a, b))
            yield a, b, max(begin, 0), min(end, self.end)


def _sum_lines(image: np.ndarray, rows: _Boxes, columns: _Boxes, lanes: type) -> np.ndarray:
    """Sum the lines of pixels of each row of boxes: (rows, pixels, LANES); 0 beyond the border."""
    channels = image.shape[2]
    shape = (rows.count, columns.high - columns.low)
    sums = scratch('lines', (*shape, channels), lanes)
    left, right = columns.begin - columns.low, columns.end - columns.low
    sums[:, :left] = sums[:, right:] = 0
    inner = sums.reshape(rows.count, -1)[:, left * channels : right * channels]
    for a, b, begin, end in rows.runs():
        lines = image[begin:end, columns.begin : columns.end]
        lines = lines.reshape(b - a, -1, inner.shape[1])
        np.add.reduce(lines, axis=1, dtype=lanes, out=inner[a:b])
    if channels == LANES:
        return sums
    if lanes is not np.uint16:
        return sums[..., _ORDER[channels]]
    return cv2.cvtColor(sums, _TO_LANES[channels], scratch('lanes', (*shape, LANES), lanes))
