# SPDX-License-Identifier: Apache-2.0
"""What a gaze message means, and which gaze belongs to a frame."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_ros.gaze.attention import Attention
from stt_ros.gaze.pairing import SECOND, GazeTrack, RecentFrames
from stt_ros.gaze.spaces import GazeError, RawGaze, meaning, to_pixel

SIZE = (480, 640)
MS = SECOND // 1000


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


def test_gaze_is_interpolated_and_held_beyond_the_ends():
    track = GazeTrack()
    assert track.at(5) is None
    track.add(100 * MS, 10, 0)
    track.add(116 * MS, 26, 32)
    assert track.at(104 * MS) == (14, 8)
    assert track.at(0) == (10, 0)
    assert track.at(10 * SECOND) == (26, 32)


@given(st.lists(st.tuples(st.integers(0, 900), st.floats(0, 640)), min_size=1), st.randoms())
def test_order_of_arrival_does_not_matter(samples, random):
    samples = list({time: (time, x) for time, x in samples}.values())  # one sample per stamp
    ordered, shuffled = GazeTrack(), GazeTrack()
    for time, x in sorted(samples):
        ordered.add(time * MS, x, 0)
    random.shuffle(samples)
    for time, x in samples:
        shuffled.add(time * MS, x, 0)
    for time in range(-10, 920, 31):
        x, _ = ordered.at(time * MS)
        assert shuffled.at(time * MS) == (x, 0)
        assert min(v for _, v in samples) - 1e-9 <= x <= max(v for _, v in samples) + 1e-9


def test_only_recent_samples_are_kept():
    track = GazeTrack(span=SECOND)
    for i in range(10_000):
        assert not track.add(i * 5 * MS, i, 0)
    assert len(track) == 201


def test_a_clock_that_goes_back_forgets_what_was():
    track, frames = GazeTrack(), RecentFrames()
    track.add(100 * SECOND, 1, 1)
    frames.add(100 * SECOND, 'old')
    assert track.add(2 * SECOND, 5, 5)
    assert track.at(100 * SECOND) == (5, 5)
    assert frames.add(2 * SECOND, 'new')
    assert frames.nearest(100 * SECOND) == (2 * SECOND, 'new')


def test_the_frame_nearest_in_time():
    frames = RecentFrames(count=3)
    assert frames.latest() is None and frames.nearest(3) is None
    for i in range(5):
        frames.add(i * 40 * MS, i)
    assert frames.latest() == 4
    assert frames.nearest(130 * MS)[1] == 3
    assert frames.nearest(0)[1] == 2  # older ones are gone


def test_the_latest_prompt_wins_and_each_has_its_id():
    attention = Attention()
    assert attention.at(0) is None
    assert attention.click(1, 2).id == 1
    assert attention.at(5 * SECOND).point == (1, 2)
    first, _ = attention.gaze(10 * MS, 3, 4)
    second, _ = attention.gaze(20 * MS, 5, 4)
    assert first.id == second.id == 2  # a stream is one prompt
    assert attention.at(15 * MS).point == (4, 4)
    assert attention.click(9, 9).id == 3
    assert attention.gaze(30 * MS, 1, 1)[0].id == 4
    assert attention.clear() and not attention.clear()
    assert attention.at(30 * MS) is None
