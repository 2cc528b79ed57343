# SPDX-License-Identifier: Apache-2.0
"""Clocks that differ, found from how gaze and images move."""

import cv2
import numpy as np
import pytest

from stt_ros.gaze.offset import Flow, estimate

SIZE = (120, 160)


def place(time):
    """Return where the thing that is looked at is, in shares of the image, while the head turns."""
    x = 0.5 + 0.15 * np.sin(4.1 * time) * np.cos(1.7 * time) + 0.05 * np.sin(9 * time)
    return x, 0.5 + 0.15 * np.sin(3.3 * time + 1)


def flow_of(seconds, rate):
    """Return the flow of a textured scene that is seen from a turning head."""
    chance, flow = np.random.default_rng(0), Flow()
    scene = cv2.GaussianBlur(chance.integers(0, 255, (240, 320), np.uint8), (0, 0), 2)
    for number in range(int(seconds * rate)):
        x, y = place(number / rate)
        shift = np.array([[1, 0, x * SIZE[1] - 160], [0, 1, y * SIZE[0] - 120]], float)
        flow.add(number / rate, cv2.warpAffine(scene, shift, SIZE[::-1]))
    return flow


@pytest.mark.parametrize(('offset', 'around'), [(0.0, 0.0), (0.18, 0.0), (-0.35, 0.0), (5e3, 5e3)])
def test_the_offset_is_found_within_a_few_ms(offset, around):
    chance = np.random.default_rng(1)
    times = np.arange(0, 10, 1 / 120)
    gaze = np.stack(place(times), axis=1) + chance.normal(0, 0.003, (len(times), 2))
    found = estimate(times - offset, gaze, flow_of(10, 25), around)
    assert found.offset == pytest.approx(offset, abs=0.02)
    assert found.correlation > 0.6 and found.confidence > 0.15


def test_a_gaze_of_its_own_has_no_confidence():
    chance = np.random.default_rng(1)
    times = np.arange(0, 10, 1 / 120)
    gaze = 0.5 + np.cumsum(chance.normal(0, 0.002, (len(times), 2)), axis=0)
    assert estimate(times, gaze, flow_of(10, 25)).confidence < 0.15


def test_too_little_data_says_how_much_is_needed():
    with pytest.raises(ValueError, match='3 gaze samples and 0 pairs of images are too few: 20'):
        estimate(np.arange(3.0), np.zeros((3, 2)), Flow())
