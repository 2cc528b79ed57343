# SPDX-License-Identifier: Apache-2.0
"""The straightforward implementation of the method, to measure ours against and to check it with.

Pad the receptive field, sum it up, look every box up; run the network as it is defined, in float32;
paint whole masks. It shares nothing with stt_ros but the numbers that describe pattern and model.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.baseline_model import Network
from stt_ros.model import SegmentThisThing

_FILLER = (124, 116, 104)
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1) * 255
_STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1) * 255


class Baseline:
    """Does what a ``Segmenter`` does, with the weights of a model."""

    def __init__(self, model: SegmentThisThing) -> None:
        self.pattern = model.config.pattern
        self.network = Network(model.config).eval()
        self.network.load_state_dict(model.state_dict())

    def decode_raw(self, data: memoryview, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels of a message as an image of its own."""
        return np.frombuffer(data, np.uint8).reshape(shape).copy()

    def decode_jpeg(self, data: bytes) -> np.ndarray:
        """Return an image (H, W, 3) RGB."""
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def foveate(self, image: np.ndarray, gaze: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Return tokens (N, 3, T, T) uint8 and valid (N,) bool of an image (H, W, 3)."""
        return foveate(self.pattern, image, gaze)

    @torch.inference_mode()
    def run(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (M, N, T, T) and predicted IoUs (M,)."""
        logits, ious = self.network((tokens.float() - _MEAN)[None] / _STD, valid[None])
        return logits[0], ious[0]

    def paint(self, logits: Tensor, gaze: tuple[float, float], size: tuple[int, int]) -> Tensor:
        """Return logits (N, T, T) as an image (H, W); -inf outside the receptive field."""
        return paint(self.pattern, logits, gaze, size)

    def segment(
        self, image: np.ndarray, gaze: tuple[float, float]
    ) -> list[tuple[np.ndarray, float]]:
        """Return the masks (H, W) bool with their predicted IoUs, the best first."""
        logits, ious = self.run(*self.foveate(image, gaze))
        return [
            ((self.paint(logits[k], gaze, image.shape[:2]) > 0).numpy(), float(ious[k]))
            for k in ious.argsort(descending=True).tolist()
        ]


def foveate(pattern, image: np.ndarray, gaze: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return tokens (N, 3, T, T) uint8 and valid (N,) bool of an image (H, W, 3) uint8."""
    size, side = pattern.token_size, _side(pattern)
    within_image, within_field = _overlap(_corner(pattern, gaze), side, image.shape[:2])
    field = torch.tensor(_FILLER, dtype=torch.uint8).view(3, 1, 1).repeat(1, side, side)
    field[(slice(None), *within_field)] = torch.from_numpy(image)[within_image].permute(2, 0, 1)
    sums = F.pad(field.int().cumsum_(1).cumsum_(2), (1, 0, 1, 0))  # in place: the fastest way
    tokens, valid = [], []
    for stride, offset, kept in _levels(pattern):
        edges = torch.arange(offset, side - offset + 1, stride)
        corners = sums[:, edges][:, :, edges]
        strips = corners[:, 1:] - corners[:, :-1]
        boxes = strips[:, :, 1:] - strips[:, :, :-1]
        cells = (boxes // stride**2).to(torch.uint8)
        blocks = cells.unfold(1, size, size).unfold(2, size, size)
        tokens.append(blocks.permute(1, 2, 0, 3, 4)[kept])
        rows, columns = (_overlaps(edges[::size], part) for part in within_field)
        valid.append((rows[:, None] & columns)[kept])
    return torch.cat(tokens), torch.cat(valid)


def paint(pattern, values: Tensor, gaze: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Return values (N, T, T) as an image (H, W), every box filled with its value."""
    side, t = _side(pattern), pattern.token_size
    field = torch.full((side, side), -math.inf)
    stop = len(values)
    for stride, offset, kept in reversed(_levels(pattern)):
        start, grid = stop - int(kept.sum()), len(kept)
        blocks = torch.zeros(grid, grid, t, t)
        blocks[kept] = values[start:stop]
        cells = blocks.permute(0, 2, 1, 3).reshape(grid * t, grid * t)
        part = slice(offset, side - offset)
        field[part, part] = cells.repeat_interleave(stride, 0).repeat_interleave(stride, 1)
        stop = start
    image = torch.full(size, -math.inf)
    into, out_of = _overlap(_corner(pattern, gaze), side, size)
    image[into] = field[out_of]
    return image


def _side(pattern) -> int:
    return pattern.strides[-1] * pattern.grid_sizes[-1] * pattern.token_size


def _corner(pattern, gaze: tuple[float, float]) -> tuple[int, int]:
    half = _side(pattern) / 2
    return math.trunc(gaze[0] - half), math.trunc(gaze[1] - half)


def _levels(pattern) -> list[tuple[int, int, Tensor]]:
    """Return stride, offset in the receptive field and kept tokens (g, g) bool of each level."""
    levels, inner = [], 0
    for stride, grid in zip(pattern.strides, pattern.grid_sizes, strict=True):
        kept = torch.ones(grid, grid, dtype=torch.bool)
        margin = (grid - inner // stride) // 2
        kept[margin : grid - margin, margin : grid - margin] = inner == 0
        offset = (_side(pattern) - stride * grid * pattern.token_size) // 2
        levels.append((stride, offset, kept))
        inner = stride * grid
    return levels


def _overlap(corner: tuple[int, int], side: int, size: tuple[int, int]):
    """Return the part that image and receptive field share, in rows and columns of each."""
    in_image, in_field = [], []
    for start, length in zip(corner[::-1], size, strict=True):
        first, last = (min(max(v, 0), length) for v in (start, start + side))
        in_image.append(slice(first, last))
        in_field.append(slice(first - start, last - start) if first < last else slice(0, 0))
    return tuple(in_image), tuple(in_field)


def _overlaps(edges: Tensor, part: slice) -> Tensor:
    """Tell which intervals between the edges overlap a part."""
    return (edges[:-1] < part.stop) & (edges[1:] > part.start)
