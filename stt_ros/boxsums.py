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

# Sums of boxes up to so many pixels fit into 16 bits, and the four lanes of a cell into 64.
_NARROW = 256

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
    box: tuple[int, int],
    bands: tuple[tuple[slice, slice], ...],
    filler: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Write the floored means of boxes of pixels to ``cells`` (rows, columns, LANES).

    ``image`` is (H, W, 1, 3 or 4) uint8; boxes are ``box`` pixels (width, height), and the first
    begins at the pixel ``corner`` (x, y).
    ``bands`` are the rows and columns of cells that are wanted. What boxes on the border lack
    counts as ``filler`` (LANES,); boxes beyond it are left as they are.
    """
    parts = _seen_parts(image.shape, corner, box, bands, cells.shape)
    if not parts:
        return
    # The boxes of all parts one after the other, so that they are worked on in few calls.
    width, height = box
    lanes = np.uint16 if width * height <= _NARROW else np.uint64
    lines = scratch('lines', (parts[-1].boxes.stop * width, image.shape[2]), lanes)
    for part in parts:
        _sum_lines(image, part, box, lines)
    words = _to_lanes(lines).view(np.uint64)
    for part in parts:
        if part.clipped:
            _complete(image, part, box, filler.astype(lanes), words)
    means = _sum_columns(words, width).view(lanes) // lanes(width * height)
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

    def of(self, lines: np.ndarray, width: int) -> np.ndarray:
        """Cut its sums (rows, pixels, ...) out of all sums of lines of pixels of the boxes."""
        cut = lines[self.boxes.start * width : self.boxes.stop * width]
        return cut.reshape(self.count, -1, cut.shape[1])


def _seen_parts(image, corner: tuple[int, int], box: tuple[int, int], bands, cells) -> list[_Part]:
    """Return of each band the boxes that see pixels of an image of a shape, in order."""
    (x, y), (across, down), (height, width) = corner, box, image[:2]
    top, bottom = max(0, -y // down), min(cells[0], -((y - height) // down))
    left, right = max(0, -x // across), min(cells[1], -((x - width) // across))
    parts, first = [], 0
    for rows, columns in bands:
        a, b = max(rows.start, top), min(rows.stop, bottom)
        c, d = max(columns.start, left), min(columns.stop, right)
        if a < b and c < d:
            edges = x + c * across, y + a * down, x + d * across, y + b * down
            clipped = edges[0] < 0 or edges[1] < 0 or edges[2] > width or edges[3] > height
            boxes = slice(first, first := first + (b - a) * (d - c))
            parts.append(_Part(slice(a, b), slice(c, d), b - a, boxes, *edges, clipped))
    return parts


def _sum_lines(image: np.ndarray, part: _Part, box: tuple[int, int], lines: np.ndarray) -> None:
    """Sum the lines of pixels of each row of boxes where they are inside the image."""
    (width, height), dtype = box, lines.dtype
    rows = part.of(lines, width)
    left, right = max(part.left, 0), min(part.right, image.shape[1])
    rows = rows[:, left - part.left : right - part.left].reshape(part.count, -1)
    strip = image[:, left:right]
    top, bottom, first, last = part.top, part.bottom, 0, part.count
    if top < 0:
        _sum(strip[: top + height], rows[0])
        top, first = top + height, 1
    if bottom > len(image) and first < last:
        bottom, last = bottom - height, last - 1
        _sum(strip[bottom:], rows[last])
    if first < last:
        boxes = strip[top:bottom].reshape(last - first, height, -1)
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
    image: np.ndarray, part: _Part, box: tuple[int, int], filler: np.ndarray, words: np.ndarray
) -> None:
    """Add what is beyond the image's borders to the sums of lines, (pixels, words)."""
    height, width = image.shape[:2]
    rows, above, below = part.of(words, box[0]), -part.top, part.bottom - height
    if above > 0:
        rows[0] += (filler * above).view(np.uint64)
    if below > 0:
        rows[-1] += (filler * below).view(np.uint64)
    line = (filler * box[1]).view(np.uint64)
    rows[:, : max(0, -part.left)] = line
    rows[:, min(width, part.right) - part.left :] = line


def _sum_columns(words: np.ndarray, width: int) -> np.ndarray:
    """Sum every ``width`` words (pixels, words of a pixel): (boxes, words)."""
    names = ('halves', 'quarters')
    while width % 2 == 0:  # neighbours first: each is read once
        out = scratch(names[0], (len(words) // 2, words.shape[1]), np.uint64)
        words, width, names = np.add(words[::2], words[1::2], out=out), width // 2, names[::-1]
    if width == 1:
        return words
    out = scratch(names[0], (len(words) // width, words.shape[1]), np.uint64)
    np.add(words[::width], words[1::width], out=out)
    for i in range(2, width):
        np.add(out, words[i::width], out=out)
    return out
