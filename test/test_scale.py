# SPDX-License-Identifier: Apache-2.0
"""Large images are read as if they were smaller; masks are of the image all the same."""

import cv2
import golden
import numpy as np
import pytest
import torch
from foveation_patterns import STANDARD, patterns
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import masks
from stt_ros.foveation import FILLER_RGB, FoveationPattern
from stt_ros.frame import Frame
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.prompts.everything import Settings, looks
from stt_ros.segmenter import Segmenter
from stt_ros.weights_io import save

SMALL = golden.image(21, 96, 128)


def enlarged(image, factor):
    """Return an image with each pixel repeated, so that nothing is lost when it is shrunk."""
    return image.repeat(factor, 0).repeat(factor, 1)


@pytest.fixture(scope='module')
def engine(tmp_path_factory):
    """Return an engine of random weights that is used to no size of image."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save(SegmentThisThing(ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=64)), path, 'small')
    return Segmenter.create(str(path), device='cpu', precision='fp32', engine='torch').engine


@given(
    patterns(),
    st.integers(1, 20), st.integers(1, 20), st.integers(2, 5), st.data(),
)  # fmt: skip
def test_a_scaled_pattern_lies_on_an_image_as_its_own_on_the_smaller_one(
    pattern, height, width, factor, data
):
    image = golden.image(3, height, width)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    tokens, valid = pattern.foveate(image, (x, y))
    scaled = pattern.scaled(factor)
    large = scaled.foveate(enlarged(image, factor), (x * factor, y * factor))
    np.testing.assert_array_equal(large[0], tokens)
    np.testing.assert_array_equal(large[1], valid)
    painted = scaled.paint(tokens, (x * factor, y * factor), (height * factor, width * factor))
    np.testing.assert_array_equal(
        painted, enlarged(pattern.paint(tokens, (x, y), (height, width)), factor)
    )


@pytest.mark.parametrize('factor', [2, 4])
def test_a_shrunk_image_has_the_masks_of_the_small_one(engine, factor):
    gazes = [(40, 30), (127, 95), (0, 50)]
    beside = [(x * factor + factor - 0.5, y * factor) for x, y in gazes]
    expected = Segmenter(engine).segment(SMALL, gazes, 'nearest')
    results = Segmenter(engine, factor).segment(enlarged(SMALL, factor), beside, 'nearest')
    for small, large, gaze in zip(expected, results, beside, strict=True):
        assert large.gaze == gaze and large.view.pattern.scale == factor
        np.testing.assert_array_equal(large.view.picture(), enlarged(small.view.picture(), factor))
        for a, b in zip(small.hypotheses, large.hypotheses, strict=True):
            np.testing.assert_allclose(a.logits, b.logits, atol=1e-5)
            np.testing.assert_array_equal(enlarged(a.mask(), factor), b.mask())
            assert b.stability == pytest.approx(a.stability, abs=1e-3)


@pytest.mark.parametrize('order', ['rgb', 'bgr', 'rgba', 'bgra', 'mono'])
def test_frames_of_any_order_and_size_are_shrunk(engine, order):
    colours = enlarged(SMALL, 2)[:191, :253]  # the borders are parts of boxes
    pixels = colours[..., ::-1] if order.startswith('bgr') else colours
    if order == 'mono':
        colours = np.dstack([colours[..., :1]] * 3)
        pixels = pixels[..., :1]
    elif order.endswith('a'):
        pixels = np.dstack([pixels, pixels[..., :1]])
    segmenter, gazes = Segmenter(engine, 2), [(252, 190), (3, 5)]
    expected = segmenter.segment(np.ascontiguousarray(colours), gazes)
    for frame in (Frame(np.ascontiguousarray(pixels), order), Frame(pixels, order)):
        for a, b in zip(expected, segmenter.segment(frame, gazes), strict=True):
            np.testing.assert_array_equal(a.view.picture(), b.view.picture())
            np.testing.assert_array_equal(a.hypotheses[0].mask(), b.hypotheses[0].mask())
            assert a.hypotheses[0].mask().shape == (191, 253)


@pytest.mark.parametrize(
    ('size', 'scale'),
    [
        ((480, 640), 1),
        ((480, 854), 1),
        ((720, 1280), 2),
        ((1920, 1080), 2),
        ((3000, 4000), 4),
        ((2, 40000), 16),
    ],
)  # fmt: skip
def test_the_default_model_is_used_to_images_of_800_pixels(size, scale):
    image = np.zeros(size, np.uint8)
    segmenter = Segmenter.create(device='cpu', threads=1)
    [result] = segmenter.segment(image, [(600, 1)])
    assert result.view.pattern.scale == scale
    assert result.view.pattern.receptive_field == scale * STANDARD.receptive_field
    [as_it_is] = Segmenter(segmenter.engine, scale=1).segment(image, [(600, 1)])
    assert as_it_is.view.pattern == STANDARD and as_it_is.view.tokens.shape[0] == 172


def test_other_models_read_every_image_as_it_is(engine):
    [result] = Segmenter(engine).segment(np.zeros((1000, 3000), np.uint8), [(600, 400)])
    assert result.view.pattern.scale == 1


@pytest.mark.parametrize('scale', [-1, 3, 1.5, '2', None])
def test_other_scales_are_refused(engine, scale):
    with pytest.raises(ValueError, match=f'scale is {scale}; allowed: 0, 1, 2, 4, 8, 16'):
        Segmenter(engine, scale)


@given(
    patterns(),
    st.integers(1, 30), st.integers(1, 30), st.integers(2, 5), st.data(),
)  # fmt: skip
def test_of_the_rows_that_are_read_as_one_one_is_read(pattern, height, width, scale, data):
    image = golden.image(4, height, width)
    x, y = data.draw(st.integers(-9, width + 9)), data.draw(st.integers(-9, height + 9))
    tokens, valid = pattern.scaled(scale).foveate(image, (x, y))
    rows = image[min(scale // 2, height - 1) :: scale]
    filled = np.empty((-(-height // scale), -(-width // scale) * scale, 3))
    filled[:] = FILLER_RGB
    filled[: len(rows), :width] = rows
    small = filled.reshape(len(filled), -1, scale, 3).mean(axis=2)
    # Means of means of equal parts, floored once or twice: one lower at most.
    expected, seen = pattern.foveate(small.astype(np.uint8), (x // scale, y // scale))
    np.testing.assert_array_equal(valid, seen)
    assert set(np.unique(tokens.astype(int) - expected)) <= {0, 1}


@pytest.mark.parametrize('scale', [2, 0, -1])
def test_a_scale_that_strides_are_no_multiples_of_is_refused(scale):
    with pytest.raises(ValueError, match=rf'scale is {scale}: strides \(2, 3\) must be multiples'):
        FoveationPattern(4, (2, 3), (3, 4), scale=scale)


def test_scales_multiply():
    assert STANDARD.scaled(2).scaled(3) == STANDARD.scaled(6) != STANDARD
    white = np.full((500, 12000), 255, np.uint8)
    tokens, _ = STANDARD.scaled(16).foveate(white, (2000, 250), filler=(255, 255, 255))
    assert (tokens == 255).all()  # no sum of up to 128 x 8 pixels overflows


def slow_enlarging(small, scale, size, seen):
    """Interpolate between the pixels of a small image that are seen: rows and columns from, to."""
    painted = small
    for axis, ((first, last), length) in enumerate(zip(seen, size, strict=True)):
        at = (np.arange(length) + 0.5) / scale - 0.5
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1, 1] if axis == 0 else [1, -1])
        before, after = (np.clip(k, first, last - 1) for k in (low, low + 1))
        painted = painted.take(before, axis) * (1 - share) + painted.take(after, axis) * share
    return painted


@settings(deadline=None)
@given(patterns(), st.integers(2, 4), st.integers(0, 60), st.integers(0, 52), st.integers(0, 99))
def test_smooth_painting_enlarges_that_of_the_smaller_image(pattern, scale, x, y, seed):
    size, small = (53, 61), (-(-53 // scale), -(-61 // scale))
    shape = pattern.num_tokens, *[pattern.token_size] * 2
    values = np.random.RandomState(seed).randn(*shape).astype(np.float32)
    gaze = (x // scale, y // scale)
    corner, side = pattern.crop_origin(gaze), pattern.receptive_field
    seen = [(max(c, 0), min(c + side, n)) for c, n in zip(corner[::-1], small, strict=True)]
    painted = pattern.paint(values, gaze, small, 'bilinear', fill=0)
    expected = slow_enlarging(painted, scale, size, seen)
    found = pattern.scaled(scale).paint(values, (x, y), size, 'bilinear', fill=0)
    inside = tuple(slice(first * scale, last * scale) for first, last in seen)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('gaze', [(640, 360), (0, 0), (1279, 718), (200.5, 700.25)])
def test_a_disc_is_painted_as_it_was_read(scale, gaze):
    size, pattern = (719, 1280), STANDARD.scaled(scale)
    disc = np.zeros(size, np.uint8)
    cv2.circle(disc, (int(gaze[0]), int(gaze[1])), 150, 255, -1)
    logits = pattern.foveate(disc, gaze)[0][:, 0] / np.float32(16) - 8
    painted = pattern.paint(logits, gaze, size, 'bilinear')
    assert masks.iou(painted > 0, disc > 0) > 0.98
    for x, y, w, h in ((600, 300, 90, 77), (1, 2, 3, 1), (900, 0, 380, 719), (1279, 718, 1, 1)):
        part = pattern.paint(logits, gaze, size, 'bilinear', (x, y, w, h))
        np.testing.assert_allclose(part, painted[y : y + h, x : x + w], atol=1e-4)
    colours = np.stack([logits, logits + 1], axis=1)
    painted_colours = pattern.paint(colours, gaze, size, 'bilinear')
    np.testing.assert_allclose(painted_colours[..., 0], painted, atol=1e-4)


@given(patterns(), st.integers(2, 4), st.integers(-9, 80), st.integers(-9, 80))
def test_painting_fills_the_receptive_field_and_no_more(pattern, scale, x, y):
    pattern, size = pattern.scaled(scale), (53, 61)
    values = np.full((pattern.num_tokens, *[pattern.token_size] * 2), 3, np.float32)
    painted = pattern.paint(values, (x, y), size, 'bilinear')
    np.testing.assert_array_equal(painted, pattern.paint(values, (x, y), size))


@given(patterns(), st.integers(2, 4), st.integers(-9, 40), st.integers(-9, 40), st.integers(0, 99))
def test_the_bounding_roi_holds_what_is_painted(pattern, scale, x, y, seed):
    pattern, size = pattern.scaled(scale), (28, 33)
    shape = pattern.num_tokens, *[pattern.token_size] * 2
    logits = np.random.RandomState(seed).randn(*shape).astype(np.float32) - 2
    rx, ry, rw, rh = pattern.bounding_roi(logits > 0, (x, y), size)
    outside = pattern.paint(logits, (x, y), size, 'bilinear') > 0
    outside[ry : ry + rh, rx : rx + rw] = False
    assert not outside.any()


@pytest.mark.parametrize(('size', 'scale'), [((600, 1000), 1), ((720, 1280), 2)])
def test_parts_of_everything_are_looked_at_enlarged(size, scale):
    segmenter = Segmenter.create(device='cpu', threads=1)
    settings = Settings(points_per_side=2, crop_layers=1)
    seen = list(looks(segmenter, Frame(np.zeros((*size, 3), np.uint8)), settings))
    assert {crop.scale for crop, _ in seen} == {1, 2}
    assert {result.view.pattern.scale for _, results in seen for result in results} == {scale}
