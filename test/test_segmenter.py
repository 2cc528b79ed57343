# SPDX-License-Identifier: Apache-2.0
"""Frame and gazes in, hypotheses out; with a small network of random weights."""

import golden
import numpy as np
import pytest
import torch

from stt_ros import engines, masks
from stt_ros.engines import EngineError
from stt_ros.frame import Frame
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.segmenter import Segmenter
from stt_ros.weights_io import save

GAZES = [(300, 200), (5.5, 470), (639, 0)]


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Return the path of a small model's weights."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    save(SegmentThisThing(ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=64)), path, 'small')
    return path


@pytest.fixture(scope='module')
def segmenter(weights):
    """Return a segmenter in float32 on the CPU."""
    return Segmenter.create(str(weights), device='cpu', precision='fp32')


@pytest.fixture(scope='module')
def image():
    """Return an RGB image, (480, 640, 3)."""
    return golden.image(21, 480, 640)


def test_hypotheses_are_sorted_and_agree_with_their_masks(segmenter, image):
    results = segmenter.segment(image, GAZES)
    assert [r.gaze for r in results] == GAZES
    for result in results:
        scores = [h.predicted_iou for h in result.hypotheses]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        for h in result.hypotheses:
            mask = h.mask()
            assert mask.shape == (480, 640) and mask.dtype == bool
            assert h.area_px == mask.sum()
            assert h.box == masks.bounding_box(mask)
            x, y, width, height = h.box
            np.testing.assert_array_equal(h.crop, mask[y : y + height, x : x + width])
            painted = segmenter.pattern.paint(h.logits, result.gaze, (480, 640), 'bilinear')
            np.testing.assert_array_equal(mask, painted > 0)
            assert 0 <= h.stability <= 1


def test_many_gazes_equal_one_at_a_time(segmenter, image):
    gazes = [(x, y) for x in range(10, 640, 100) for y in range(10, 480, 80)]
    together = segmenter.segment(image, gazes)
    assert len(together) == len(gazes) > 32
    for gaze, result in list(zip(gazes, together, strict=True))[::9]:
        [alone] = segmenter.segment(image, [gaze])
        for a, b in zip(alone.hypotheses, result.hypotheses, strict=True):
            np.testing.assert_allclose(a.logits, b.logits, atol=1e-4)
            assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-4)
    assert segmenter.segment(image, []) == []


def test_the_default_model_takes_many_gazes_of_a_small_image(image):
    # Tokens that no gaze sees are left out: what is left is not contiguous in memory.
    segmenter = Segmenter.create(device='cpu', precision='fp32')
    small = np.ascontiguousarray(image[:240, :320])
    gazes = [(20, 30), (300, 200)]
    for gaze, result in zip(gazes, segmenter.segment(small, gazes), strict=True):
        [alone] = segmenter.segment(small, [gaze])
        ious = [h.predicted_iou for h in alone.hypotheses]
        assert [h.predicted_iou for h in result.hypotheses] == pytest.approx(ious, abs=1e-3)


@pytest.mark.parametrize('order', ['rgb', 'bgr', 'rgba', 'bgra'])
def test_every_channel_order_gives_the_same_masks(segmenter, image, order):
    pixels = image[..., ::-1] if order.startswith('bgr') else image
    if order.endswith('a'):
        pixels = np.dstack([pixels, pixels[..., :1]])
    frame = Frame(np.ascontiguousarray(pixels), order)
    np.testing.assert_array_equal(frame.rgb(), image)
    [expected], [result] = segmenter.segment(image, GAZES[:1]), segmenter.segment(frame, GAZES[:1])
    for a, b in zip(expected.hypotheses, result.hypotheses, strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)
    np.testing.assert_array_equal(result.view.picture(), expected.view.picture())


def test_gray_is_gray_in_three_channels(segmenter, image):
    gray = np.ascontiguousarray(image[..., 1])
    [a] = segmenter.segment(gray, GAZES[1:2])
    [b] = segmenter.segment(np.dstack([gray] * 3), GAZES[1:2])
    np.testing.assert_array_equal(a.hypotheses[0].logits, b.hypotheses[0].logits)


def test_invalid_tokens_are_never_in_a_mask(segmenter, image):
    [result] = segmenter.segment(image, [(0, 0)])
    _, valid = segmenter.pattern.foveate(image, (0, 0))
    for h in result.hypotheses:
        assert (h.logits[~valid] == -np.inf).all() and np.isfinite(h.logits[valid]).all()


def test_threshold_and_interpolation_change_the_mask(segmenter, image):
    areas = [
        segmenter.segment(image, GAZES[:1], threshold=t)[0].hypotheses[0].area_px
        for t in (-1, 0, 1)
    ]
    assert areas[0] > areas[1] > areas[2]
    nearest = segmenter.segment(image, GAZES[:1], 'nearest')[0].hypotheses[0]
    assert nearest.area_px == nearest.view.areas[nearest.logits > 0].sum()


