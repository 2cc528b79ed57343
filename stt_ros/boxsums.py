# SPDX-License-Identifier: Apache-2.0
"""Exact means of boxes of pixels: lines of pixels are summed first, then columns of the sums."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

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
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = getattr(_kept, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, np.uint8)
        setattr(_kept, name, memory)
    return memory[:size].view(dtype).reshape(shape)


def box_means(
    image: np.ndarray,
    corner: tuple[int, int],
    stride: int,
    bands: tuple[tuple[slice, slice], ...],
    filler: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Write the floored means of boxes of ``stride`` pixels to ``cells`` (rows, columns, LANES).

    ``image`` is (H, W, 1, 3 or 4) uint8; the first box begins at its pixel ``corner`` (x, y).
    ``bands`` are the rows and columns of cells that are wanted. What boxes on the border lack
    counts as ``filler`` (LANES,); boxes beyond it are left as they are.
    """
    parts = _seen_parts(image.shape, corner, stride, bands, cells.shape)
    if not parts:
        return
    # The boxes of all parts one after the other, so that they are worked on in few calls.
    lanes = np.uint16 if stride <= _NARROW else np.uint64
    lines = scratch('lines', (parts[-1].boxes.stop * stride, image.shape[2]), lanes)
    for part in parts:
        _sum_lines(image, part, stride, lines)
    words = _to_lanes(lines).view(np.uint64)
    for part in parts:
        if part.clipped:
            _complete(image, part, stride, filler.astype(lanes), words)
    means = _sum_columns(words, stride).view(lanes) // lanes(stride**2)
    for part in parts:
        target = cells[part.rows, part.columns]
        target[:] = means[part.boxes].reshape(target.shape)


class _Part(NamedTuple):
    """A rectangle of boxes that see pixels of the image."""

    rows: slice  # of cells
    columns: slice
    count: int  # of rows
    boxes: slice  # where they are in the order in which they are worked on
    left: int  # borders in pixels, perhaps beyond the image's
    top: int
    right: int
    bottom: int
    clipped: bool

    def of(self, lines: np.ndarray, stride: int) -> np.ndarray:
        """Cut its sums (rows, pixels, ...) out of all sums of lines of pixels."""
        cut = lines[self.boxes.start * stride : self.boxes.stop * stride]
        return cut.reshape(self.count, -1, cut.shape[1])


def _seen_parts(image, corner: tuple[int, int], stride: int, bands, cells) -> list[_Part]:
    """Return of each band the boxes that see pixels of an image of a shape, in order."""
    (x, y), (height, width) = corner, image[:2]
    top, bottom = max(0, -y // stride), min(cells[0], -((y - height) // stride))
    left, right = max(0, -x // stride), min(cells[1], -((x - width) // stride))
    parts, first = [], 0
    for rows, columns in bands:
        a, b = max(rows.start, top), min(rows.stop, bottom)
        c, d = max(columns.start, left), min(columns.stop, right)
        if a < b and c < d:
            box = x + c * stride, y + a * stride, x + d * stride, y + b * stride
            clipped = box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height
            boxes = slice(first, first := first + (b - a) * (d - c))
            parts.append(_Part(slice(a, b), slice(c, d), b - a, boxes, *box, clipped))
    return parts


def _sum_lines(image: np.ndarray, part: _Part, stride: int, lines: np.ndarray) -> None:
    """Sum the lines of pixels of each row of boxes where they are inside the image."""
    rows, dtype = part.of(lines, stride), lines.dtype
    left, right = max(part.left, 0), min(part.right, image.shape[1])
    rows = rows[:, left - part.left : right - part.left].reshape(part.count, -1)
    strip = image[:, left:right]
    top, bottom, first, last = part.top, part.bottom, 0, part.count
    if top < 0:
        _sum(strip[: top + stride], rows[0])
        top, first = top + stride, 1
    if bottom > len(image) and first < last:
        bottom, last = bottom - stride, last - 1
        _sum(strip[bottom:], rows[last])
    if first < last:
        boxes = strip[top:bottom].reshape(last - first, stride, -1)
        np.add.reduce(boxes, axis=1, dtype=dtype, out=rows[first:last])


def _sum(lines: np.ndarray, out: np.ndarray) -> None:
    np.add.reduce(lines.reshape(len(lines), -1), axis=0, dtype=out.dtype, out=out)


def _to_lanes(lines: np.ndarray) -> np.ndarray:
    """Turn sums (pixels, channels) into (pixels, LANES)."""
    pixels, channels = lines.shape
    if channels == LANES:
        return lines
    if lines.dtype != np.uint16:
        return lines[:, _ORDER[channels]]
    lanes = scratch('lanes', (1, pixels, LANES), lines.dtype)
    return cv2.cvtColor(lines.reshape(1, pixels, channels), _TO_LANES[channels], lanes)[0]


def _complete(
    image: np.ndarray, part: _Part, stride: int, filler: np.ndarray, words: np.ndarray
) -> None:
    """Add what is beyond the image's borders to the sums of lines, (pixels, words)."""
    height, width = image.shape[:2]
    rows, above, below = part.of(words, stride), -part.top, part.bottom - height
    if above > 0:
        rows[0] += (filler * above).view(np.uint64)
    if below > 0:
        rows[-1] += (filler * below).view(np.uint64)
    line = (filler * stride).view(np.uint64)
    rows[:, : max(0, -part.left)] = line
    rows[:, min(width, part.right) - part.left :] = line


def _sum_columns(words: np.ndarray, stride: int) -> np.ndarray:
    """Sum every ``stride`` words (pixels, words of a pixel): (boxes, words)."""
    names = ('halves', 'quarters')
    while stride % 2 == 0:  # neighbours first: each is read once
        out = scratch(names[0], (len(words) // 2, words.shape[1]), np.uint64)
        words, stride, names = np.add(words[::2], words[1::2], out=out), stride // 2, names[::-1]
    if stride == 1:
        return words
    out = scratch(names[0], (len(words) // stride, words.shape[1]), np.uint64)
    np.add(words[::stride], words[1::stride], out=out)
    for i in range(2, stride):
        np.add(out, words[i::stride], out=out)
    return out
