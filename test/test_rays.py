# SPDX-License-Identifier: Apache-2.0
"""Rays: axes of devices, transforms between frames, and the first surface that is met."""

import math

import numpy as np
import pytest
import realsense
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.gaze.rays import Ray, first_hit, forward, from_hand
from stt_ros.gaze.spaces import GazeError
from stt_ros.gaze.transforms import Rigid, StaticTransforms, parse_static

CAMERA = realsense.camera()
SIZE = realsense.SIZE
NUMBERS = st.floats(-5, 5)
QUATERNIONS = (
    st.tuples(*[st.floats(-1, 1)] * 4)
    .filter(lambda q: np.linalg.norm(q) > 0.1)
    .map(lambda q: np.array(q) / np.linalg.norm(q))
)


def test_axes_of_unity():
    """Right, up and forward of a headset are right, up and forward of the robot."""
    assert np.array_equal(from_hand((1, 2, 3), 'right'), (1, 2, 3))
    assert np.array_equal(from_hand((1, 2, 3), 'left_unity'), (3, -1, 2))
    assert np.array_equal(from_hand((1, 2, 3), 'left_unity', optical=True), (1, -2, 3))


@settings(deadline=None)  # machines differ
@given(QUATERNIONS)
def test_unity_poses_look_along_their_z_axis(q):
    """The orientation in ROS is the one of Unity with its axis mirrored and its turn reversed."""
    x, y, z, w = q
    in_ros = np.array([*from_hand((x, y, z), 'left_unity'), -w])
    expected = forward(in_ros, 'right')
    assert np.allclose(from_hand(forward(q, 'left_unity'), 'left_unity'), expected, atol=1e-9)


@settings(deadline=None)  # machines differ
@given(QUATERNIONS, st.tuples(*[NUMBERS] * 3), st.tuples(*[NUMBERS] * 3))
def test_there_and_back(q, shift, point):
    there = Rigid.of(shift, q)
    assert np.allclose(there.inverse().point(there.point(point)), point, atol=1e-9)
    assert np.linalg.norm(there.direction(point)) == pytest.approx(np.linalg.norm(point))


def test_static_transforms():
    text = f'{realsense.STATIC_TRANSFORM}; 0 0 1 0 0 0 1 /{realsense.FRAME} head'
    known = StaticTransforms(parse_static(text))
    point = realsense.point_at(560, 300)
    there = known.lookup(realsense.BASE, realsense.FRAME, 0)
    back = known.lookup(realsense.FRAME, realsense.BASE, 0)
    assert np.allclose(back.point(there.point(point)), point)
    # The camera is mounted 0.9 m high and looks forward: a person's chest is there.
    assert np.allclose(there.point(point), realsense.to_base(point))
    x, y, z = there.point(point)
    assert x > 1 and abs(y) < 1 and 0.5 < z < 1.2
    assert np.allclose(known.lookup(realsense.FRAME, 'head', 5).point((0, 0, 0)), (0, 0, 1))
    assert np.allclose(known.lookup('any', 'any', 5).point(point), point)
    with pytest.raises(GazeError, match="from frame 'map' to the camera's 'head' .* 'base_link'"):
        known.lookup('head', 'map', 0)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('1 2 3', "'1 2 3' is no transform; expected 'x y z qx qy qz qw frame child'"),
        ('0 0 0 0 0 0 1 a b c', 'is no transform'),
        ('0 0 x 0 0 0 1 a b', 'is no transform'),
        ('0 0 nan 0 0 0 1 a b', 'is no transform'),
        ('0 0 0 0 0 0 0 a b', r'orientation \(0, 0, 0, 0\) is no rotation: its length is 0'),
        ('0 0 0 0 0 0 1 a b; 0 0 0 1 1 1 1 a c', 'its length is 2'),
    ],
)
def test_bad_transforms_are_explained(text, words):
    with pytest.raises(GazeError, match=words):
        parse_static(text)


def test_rays_need_a_direction():
    with pytest.raises(GazeError, match=r'direction of the ray is \(0, 0, 0\)'):
        Ray.of((1, 2, 3), (0, 0, 0))