def test_bf16_is_close_to_fp32(weights, segmenter, image):
    rough = Segmenter.create(str(weights), device='cpu', precision='bf16')
    for a, b in zip(segmenter.segment(image, GAZES), rough.segment(image, GAZES), strict=True):
        for h, g in zip(a.hypotheses, b.hypotheses, strict=True):
            assert h.predicted_iou == pytest.approx(g.predicted_iou, abs=0.02)


@pytest.mark.parametrize(
    ('gaze', 'words'),
    [
        ((640, 3), r'\(640, 3\) is outside the image of 640 x 480'),
        ((-1, 3), 'outside'),
        ((float('nan'), 3), 'nan'),
    ],
)
def test_a_gaze_outside_is_refused(segmenter, image, gaze, words):
    with pytest.raises(ValueError, match=words):
        segmenter.segment(image, [(1, 1), gaze])


@pytest.mark.parametrize(
    ('pixels', 'order', 'words'),
    [
        (np.zeros((3, 3, 3), np.uint16), 'rgb', 'uint16'),
        (np.zeros((3, 3), np.uint8), 'rgb', r'\(3, 3\)'),
        (np.zeros((0, 3, 3), np.uint8), 'rgb', 'empty'),
        (np.zeros((3, 3, 3), np.uint8), 'grb', "'grb'"),
    ],
)
def test_what_is_not_a_picture_is_refused(pixels, order, words):
    with pytest.raises(ValueError, match=words):
        Frame(pixels, order)


@pytest.mark.parametrize(
    ('choice', 'words'),
    [
        ({'engine': 'tensorflow'}, "engine is 'tensorflow'; allowed: auto, torch, openvino"),
        ({'device': 'tpu'}, "device is 'tpu'"),
        ({'precision': 'int3'}, "precision is 'int3'"),
        ({'device': 'cpu', 'precision': 'fp16'}, 'fp16'),
    ],
)
def test_engines_that_cannot_be_had(weights, choice, words):
    with pytest.raises(EngineError, match=words):
        engines.create(str(weights), **choice)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a CUDA device')
def test_cuda_without_a_device_says_so_and_auto_falls_back(weights):
    with pytest.raises(
        EngineError, match="device 'cuda' was asked for.*use device 'cpu' or 'auto'"
    ):
        engines.create(str(weights), device='cuda')
    assert 'on cpu' in engines.create(str(weights), device='auto').description


def test_stability_and_iou_of_known_masks():
    logits, areas = np.array([[-3.0, -0.5, 0.5, 3.0]]), np.array([[1, 2, 3, 4]])
    assert masks.stability(logits, areas) == pytest.approx(4 / 9)
    assert masks.stability(logits - 99, areas) == 0
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert masks.iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert masks.iou(a, b) == pytest.approx(1 / 3)


def test_interior_point_is_farthest_from_the_border():
    mask = np.zeros((20, 30), bool)
    mask[:9, 5:25] = True  # touches the border of the image
    x, y = masks.interior_point(mask)
    assert y == 4 and 9 <= x <= 20
    with pytest.raises(ValueError, match='empty'):
        masks.interior_point(np.zeros((3, 3), bool))


def test_a_single_gaze_is_not_a_list_of_gazes(segmenter, image):
    with pytest.raises(ValueError, match=r'expected a list of points'):
        segmenter.segment(image, (320, 240))


def test_a_result_does_not_keep_its_batch(segmenter, image):
    result = segmenter.segment(image, [(10 * k, 10 * k) for k in range(32)])[0]
    assert result.view.tokens.base is None
    assert all(h.logits.base is None for h in result.hypotheses)
    assert len({*result.hypotheses}) == 3  # can be kept in sets, compared, looked up


def test_the_best_alone_is_the_first_of_three(segmenter, image):
    for three, one in zip(
        segmenter.segment(image, GAZES), segmenter.segment(image, GAZES, best_only=True),
        strict=True,
    ):  # fmt: skip
        [best] = one.hypotheses
        assert best.predicted_iou == pytest.approx(three.hypotheses[0].predicted_iou, abs=1e-6)
        seen = np.isfinite(best.logits)
        np.testing.assert_array_equal(seen, np.isfinite(three.hypotheses[0].logits))
        np.testing.assert_allclose(best.logits[seen], three.hypotheses[0].logits[seen], atol=1e-4)


def test_a_closed_segmenter_says_so(weights, image):
    segmenter = Segmenter.create(str(weights), device='cpu')
    segmenter.close()
    with pytest.raises(EngineError, match='closed'):
        segmenter.segment(image, GAZES)
