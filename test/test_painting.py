# SPDX-License-Identifier: Apache-2.0
"""Painting foveated values: the golden image, laws that must hold, areas and boxes of masks."""

import hashlib

import golden
import numpy as np
import pytest
from foveation_patterns import SMALL, STANDARD, patterns
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import masks


def test_paints_like_the_golden_image():
    vectors = golden.unfoveation()
    image = STANDARD.paint(vectors['tokens'][:, 0], (640, 640), (1280, 1280))
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    assert digest == str(vectors['image_sha256'])


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear'])
@pytest.mark.parametrize('gaze', [(640, 360), (0, 0), (1279, 719), (200.5, 700.25)])
def test_a_roi_is_that_part_of_the_whole(gaze, interpolation):
    values = np.random.RandomState(1).randn(172, 16, 16).astype(np.float32)
    whole = STANDARD.paint(values, gaze, (720, 1280), interpolation)
    for x, y, w, h in ((0, 0, 1280, 720), (600, 300, 90, 77), (1, 2, 3, 1), (900, 0, 380, 720)):
        part = STANDARD.paint(values, gaze, (720, 1280), interpolation, roi=(x, y, w, h))
        np.testing.assert_array_equal(part, whole[y : y + h, x : x + w])


@settings(max_examples=40, deadline=None)
@given(patterns(), st.integers(-5, 30), st.integers(-5, 30), st.integers(0, 2**32 - 1))
def test_painting_undoes_foveating_where_the_image_is_constant_per_box(pattern, x, y, seed):
    values = np.random.RandomState(seed).randint(
        0, 256, (pattern.num_tokens, 3, *[pattern.token_size] * 2), np.uint8
    )
    size = (25, 31)
    picture = pattern.paint(values, (x, y), size)
    if not pattern.cell_areas((x, y), size).any():
        return
    tokens, _ = pattern.foveate(picture, (x, y))
    full = pattern.cell_areas((x, y), size) == squared_strides(pattern)[:, None, None]
    for channel in range(3):
        np.testing.assert_array_equal(tokens[:, channel][full], values[:, channel][full])
    whole = pattern.paint(full.astype(np.uint8), (x, y), size) == 1
    painted = pattern.paint(tokens, (x, y), size)
    np.testing.assert_array_equal(painted[whole], picture[whole])


def squared_strides(pattern):
    """Return the area in pixels of each token's boxes, (N,)."""
    areas = np.empty(pattern.num_tokens, int)
    for level in pattern.levels:
        areas[level.tokens] = level.stride**2
    return areas


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear'])
def test_a_constant_stays_constant(interpolation):
    values = np.full((172, 16, 16), 0.37, np.float32)
    image = STANDARD.paint(values, (400, 200), (480, 854), interpolation)
    np.testing.assert_allclose(image, 0.37, rtol=1e-6)


def test_bilinear_follows_a_ramp_within_each_ring():
    size, gaze = (1280, 1280), (640, 640)
    ramp = np.broadcast_to(np.arange(1280, dtype=np.float32), size)
    values = np.empty((172, 16, 16), np.float32)
    for level in STANDARD.levels:  # box means of a ramp are its values at the box centres
        centres = level.offset + (np.arange(level.cells) + 0.5) * level.stride - 0.5
        columns = centres.reshape(level.grid, 16)[level.cols]
        values[level.tokens] = columns[:, None, :]
    error = np.abs(STANDARD.paint(values, gaze, size, 'bilinear') - ramp)
    for level in STANDARD.levels:  # a level's outermost half boxes have no neighbour of their kind
        for side in (level.offset, level.offset + level.size):
            error[:, max(0, side - 4) : side + 4] = 0
    assert error.max() < 0.3  # strides of 6 and 8 share no box borders
    assert np.abs(STANDARD.paint(values, gaze, size) - ramp).max() == 3.5


