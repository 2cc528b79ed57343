# SPDX-License-Identifier: Apache-2.0
"""What the numbers of a gaze message mean, and the pixel that they point at."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPACES = ('auto', 'pixel', 'normalized', 'normalized_bottom_left')


class GazeError(ValueError):
    """A gaze that cannot be used; the text says why and what is allowed."""


@dataclass(frozen=True)
class RawGaze:
    """A gaze as it was published: three numbers and the frame they are said to be in."""

    x: float
    y: float
    z: float = 0.0
    frame_id: str = ''


def to_pixel(
    gaze: RawGaze, space: str, size: tuple[int, int], image_frame_id: str
) -> tuple[float, float]:
    """Return the pixel (x, y) of an image of ``size`` (H, W) that a gaze points at.

    ``space``: 'pixel'; 'normalized' (x and y in [0, 1], origin top-left); 'normalized_bottom_left'
    (y upwards); 'auto' takes an empty frame_id, or the image's with z = 0, for pixels.
    Raises ``GazeError`` for numbers that are not finite, a point outside the image, and in 'auto'
    for any other frame_id, which means a 3-D point.
    """
    if not all(map(math.isfinite, (gaze.x, gaze.y, gaze.z))):
        raise GazeError(f'gaze ({gaze.x:g}, {gaze.y:g}, {gaze.z:g}) is not finite')
    height, width = size
    x, y = gaze.x, gaze.y
    if space == 'auto':
        _check_is_pixel(gaze, image_frame_id)
    elif space.startswith('normalized'):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise GazeError(f'gaze ({x:g}, {y:g}) is not normalized: both must be in [0, 1]')
        y = 1 - y if space == 'normalized_bottom_left' else y
        x, y = min(x * width, width - 1), min(y * height, height - 1)
    if not (0 <= x < width and 0 <= y < height):
        raise GazeError(
            f'gaze ({x:g}, {y:g}) is outside the image of {width} x {height} pixels: '
            f'x must be in [0, {width}), y in [0, {height}){_hint(x, y)}'
        )
    return x, y


def _check_is_pixel(gaze: RawGaze, image_frame_id: str) -> None:
    if gaze.frame_id == '' or (gaze.frame_id == image_frame_id and gaze.z == 0):
        return
    raise GazeError(
        f"gaze in frame '{gaze.frame_id}' with z = {gaze.z:g} means a 3-D point in metres (pixels "
        f"have an empty frame_id, or the image's '{image_frame_id}' with z = 0); 3-D points are "
        'not supported yet: if these are pixels, set the space parameter to pixel'
    )


def _hint(x: float, y: float) -> str:
    looks_normalized = -1 <= x <= 1 and -1 <= y <= 1
    return '; is the source normalized? set gaze_space to normalized' if looks_normalized else ''
