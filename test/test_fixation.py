# SPDX-License-Identifier: Apache-2.0
"""Fixations, smoothing, blinks and the simulated eye, without ROS."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.gaze.fixation import METHODS, FixationDetector, Thresholds
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.simulation import EyeSimulator, Habits, to_space, waypoints
from stt_ros.gaze.smoothing import OneEuro
from stt_ros.gaze.stream import GazeStream

MS = SECOND // 1000
PARAMETERS = {
    'gaze_mode': 'fixations_only', 'gaze_smoothing': 0.0, 'gaze_smoothing_beta': 0.007,
    'blink_hold': 0.4, 'dwell_time': 0.8, 'fixation_method': 'ivt', 'fixation_min': 0.1,
    'fixation_velocity': 30.0, 'fixation_dispersion': 1.0, 'fixation_velocity_px': 450.0,
    'fixation_dispersion_px': 20.0,
}  # fmt: skip


def fixations(method, samples, scale=1.0, duration=100 * MS, hold=400 * MS):
    """Return the fixations among samples (ms, x, y)."""
    detector = FixationDetector(method, duration, hold)
    found = []
    for time, x, y in samples:
        limits = Thresholds(450 * scale, 20 * scale)
        fixation = detector.add(int(time * MS), x, y, limits)
        if fixation is not None and not any(fixation is f for f in found):
            found.append(fixation)
    return found


def looks(places, rate, each=300, jitter=0.0, seed=0):
    """Return samples that rest at places (x, y) and take 40 ms from one to the next."""
    chance, samples, at = random.Random(seed), [], 0.0
    for number, (x, y) in enumerate(places):
        while at < (number + 1) * each - 40:
            samples.append((at, chance.gauss(x, jitter), chance.gauss(y, jitter)))
            at += 1000 / rate
        x1, y1 = places[min(number + 1, len(places) - 1)]
        while at < (number + 1) * each:
            s = (at - (number + 1) * each + 40) / 40
            samples.append((at, x + s * (x1 - x), y + s * (y1 - y)))
            at += 1000 / rate
    return samples


PLACES = [(100, 100), (300, 150), (200, 300), (500, 400)]


@settings(max_examples=50, deadline=None)
@given(
    method=st.sampled_from(METHODS), rate=st.floats(60, 250), jitter=st.floats(0, 1),
    seed=st.integers(0, 1000), scale=st.floats(0.5, 4),
)  # fmt: skip
def test_rests_are_fixations_at_any_rate_and_scale(method, rate, jitter, seed, scale):
    """Pictures and thresholds of any scale: only their ratio counts."""
    samples = [(t, x * scale, y * scale) for t, x, y in looks(PLACES, rate, 300, jitter, seed)]
    found = fixations(method, samples, scale)
    assert len(found) == len(PLACES)
    for fixation, (x, y) in zip(found, PLACES, strict=True):
        assert math.dist((fixation.x, fixation.y), (x * scale, y * scale)) < 8 * scale
        assert 100 * MS <= fixation.duration <= 300 * MS + SECOND / rate


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('closed', 'count'), [(100, 1), (350, 1), (600, 2)])
def test_a_blink_does_not_cut_a_fixation(method, closed, count):
    before = [(t, 100, 100) for t in range(0, 200, 5)]
    after = [(195 + closed + t, 101, 100) for t in range(0, 200, 5)]
    assert len(fixations(method, before + after)) == count
    elsewhere = [(t, x + 100, y) for t, x, y in after]
    assert len(fixations(method, before + elsewhere)) == 2


@pytest.mark.parametrize('method', METHODS)
def test_no_fixation_in_fast_movement(method):
    assert not fixations(method, [(t, t * 0.8, 0) for t in range(0, 1000, 5)])


def test_slow_drift_is_a_fixation_by_velocity_and_not_by_dispersion():
    drift = [(t, t * 0.3, 0) for t in range(0, 1000, 5)]
    assert len(fixations('ivt', drift)) == 1
    assert not fixations('idt', drift)


@given(st.lists(st.floats(0, 640), min_size=1, max_size=60), st.floats(0.1, 50), st.floats(0, 1))
def test_smoothing_stays_within_what_was_seen(xs, cutoff, beta):
    smoother = OneEuro()
    for number, x in enumerate(xs):
        y, _ = smoother.smooth(number * 0.01, x, 0, cutoff, beta)
        assert min(xs[: number + 1]) - 1e-6 <= y <= max(xs[: number + 1]) + 1e-6


def test_smoothing_takes_jitter_away_and_follows_saccades():
    chance, smoother = random.Random(1), OneEuro()
    calm = [smoother.smooth(i / 200, chance.gauss(100, 3), 0, 1.0, 0.007)[0] for i in range(400)]
    assert max(abs(x - 100) for x in calm[100:]) < 3
    jumped = [smoother.smooth(2 + i / 200, 400, 0, 1.0, 0.007)[0] for i in range(20)]
    assert jumped[-1] > 370  # within 100 ms


@pytest.mark.parametrize(('scale', 'count'), [(None, 1), (15.0, 1), (5.0, 0)])
def test_thresholds_are_degrees_when_the_camera_is_known(scale, count):
    """300 px/s are 20 degrees/s at 15 px per degree, and 60 at 5."""
    stream = GazeStream(PARAMETERS)
    prompts = [stream.add(t * 5 * MS, t * 1.5, 0, scale).prompt for t in range(100)]
    assert len([prompt for prompt in prompts if prompt]) == count


def test_a_late_sample_is_of_no_use_to_filters_and_does_no_harm_without():
    stream = GazeStream({**PARAMETERS, 'gaze_mode': 'every_sample'})
    assert stream.add(10, 1, 1) and stream.add(5, 2, 2).point == (2, 2)
    stream = GazeStream({**PARAMETERS, 'gaze_smoothing': 1.0})
    assert stream.add(10, 1, 1) and stream.add(5, 2, 2) is None


def test_the_gaze_is_held_as_long_as_a_blink():
    stream = GazeStream(PARAMETERS)
    assert stream.held(5) is None
    stream.add(10 * MS, 3, 4)
    assert stream.held(410 * MS) == (3, 4)
    assert stream.held(411 * MS) is None


def test_dwell_fires_once_per_dwell():
    stream = GazeStream({**PARAMETERS, 'gaze_mode': 'dwell'})
    samples = looks([(100, 100), (300, 300)], 200, each=1200)
    prompts = [stream.add(int(t * MS), x, y).prompt for t, x, y in samples]
    fired = [t for (t, *_), prompt in zip(samples, prompts, strict=True) if prompt]
    assert len(fired) == 2 and fired[0] == pytest.approx(800, abs=10)


def simulated(seed, seconds=20, **habits):
    eye = EyeSimulator(waypoints([(0, 100, 100), (1, 400, 300)]), Habits(**habits), seed)
    return [eye.sample(i / 200) for i in range(200 * seconds)]


def test_the_simulated_eye_is_the_same_for_the_same_seed():
    assert simulated(3, 5) == simulated(3, 5) != simulated(4, 5)


def test_the_simulated_eye_fixates_blinks_and_drops_out():
    samples = simulated(1, 60, jitter=0.5, dropouts=0.1)
    seen = [s for s in samples if s is not None]
    assert 0.08 < 1 - len(seen) / len(samples) < 0.12
    closed = len([s for s in seen if not s.confidence]) / len(seen)
    assert 0.02 < closed < 0.08  # 17 blinks of 150 ms a minute
    times = [i * 5 for i, s in enumerate(samples) if s is not None]
    found = fixations('ivt', [(t, s.x, s.y) for t, s in zip(times, seen, strict=True)])
    assert 90 < len(found) < 260
    near = [min(math.dist((f.x, f.y), p) for p in ((100, 100), (400, 300))) for f in found]
    assert sorted(near)[int(0.9 * len(near))] < 40


def test_waypoints_must_grow():
    for bad in ([], [(1, 0, 0)], [(0, 0, 0), (0, 1, 1)]):
        with pytest.raises(ValueError, match='times that grow'):
            waypoints(bad)


def test_spaces_of_the_simulator():
    size, focal = (480, 640), 500.0
    assert to_space((160, 120), 'normalized', size, focal, 2.0) == (0.25, 0.25, 0.0)
    assert to_space((160, 120), 'normalized_bottom_left', size, focal, 2.0) == (0.25, 0.75, 0.0)
    x, y, z = to_space((160, 120), 'camera_3d', size, focal, 2.0)
    assert (x / z * focal + 319.5, y / z * focal + 239.5, z) == pytest.approx((160, 120, 2.0))
    assert math.hypot(*to_space((160, 120), 'ray', size, focal, 2.0)) == pytest.approx(1)
