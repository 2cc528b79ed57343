# SPDX-License-Identifier: Apache-2.0
"""What foveation is given: returned if it can be used, else a ``ValueError`` with the value."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np


def whole(name: str, numbers: Sequence) -> tuple[int, ...]:
    """Return numbers as ints; raises ``ValueError`` naming what they are if one is not whole."""
    try:
        return tuple(operator.index(number) for number in numbers)
    except TypeError:
        raise ValueError(f'{name} {numbers}: must be whole numbers') from None


def check_image(image: np.ndarray, channels: int) -> np.ndarray:
    """Return an image as (H, W, C) if tokens of ``channels`` colours can be read from it."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f'image is {image.dtype} of shape {image.shape}; '
            f'expected uint8 (H, W, {channels}) or (H, W)'
        )
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] not in (1, 3, 4) or 1 < image.shape[2] < channels:
        raise ValueError(f'image has {image.shape[2]} channels; expected 1, 3 or 4')
    if image.size == 0:
        raise ValueError(f'image is empty: shape {image.shape}')
    return image


def check_gaze(gaze: Sequence[float]) -> tuple[float, float]:
    """Return a gaze (x, y) in pixels if it is two finite numbers."""
    try:
        x, y = (float(v) for v in gaze)
    except (TypeError, ValueError):
        raise ValueError(f'gaze is {gaze!r}; expected two numbers (x, y) in pixels') from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f'gaze is ({x}, {y}); both coordinates must be finite')
    return x, y


def check_roi(roi, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a roi (x, y, width, height), all of the image (H, W) for None, if it lies inside."""
    height, width = size
    x, y, w, h = (0, 0, width, height) if roi is None else (int(v) for v in roi)
    if not (0 <= x and 0 <= y and w >= 0 and h >= 0 and x + w <= width and y + h <= height):
        raise ValueError(
            f'roi (x={x}, y={y}, {w} x {h}) is not inside the image of {width} x {height}'
        )
    return x, y, w, h
