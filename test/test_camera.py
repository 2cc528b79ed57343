# SPDX-License-Identifier: Apache-2.0
"""Cameras: from points to pixels and back, for every lens model and every way to resize."""

import math
import re

import cv2
import numpy as np
import pytest
import realsense
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.gaze.camera import MODELS, Camera
from stt_ros.gaze.spaces import GazeError

SIZE = (480, 640)
K = (500.0, 0.0, 320.5, 0.0, 505.0, 238.25, 0.0, 0.0, 1.0)
TILT = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
P = (480.0, 0.0, 318.0, -48.0, 0.0, 480.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# Coefficients as calibrations of real lenses have them, and the largest that are tried here.
LENSES = {
    'plumb_bob': (-0.3, 0.1, 0.002, -0.002, -0.02),
    'rational_polynomial': (0.4, 0.1, 0.001, -0.001, 0.02, 0.75, 0.25, 0.05),
    'equidistant': (0.05, -0.02, 0.01, -0.003),
    'fisheye': (-0.03, 0.01, -0.004, 0.001),
}
NONE = ('plumb_bob', ())


def camera(model='plumb_bob', d=(), **changed) -> Camera:
    fields = {'width': 640, 'height': 480, 'k': K, 'r': tuple(TILT.ravel()), 'p': P, **changed}
    return Camera(model=model, d=tuple(d), **fields)


@pytest.mark.parametrize('rectified', [False, True])
@pytest.mark.parametrize('model', LENSES)
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1), x=st.floats(0, 639), y=st.floats(0, 479), z=st.floats(0.1, 50))
def test_what_a_pixel_shows_appears_at_that_pixel(model, rectified, share, x, y, z):
    lens = camera(model, [share * value for value in LENSES[model]], p=(*P[:3], 0.0, *P[4:]))
    point = lens.direction((x, y), SIZE, rectified) * z
    assert np.allclose(lens.pixel(point, SIZE, rectified), (x, y), atol=1e-3)


@pytest.mark.parametrize('rectified', [False, True])
@pytest.mark.parametrize('model', LENSES)
def test_depth_images_become_the_points_that_they_show(model, rectified):
    """For every pixel, with the second camera of a stereo pair and a rectifying rotation."""
    lens = camera(model, LENSES[model])
    z = np.random.default_rng(3).uniform(0.5, 8, SIZE).astype(np.float32)
    points = lens.to_points(z.ravel(), np.arange(z.size), SIZE, rectified)
    assert np.allclose(lens.depth(points, rectified), z.ravel(), atol=1e-5)
    pixels, seen = lens.project(points, SIZE, rectified)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    assert seen.all()
    assert np.abs(pixels - np.column_stack([x.ravel(), y.ravel()])).max() < 0.01
    some = np.array([5, 70_000, 300_000])
    assert np.array_equal(lens.to_points(z.ravel()[some], some, SIZE, rectified), points[some])


@pytest.mark.parametrize('model', LENSES)
def test_far_off_the_axis_nothing_is_in_the_picture(model):
    """The polynomials turn back there; a point 85 degrees aside must not land in the middle."""
    strong = {'plumb_bob': (-0.4, 0.02), 'rational_polynomial': (-0.4, 0.02)}
    d = strong.get(model, (0.1, -0.4, 0.05, -0.02))
    lens = camera(model, [*d, *[0.0] * (max(MODELS[model][:1]) - len(d))])
    angles = np.radians(np.linspace(0, 89, 300))
    points = np.column_stack([np.sin(angles), 0 * angles, np.cos(angles)]) * 3
    pixels, seen = lens.project(points, SIZE)
    assert seen[:60].all() and not seen.all()
    assert np.all(np.diff(pixels[seen][:, 0]) > 0)
    with pytest.raises(GazeError, match=f"farther from the axis than the lens model '{model}'"):
        lens.pixel(points[-1], SIZE)


@pytest.mark.parametrize('point', [(0, 0, -1), (1, 1, 0), (0, 0, math.nan)])
def test_behind_the_camera(point):
    with pytest.raises(GazeError, match=r'is behind the camera \(z <= 0\)'):
        camera().pixel(point, SIZE)


def seen_through(point, sensor_pixel_to_image):
    """Return a point's pixel by K alone, taken to the image's."""
    x, y, z = point
    u, v = K[0] * x / z + K[2], K[4] * y / z + K[5]
    return sensor_pixel_to_image(u, v)