TARGETS = [(560, 300), (120, 120), (260, 440), (780, 380), (600, 110)]
EYES = {
    'at the camera': (0, 0, 0), 'beside': (0.6, -0.2, 0.1), 'behind': (-0.3, -0.4, -1.0),
    'far aside': (1.5, 0.2, 0.4),
}  # fmt: skip


@pytest.mark.parametrize('eye', EYES)
@pytest.mark.parametrize('target', TARGETS)
def test_a_ray_meets_the_surface_that_it_was_aimed_at(eye, target):
    """What stands there a real camera measured; from far aside other things are met first."""
    point, origin = realsense.point_at(*target), np.array(EYES[eye], float)
    hit = first_hit(Ray.of(origin, point - origin), realsense.depth(), CAMERA)
    x, y = CAMERA.pixel(hit, SIZE)
    assert abs(realsense.depth()[round(y), round(x)] - hit[2]) < 0.03 + 0.03 * hit[2] + 1e-3
    if eye == 'far aside':
        assert np.linalg.norm(hit - origin) < np.linalg.norm(point - origin) + 0.02
    else:
        assert np.abs(np.subtract((x, y), target)).max() <= 2


def synthetic(wall=4.0, thing=None):
    """Return the depth of a wall, and of a thing (x0, x1, z) in front of it."""
    depth = np.full(SIZE, wall, np.float32)
    if thing:
        depth[150:350, thing[0] : thing[1]] = thing[2]
    return depth


def test_a_ray_passes_behind_what_the_camera_sees_in_front():
    box = (380, 470, 1.0)  # the ray crosses its columns at depths around 3.2
    hit = first_hit(Ray.of((-2, 0, 2), (1, 0, 0.6)), synthetic(4.0, box), CAMERA)
    assert hit == pytest.approx((4 / 3, 0, 4), abs=0.02)


def test_a_ray_stops_at_what_is_in_its_way():
    hit = first_hit(Ray.of((0, 0, 0), (0, 0, 1)), synthetic(4.0, (380, 470, 1.0)), CAMERA)
    assert hit[2] == pytest.approx(1.0, abs=0.01)
    x, _ = CAMERA.pixel(hit, SIZE)
    assert x == pytest.approx(realsense.K[2], abs=0.5)


@settings(deadline=None)  # machines differ
@given(st.integers(4, 843), st.integers(4, 475), st.floats(0.5, 9), *[st.floats(-1, 1)] * 2)
def test_a_wall_is_met_where_geometry_says(x, y, wall, right, down):
    depth = np.full(SIZE, wall, np.float32)
    point = CAMERA.direction((x, y), SIZE)
    point = point / point[2] * wall
    origin = np.array([right, down, 0.2])
    hit = first_hit(Ray.of(origin, point - origin), depth, CAMERA)
    assert np.abs(np.array(CAMERA.pixel(hit, SIZE)) - (x, y)).max() <= 1


@pytest.mark.parametrize(
    ('ray', 'depth', 'words'),
    [
        (Ray.of((0, 0, -1), (0, 0, -1)), synthetic(), 'does not pass through what the camera sees'),
        (Ray.of((9, 0, 1), (1, 0, 0.1)), synthetic(), 'does not pass through'),
        (Ray.of((0, 0, 1), (1, 0, 0)), synthetic(0.0), 'nothing in the depth image was measured'),
        (Ray.of((0, 0, 2), (0, 0, -1)), synthetic(4.0), 'meets no surface in the depth image'),
    ],
)
def test_rays_that_meet_nothing(ray, depth, words):
    with pytest.raises(GazeError, match=words):
        first_hit(ray, depth, CAMERA)


def test_time_of_a_hit_is_bounded():
    """At most 4096 samples, however the ray runs."""
    from stt_ros.gaze.rays import _in_sight

    for origin in EYES.values():
        ray = Ray.of(origin, (-0.3, 0.1, 1))
        samples = _in_sight(ray, realsense.depth(), CAMERA, False)
        assert 256 <= len(samples) <= 4096
        assert np.all(samples[:, 2] > 0) and math.isfinite(samples.sum())
