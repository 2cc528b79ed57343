# SPDX-License-Identifier: Apache-2.0
"""What the numbers of a gaze message mean, and the pixel that they point at."""

from __future__ import annotations

import math
from dataclasses import dataclass

FLAT = ('pixel', 'normalized', 'normalized_bottom_left')
IN_SPACE = ('camera_3d', 'world_3d', 'ray')
SPACES = ('auto', *FLAT, *IN_SPACE)


class GazeError(ValueError):
    """A gaze that cannot be used; the text says why and what is allowed."""


@dataclass(frozen=True)
class RawGaze:
    """A gaze as it was published: three numbers and the frame they are said to be in.

    With a ``direction``, in the same frame, it is a ray that starts at the three numbers.
    """

    x: float
    y: float
    z: float = 0.0
    frame_id: str = ''
    direction: tuple[float, float, float] | None = None

    @property
    def xyz(self) -> tuple[float, float, float]:
        """The three numbers."""
        return self.x, self.y, self.z


def meaning(gaze: RawGaze, space: str, image_frame_id: str) -> str:
    """Return the space that a gaze is in: ``space`` itself, or what 'auto' takes it for.

    'auto' takes an empty frame_id, or the image's with z = 0, for 'pixel', any other for
    'world_3d' (a 3-D point in metres in that frame). What has a direction is always a 'ray'.
    """
    if gaze.direction is not None:
        return 'ray'
    if space != 'auto':
        return space
    flat = gaze.frame_id == '' or (gaze.frame_id == image_frame_id and gaze.z == 0)
    return 'pixel' if flat else 'world_3d'


def to_pixel(gaze: RawGaze, space: str, size: tuple[int, int]) -> tuple[float, float]:
    """Return the pixel (x, y) of an image of ``size`` (H, W) that a flat gaze points at.

    ``space``: 'pixel'; 'normalized' (x and y in [0, 1], origin top-left); 'normalized_bottom_left'
    (y upwards). Raises ``GazeError`` for numbers that are not finite and a point outside the image.
    """
    check_finite(gaze)
    height, width = size
    x, y = gaze.x, gaze.y
    if space.startswith('normalized'):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise GazeError(f'gaze ({x:g}, {y:g}) is not normalized: both must be in [0, 1]')
        y = 1 - y if space == 'normalized_bottom_left' else y
        x, y = min(x * width, width - 1), min(y * height, height - 1)
    return check_inside(x, y, size)


def check_finite(gaze: RawGaze) -> None:
    """Raise ``GazeError`` for a gaze with numbers that are not finite."""
    for name, numbers in (('gaze', gaze.xyz), ('direction', gaze.direction or ())):
        if not all(map(math.isfinite, numbers)):
            text = ', '.join(f'{v:g}' for v in numbers)
            raise GazeError(f'{name} ({text}) is not finite')


def check_inside(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Return a pixel (x, y) of an image of ``size`` (H, W); raise ``GazeError`` if it is none."""
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        looks_normalized = -1 <= x <= 1 and -1 <= y <= 1
        hint = '; is the source normalized? set gaze_space to normalized' * looks_normalized
        raise GazeError(
            f'gaze ({x:g}, {y:g}) is outside the image of {width} x {height} pixels: '
            f'x must be in [0, {width}), y in [0, {height}){hint}'
        )
    return x, y
