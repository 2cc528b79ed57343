# SPDX-License-Identifier: Apache-2.0
"""Where a thing may be, from colours alone: only good enough to say where to look."""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros.frame import Frame
from stt_ros.prompts.region import overlap

BINS = 8  # per channel of the colour histograms
SIDE = 96  # pixels; larger boxes are looked at in less detail
DETAIL = 1024  # pixels; masks twice as long are looked at in less detail


def foreground(frame: Frame, box: tuple[int, int, int, int]) -> np.ndarray:
    """Say which pixels of a box look unlike the ring around it: (height, width) bool.

    ``box`` (x, y, width, height) lies inside the frame. Colours that the box has more of than the
    ring (as wide as a quarter of the box) are foreground.
    """
    x, y, width, height = box
    around = (
        x - width // 4 - 2,
        y - height // 4 - 2,
        width + width // 2 + 4,
        height + height // 2 + 4,
    )
    around = overlap(around, (0, 0, frame.size[1], frame.size[0]))
    step = max(1, max(around[2:]) // SIDE)
    pixels = frame.pixels[around[1] : around[1] + around[3], around[0] : around[0] + around[2]]
    pixels = pixels[::step, ::step].reshape(-(-around[3] // step), -(-around[2] // step), -1)
    colours = (pixels[..., :3] // (256 // BINS)).astype(np.int64)
    codes = colours @ (BINS ** np.arange(colours.shape[-1]))
    rows = np.arange(around[1], around[1] + around[3], step)
    columns = np.arange(around[0], around[0] + around[2], step)
    inside = np.logical_and.outer(
        (rows >= y) & (rows < y + height), (columns >= x) & (columns < x + width)
    )
    share_in, share_out = (_shares(codes[part]) for part in (inside, ~inside))
    likely = (share_in / (share_in + share_out + 1e-9)).astype(np.float32)[codes]
    likely = cv2.GaussianBlur(likely, (0, 0), 1.5)
    likely = cv2.resize(likely, (around[2], around[3]), interpolation=cv2.INTER_LINEAR)
    left, top = x - around[0], y - around[1]
    return likely[top : top + height, left : left + width] > 0.5


def deepest_points(
    mask: np.ndarray, count: int, corner: tuple[int, int] = (0, 0)
) -> list[tuple[float, float]]:
    """Return up to ``count`` pixels (x, y) deep inside a mask (H, W), far from each other.

    Each is the peak of the distance to the mask's border and to the points before it. ``corner``
    is added: where the mask's first pixel lies.
    """
    step = max(1, max(mask.shape) // DETAIL)
    if step > 1 and mask[::step, ::step].any():
        points = deepest_points(mask[::step, ::step], count)
        return [(step * x + corner[0], step * y + corner[1]) for x, y in points]
    depth = cv2.distanceTransform(
        np.pad(mask, 1).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    depth = depth[1:-1, 1:-1]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    points: list[tuple[float, float]] = []
    while len(points) < count and depth.size and depth.max() > 0:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((float(x + corner[0]), float(y + corner[1])))
        depth = np.minimum(depth, np.hypot(rows - y, columns - x) / 2)
    return points


def _shares(codes: np.ndarray) -> np.ndarray:
    counts = np.bincount(codes.ravel(), minlength=BINS**3).astype(float)
    return counts / max(counts.sum(), 1)
