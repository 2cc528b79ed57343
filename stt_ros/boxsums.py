# SPDX-License-Identifier: Apache-2.0
"""Exact box means of a part of an image, from one integral image of that part."""

from __future__ import annotations

import threading

import cv2
import numpy as np

_scratch = threading.local()


class BoxSums:
    """Means of boxes of pixels in a ``region`` (x0, y0, x1, y1) of an image (H, W, C) uint8.

    The sums live in a buffer of the calling thread until it makes the next ``BoxSums``.
    """

    def __init__(self, image: np.ndarray, region: tuple[int, int, int, int]) -> None:
        self.image, (self.x0, self.y0, x1, y1) = image, region
        crop = image[self.y0 : y1, self.x0 : x1]
        self.empty = crop.size == 0
        if not self.empty:
            # int32 may wrap round on huge regions; differences of it are still exact.
            self.corners = _integral(crop if _readable_by_cv(crop) else crop.copy())

    def means(self, stride: int, xs: np.ndarray, ys: np.ndarray, filler: np.ndarray) -> np.ndarray:
        """Floored means (rows, columns, len(filler)) uint8 of the boxes between edges xs and ys.

        The edges are ``stride`` apart, clipped to the image; what is clipped off a box counts as
        ``filler``.
        """
        line = np.tile(np.asarray(filler, np.uint8), len(xs) - 1)
        values = np.tile(line, (len(ys) - 1, 1)).reshape(len(ys) - 1, len(xs) - 1, -1)
        (c0, c1), (r0, r1) = _occupied(xs), _occupied(ys)
        if self.empty or c0 >= c1 or r0 >= r1:
            return values
        xs, ys = xs[c0 : c1 + 1], ys[r0 : r1 + 1]
        if stride == 1:
            inside = self.image[ys[0] : ys[-1], xs[0] : xs[-1], : len(filler)]
        else:
            inside = self._filled_sums(stride, xs, ys, filler) // (stride * stride)
        values[r0:r1, c0:c1] = inside
        return values

    def _filled_sums(self, stride, xs, ys, filler) -> np.ndarray:
        """Sums (rows, columns, len(filler)) int32; pixels missing in a border's box are filler."""
        sums = self._sums(stride, xs, ys)[..., : len(filler)]
        if sums.shape[2] < len(filler):
            sums = sums.repeat(len(filler), axis=2)
        heights, widths = np.diff(ys), np.diff(xs)
        for row in np.flatnonzero(heights < stride):
            sums[row] += (stride**2 - heights[row] * widths)[:, None] * filler
        full_rows = heights == stride
        for column in np.flatnonzero(widths < stride):
            sums[full_rows, column] += (stride - widths[column]) * stride * filler
        return sums

    def _sums(self, stride: int, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Sums (rows, columns, C) int32 of the boxes between the edges."""
        # A corner's channels move as one item, rows of them as flat int32: no loops of length C.
        channels = self.image.shape[2]
        pixels = self.corners.view(np.dtype((np.void, 4 * channels)))[..., 0]
        taken = _lines(_lines(pixels, ys - self.y0, 0, stride), xs - self.x0, 1, stride)
        flat = np.ascontiguousarray(taken).view(np.int32).reshape(len(ys), -1)
        rows = flat[1:] - flat[:-1]
        return (rows[:, channels:] - rows[:, :-channels]).reshape(len(rows), -1, channels)


def _integral(crop: np.ndarray) -> np.ndarray:
    """Integral image (h + 1, w + 1, C) int32, in memory kept for the next frame."""
    height, width, channels = crop.shape
    shape = (height + 1, width + 1, channels)
    if getattr(_scratch, 'buffer', np.empty(0)).size < np.prod(shape):
        _scratch.buffer = np.empty(np.prod(shape), np.int32)
    out = _scratch.buffer[: np.prod(shape)].reshape(shape)
    cv2.integral(crop, out[..., 0] if channels == 1 else out, sdepth=cv2.CV_32S)
    return out


def _lines(array: np.ndarray, index: np.ndarray, axis: int, stride: int) -> np.ndarray:
    """Take lines of an array; a view of it when they lie a stride apart, as away from borders."""
    if index[-1] - index[0] == stride * (len(index) - 1):
        lines = slice(index[0], index[-1] + 1, stride)
        return array[lines] if axis == 0 else array[:, lines]
    return np.take(array, index, axis=axis)


def _occupied(edges: np.ndarray) -> tuple[int, int]:
    """Return the range of boxes with pixels in them; they are contiguous."""
    boxes = np.flatnonzero(np.diff(edges))
    return (int(boxes[0]), int(boxes[-1]) + 1) if len(boxes) else (0, 0)


def _readable_by_cv(crop: np.ndarray) -> bool:
    """Tell whether OpenCV can read the view in place: packed pixels, any row step."""
    return crop.strides[1:] == (crop.shape[2], 1) and crop.strides[0] > 0
