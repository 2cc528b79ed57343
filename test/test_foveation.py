# SPDX-License-Identifier: Apache-2.0
"""Foveation: the golden vectors, a slow reference on random patterns, and laws that must hold."""

import hashlib
import math

import golden
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.foveation import FILLER_RGB, FoveationPattern

STANDARD = FoveationPattern.standard()
SMALL = FoveationPattern(4, (1, 2, 4), (4, 4, 6))


def slow_foveate(pattern, image, gaze, filler=FILLER_RGB):
    """Return tokens and valid, pixel by pixel from the definition."""
    size, height, width = pattern.token_size, *image.shape[:2]
    tokens, valid, inner = [], [], 0
    corner = [math.trunc(v - pattern.receptive_field / 2) for v in gaze]
    for stride, grid in zip(pattern.strides, pattern.grid_sizes, strict=True):
        shift = (pattern.receptive_field - stride * grid * size) // 2
        hole, margin = inner // stride, (grid - inner // stride) // 2
        for row in range(grid):
            for col in range(grid):
                if margin <= row < margin + hole and margin <= col < margin + hole:
                    continue
                token, seen = np.zeros((len(filler), size, size), np.uint8), False
                for i in range(size):
                    for j in range(size):
                        total = np.zeros(len(filler), int)
                        for y in range(stride):
                            for x in range(stride):
                                py = corner[1] + shift + (row * size + i) * stride + y
                                px = corner[0] + shift + (col * size + j) * stride + x
                                inside = 0 <= py < height and 0 <= px < width
                                total += image[py, px][: len(filler)] if inside else filler
                                seen |= inside
                        token[:, i, j] = total // stride**2
                tokens.append(token)
                valid.append(seen)
        inner = stride * grid
    return np.array(tokens), np.array(valid)


@st.composite
def patterns(draw):
    """Valid patterns of small tokens and up to three levels."""
    strides, grids = [draw(st.integers(1, 2))], [draw(st.integers(1, 4))]
    for _ in range(draw(st.integers(0, 2))):
        inner = strides[-1] * grids[-1]
        larger = [s for s in range(strides[-1] + 1, inner + 1) if inner % s == 0]
        if not larger:
            break
        stride = draw(st.sampled_from(larger))
        strides.append(stride)
        grids.append(inner // stride + 2 * draw(st.integers(1, 2)))
    return FoveationPattern(draw(st.integers(1, 3)), tuple(strides), tuple(grids))


@pytest.mark.parametrize('case', golden.cases('foveation'), ids=lambda case: case['name'])
def test_equals_the_golden_vectors_bit_for_bit(case):
    shape = case['pattern']
    pattern = FoveationPattern(shape['token_size'], shape['strides'], shape['grid_sizes'])
    image = golden.image(case['image_seed'], *case['image_hw'])
    tokens, valid = pattern.foveate(image, case['gaze_xy'])
    expected = case['expected']
    np.testing.assert_array_equal(valid, expected['valid'])
    np.testing.assert_array_equal(tokens[valid], expected['tokens'][valid])
    assert pattern.crop_origin(case['gaze_xy']) == tuple(case['crop_origin_xy'])
    assert pattern.num_tokens == case['num_tokens']


@settings(max_examples=60, deadline=None)
@given(
    patterns(),
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1, 3, 4]),
    st.floats(-20, 40),
    st.floats(-20, 40),
    st.integers(0, 2**32 - 1),
)
def test_equals_a_slow_reference_on_any_pattern(pattern, height, width, channels, x, y, seed):
    image = np.random.RandomState(seed).randint(0, 256, (height, width, channels), np.uint8)
    tokens, valid = pattern.foveate(image, (x, y))
    shown = np.repeat(image, 3, axis=2) if channels == 1 else image
    expected_tokens, expected_valid = slow_foveate(pattern, shown, (x, y))
    np.testing.assert_array_equal(valid, expected_valid)
    np.testing.assert_array_equal(tokens, expected_tokens)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(-60, 60), st.integers(-60, 60))
def test_moves_with_the_image(x, y, dx, dy):
    image = golden.image(7, 200, 200)
    canvas = np.empty((400, 400, 3), np.uint8)
    canvas[:] = FILLER_RGB  # what lies beyond the border anyway
    canvas[100 + dy : 300 + dy, 100 + dx : 300 + dx] = image
    moved, _ = SMALL.foveate(canvas, (x + 100 + dx + 48, y + 100 + dy + 48))
    still, _ = SMALL.foveate(image, (x + 48, y + 48))
    np.testing.assert_array_equal(moved, still)


