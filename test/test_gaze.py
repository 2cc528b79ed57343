# SPDX-License-Identifier: Apache-2.0
"""What a gaze message means, and which gaze belongs to a frame."""

import math

import pytest

from stt_ros.gaze.spaces import GazeError, RawGaze, meaning, to_pixel

SIZE = (480, 640)


@pytest.mark.parametrize(
    ('gaze', 'space', 'pixel'),
    [
        (RawGaze(12.5, 30), 'pixel', (12.5, 30)),
        (RawGaze(12.5, 30, 7, 'map'), 'pixel', (12.5, 30)),
        (RawGaze(0.25, 0.5), 'normalized', (160, 240)),
        (RawGaze(0.25, 0.25), 'normalized_bottom_left', (160, 360)),
        (RawGaze(1, 1), 'normalized', (639, 479)),
        (RawGaze(0, 0), 'normalized_bottom_left', (0, 479)),
    ],
)
def test_spaces(gaze, space, pixel):
    assert to_pixel(gaze, space, SIZE) == pixel


@pytest.mark.parametrize(
    ('gaze', 'space', 'words'),
    [
        (RawGaze(math.nan, 3), 'pixel', r'nan.*not finite'),
        (RawGaze(3, math.inf), 'pixel', r'inf.*not finite'),
        (RawGaze(640, 3), 'pixel', r'\(640, 3\) is outside .* 640 x 480'),
        (RawGaze(-0.1, 0.5), 'pixel', r'normalized\? set gaze_space'),
        (RawGaze(0.5, 1.2), 'normalized', r'\[0, 1\]'),
    ],
)
def test_what_cannot_be_a_pixel_is_explained(gaze, space, words):
    with pytest.raises(GazeError, match=words):
        to_pixel(gaze, space, SIZE)


@pytest.mark.parametrize(
    ('gaze', 'space', 'meant'),
    [
        (RawGaze(12.5, 30), 'auto', 'pixel'),
        (RawGaze(12.5, 30, 0, 'camera'), 'auto', 'pixel'),
        (RawGaze(1, 1, 2, 'camera'), 'auto', 'world_3d'),
        (RawGaze(1, 1, 0, 'map'), 'auto', 'world_3d'),
        (RawGaze(1, 1, 2, 'map', (0, 0, 1)), 'pixel', 'ray'),
        (RawGaze(1, 1, 2, 'map'), 'camera_3d', 'camera_3d'),
        (RawGaze(1, 1, 2, 'map'), 'normalized', 'normalized'),
    ],
)
def test_what_the_numbers_mean(gaze, space, meant):
    assert meaning(gaze, space, 'camera') == meant