def test_beyond_the_receptive_field_is_never_in_a_mask():
    image = SMALL.paint(np.ones((60, 4, 4), np.float32), (50, 50), (300, 300))
    assert (image[:2] == -np.inf).all() and image[50, 50] == 1
    assert SMALL.paint(np.ones((60, 4, 4), np.uint8), (50, 50), (300, 300))[0, 0] == 0


@settings(max_examples=40, deadline=None)
@given(patterns(), st.integers(-9, 40), st.integers(-9, 40), st.integers(0, 2**32 - 1))
def test_the_bounding_roi_holds_every_selected_pixel(pattern, x, y, seed):
    random = np.random.RandomState(seed)
    logits = random.randn(pattern.num_tokens, *[pattern.token_size] * 2).astype(np.float32) - 2
    size = (28, 33)
    rx, ry, rw, rh = pattern.bounding_roi(logits > 0, (x, y), size)
    for interpolation in ('nearest', 'bilinear'):
        outside = pattern.paint(logits, (x, y), size, interpolation) > 0
        outside[ry : ry + rh, rx : rx + rw] = False
        assert not outside.any()


@settings(max_examples=40, deadline=None)
@given(patterns(), st.sampled_from([0.001, 0.1, 0.9]), st.integers(0, 2**32 - 1))
def test_the_bounding_roi_is_tight_but_for_its_margin(pattern, share, seed):
    selected = np.random.RandomState(seed).rand(pattern.num_tokens, *[pattern.token_size] * 2)
    selected = selected < share
    margin, side = pattern.strides[-1], pattern.receptive_field
    centre, size = [side / 2 + margin] * 2, (side + 2 * margin, side + 2 * margin)
    x, y, w, h = masks.bounding_box(pattern.paint(selected.astype(np.uint8), centre, size))
    expected = (x - margin, y - margin, w + 2 * margin, h + 2 * margin) if w else (0, 0, 0, 0)
    assert pattern.bounding_roi(selected, centre, size) == expected


def test_cell_areas_add_up_to_the_image():
    areas = STANDARD.cell_areas((300, 200), (480, 640))
    assert areas.sum() == 480 * 640
    assert STANDARD.cell_areas((640, 640), (1280, 1280))[-1, 0, 0] == 64


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'values': np.zeros((171, 16, 16), np.float32)}, '171'),
        ({'values': np.zeros((172, 5, 16, 16), np.float32)}, '1 to 4 channels'),
        ({'values': np.zeros((172, 16, 16), np.int32)}, 'int32'),
        ({'interpolation': 'cubic'}, "'cubic'"),
        ({'roi': (600, 0, 41, 10)}, '640 x 480'),
    ],
)
def test_bad_painting_is_named(change, words):
    arguments = {'values': np.zeros((172, 16, 16), np.float32), 'gaze': (1, 1), 'size': (480, 640)}
    with pytest.raises(ValueError, match=words):
        STANDARD.paint(**{**arguments, **change})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 62), st.integers(0, 46), st.integers(1, 47), st.integers(1, 63))
def test_tokens_outside_the_image_do_not_bleed_into_it(x, y, height, width):
    x, y = min(x, width - 1), min(y, height - 1)
    _, valid = SMALL.foveate(np.zeros((height, width, 3), np.uint8), (x, y))
    logits = np.where(valid[:, None, None], np.float32(5), -np.inf) * np.ones((60, 4, 4))
    for interpolation in ('nearest', 'bilinear'):
        painted = SMALL.paint(logits, (x, y), (height, width), interpolation)
        seen = SMALL.paint(np.ones((60, 4, 4), np.uint8), (x, y), (height, width)) == 1
        assert (painted[seen] == 5).all()


def test_one_channel_keeps_its_axis():
    values = np.random.RandomState(2).rand(172, 1, 16, 16).astype(np.float32)
    for interpolation in ('nearest', 'bilinear'):
        image = STANDARD.paint(values, (300, 200), (480, 640), interpolation)
        plain = STANDARD.paint(values[:, 0], (300, 200), (480, 640), interpolation)
        np.testing.assert_array_equal(image[..., 0], plain)