def test_several_gazes_equal_one_at_a_time():
    image = golden.image(3, 480, 640)
    gazes = np.array([(5, 9), (320, 240), (639, 479), (-3000, 100), (310.7, 250.2)])
    tokens, valid = STANDARD.foveate(image, gazes)
    for k, gaze in enumerate(gazes):
        one_tokens, one_valid = STANDARD.foveate(image, gaze)
        np.testing.assert_array_equal(tokens[k], one_tokens)
        np.testing.assert_array_equal(valid[k], one_valid)


def test_reads_views_in_their_own_layout():
    padded = golden.image(4, 480, 700)
    rgba = np.dstack([padded, padded[..., :1]])
    plain = np.ascontiguousarray(padded[:, 30:670])
    expected, _ = STANDARD.foveate(plain, (300, 200))
    for view in (padded[:, 30:670], rgba[:, 30:670], rgba[:, 30:670, :3], plain[::-1][::-1]):
        tokens, _ = STANDARD.foveate(view, (300, 200))
        np.testing.assert_array_equal(tokens, expected)
    bgr, _ = STANDARD.foveate(plain[..., ::-1], (300, 200), FILLER_RGB[::-1])
    np.testing.assert_array_equal(bgr[:, ::-1], expected)


def test_a_gaze_far_away_sees_nothing():
    image = golden.image(4, 48, 64)
    for gaze in ((1e300, 0), (-1e9, -1e9), (5000, 20)):
        tokens, valid = STANDARD.foveate(image, gaze)
        assert not valid.any()
        assert (tokens == np.array(FILLER_RGB, np.uint8)[:, None, None]).all()


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


@pytest.mark.parametrize('length', [1, 480, 3000])
@pytest.mark.parametrize('origin', [-5000, -1280, -1279, -700, -641, -1, 0, 3, 479, 2999])
def test_the_lines_of_cells_inside_are_those_that_see_pixels(origin, length):
    for level in STANDARD.levels:
        seen = np.flatnonzero(level.lengths(origin, length))
        first, last = level.inside(origin, length)
        np.testing.assert_array_equal(np.arange(first, last), seen)


def test_cell_areas_add_up_to_the_image():
    areas = STANDARD.cell_areas((300, 200), (480, 640))
    assert areas.sum() == 480 * 640
    assert STANDARD.cell_areas((640, 640), (1280, 1280))[-1, 0, 0] == 64


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((16, (1, 2), (4,)), '2 strides'),
        ((16, (), ()), '0 strides'),
        ((0, (1,), (4,)), 'token size 0'),
        ((16, (1, -2), (4, 4)), '-2'),
        ((16, (1.5, 2), (4, 4)), r'strides \(1.5, 2\): must be whole'),
        ((16.0, (1, 2), (4, 4)), r'token_size'),
        ((16, (2, 2), (4, 8)), r'level 1 .*stride must exceed 2'),
        ((16, (1, 2), (8, 4)), r'level 1 .*block of 8 .* exceed the inner 8'),
        ((16, (1, 3), (4, 4)), r'level 1 .*inner block of 4 is not a multiple'),
        ((16, (1, 2), (4, 5)), r'level 1 .*not equally thick'),
    ],
)
def test_levels_that_do_not_nest_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        FoveationPattern(*arguments)


@pytest.mark.parametrize(
    ('image', 'gaze', 'words'),
    [
        (np.zeros((4, 4, 3), np.float32), (1, 1), 'float32'),
        (np.zeros((4, 4, 2), np.uint8), (1, 1), '2 channels'),
        (np.zeros((4, 0, 3), np.uint8), (1, 1), 'empty'),
        (np.zeros(4, np.uint8), (1, 1), r'shape \(4,\)'),
        (np.zeros((4, 4, 3), np.uint8), (float('nan'), 1), 'nan'),
        (np.zeros((4, 4, 3), np.uint8), (1, float('inf')), 'inf'),
        (np.zeros((4, 4, 3), np.uint8), (1, 2, 3), 'two numbers'),
        (np.zeros((4, 4, 3), np.uint8), ('a', 2), 'two numbers'),
    ],
)
def test_bad_input_is_named(image, gaze, words):
    with pytest.raises(ValueError, match=words):
        STANDARD.foveate(image, gaze)


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