RESIZED = {
    'as calibrated': ((480, 640), {}, lambda u, v: (u, v)),
    'half': ((240, 320), {}, lambda u, v: (u / 2 - 0.25, v / 2 - 0.25)),
    'larger': ((720, 960), {}, lambda u, v: (u * 1.5 + 0.25, v * 1.5 + 0.25)),
    'binned': ((240, 320), {'binning': (2, 2)}, lambda u, v: (u / 2 - 0.25, v / 2 - 0.25)),
    'cropped': ((200, 300), {'roi': (100, 50, 300, 200)}, lambda u, v: (u - 100, v - 50)),
    'cropped and binned': (
        (100, 150), {'roi': (100, 50, 300, 200), 'binning': (2, 2)},
        lambda u, v: ((u - 99.5) / 2 - 0.5, (v - 49.5) / 2 - 0.5),
    ),
    'cropped and resized': (
        (400, 600), {'roi': (100, 50, 300, 200)},
        lambda u, v: ((u - 99.5) * 2 - 0.5, (v - 49.5) * 2 - 0.5),
    ),
    'no size said': ((480, 640), {'width': 0, 'height': 0}, lambda u, v: (u, v)),
    'rounded': ((361, 480), {}, lambda u, v: ((u + .5) * .75 - .5, (v + .5) * 361 / 480 - .5)),
}  # fmt: skip


@pytest.mark.parametrize('name', RESIZED)
def test_images_of_another_size_than_the_calibration(name):
    size, changed, expected = RESIZED[name]
    point = (0.1, -0.05, 1.2)
    lens = camera(**changed)
    pixel = lens.pixel(point, size)
    assert pixel == pytest.approx(seen_through(point, expected), abs=1e-9)
    direction = lens.direction(pixel, size)
    assert np.allclose(direction / direction[2] * 1.2, point)


@pytest.mark.parametrize(
    ('size', 'changed', 'words'),
    [
        ((360, 640), {}, '640 x 480 pixels, this one has 640 x 360: another shape'),
        ((640, 480), {}, '640 x 480 pixels, this one has 480 x 640'),
        ((480, 640), {'roi': (0, 0, 300, 200)}, '300 x 200 pixels, this one has 640 x 480'),
        ((478, 640), {}, '640 x 480 pixels, this one has 640 x 478'),
    ],
)
def test_other_shapes_are_refused_with_both_sizes(size, changed, words):
    with pytest.raises(GazeError, match=words):
        camera(**changed).pixel((0, 0, 1), size)


@pytest.mark.parametrize(
    ('changed', 'rectified', 'words'),
    [
        ({'k': (0.0,) * 9}, False, 'no camera matrix K'),
        ({'p': (0.0,) * 12}, True, 'no projection matrix P'),
        ({'k': (*K[:8], 0.0)}, False, 'camera matrix K of camera_info has no inverse: 5.*, 0$'),
        ({'k': (K[0], math.nan, *K[2:])}, False, 'camera matrix K of .* no inverse: .*, nan'),
        ({'p': (9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0)}, True, 'projection matrix P of .* no inverse'),
        ({'model': 'inverse_brown', 'd': (1, 0, 0, 0, 0)}, False, "'inverse_brown' with 5 coeff"),
        ({'model': 'plumb_bob', 'd': (1, 2, 3)}, False, r'with 3 .* plumb_bob \(4, 5\), rational'),
    ],
)
def test_calibrations_that_are_none(changed, rectified, words):
    with pytest.raises(GazeError, match=words):
        camera(**changed).pixel((0, 0, 1), SIZE, rectified)
    with pytest.raises(GazeError, match=words):
        camera(**changed).direction((5, 5), SIZE, rectified)


def test_an_unknown_model_without_distortion_is_a_pinhole():
    assert camera('', (0.0,) * 5).pixel((0, 0, 1), SIZE) == (K[2], K[5])


def test_a_real_camera_sees_its_own_depth_image():
    lens, depth = realsense.camera(), realsense.depth()
    points = lens.to_points(depth.ravel(), np.arange(depth.size), realsense.SIZE)
    points = points.reshape(*realsense.SIZE, 3)
    for pixel in ((560, 300), (120, 120), (260, 440)):
        x, y = pixel
        assert np.allclose(points[y, x], realsense.point_at(x, y), atol=1e-3)
        assert lens.pixel(points[y, x], realsense.SIZE) == pytest.approx(pixel, abs=1e-3)
    assert re.match('plumb_bob', lens.model)
    assert lens.focal_length(realsense.SIZE) == pytest.approx(611.47, abs=0.01)
