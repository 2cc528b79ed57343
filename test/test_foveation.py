# SPDX-License-Identifier: Apache-2.0
"""Foveation: the golden vectors, a slow reference on random patterns, and laws that must hold."""

import dataclasses
import math

import golden
import numpy as np
import pytest
from foveation_patterns import SMALL, STANDARD, patterns
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import levels
from stt_ros.foveation import FILLER_RGB, FoveationPattern


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


@settings(max_examples=60, deadline=None)
@given(
    patterns(),
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(-20, 60),
    st.floats(-20, 60),
    st.integers(0, 2**32 - 1),
)
def test_holes_that_are_not_read_change_nothing(pattern, height, width, x, y, seed):
    image = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    whole, _ = pattern.foveate(image, (x, y))  # holes of these sizes are read with the rest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, '_WORTH_SKIPPING', 0)
        hollow = dataclasses.replace(pattern)
        assert all(len(level.bands) == 4 for level in hollow.levels[1:])
    tokens, _ = hollow.foveate(image, (x, y))
    np.testing.assert_array_equal(tokens, whole)


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


@pytest.mark.parametrize('length', [1, 480, 3000])
@pytest.mark.parametrize('origin', [-5000, -1280, -1279, -700, -641, -1, 0, 3, 479, 2999])
def test_the_lines_of_cells_inside_are_those_that_see_pixels(origin, length):
    for level in STANDARD.levels:
        seen = np.flatnonzero(level.lengths(origin, length))
        first, last = level.inside(origin, length)
        np.testing.assert_array_equal(np.arange(first, last), seen)


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
