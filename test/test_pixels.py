# SPDX-License-Identifier: Apache-2.0
"""The two additions of the small model: a branch that reads pixels, and calibrated scores."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stt_ros import zoo
from stt_ros.layers import Calibration, PixelBranch
from stt_ros.model import ModelConfig, SegmentThisThing, _quadtree_order
from stt_ros.segmenter import Segmenter


def branch(masks=2):
    torch.manual_seed(0)
    return PixelBranch(width=24, channels=5, masks=masks)


def inputs(n=3, masks=2):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(1, n, 3, 16, 16, generator=generator),
        torch.randn(1, n, 24, generator=generator),
        torch.randn(1, masks, 24, generator=generator),
    )


def test_the_branch_equals_its_definition_pixel_by_pixel():
    pixels, (tokens, context, queries) = branch(), inputs()
    with torch.inference_mode():
        logits = pixels(tokens, context, queries)[0, :, _quadtree_order(16)]
        logits = logits.unflatten(1, (16, 16)).movedim(-1, 0)
        heads, gains = pixels.heads(queries)[0], pixels.reading(context)[0]
        weight = pixels.filters.weight.view(16, 5, 48)  # pixel in the block (quadtree), channel
        bias = pixels.filters.bias.view(16, 5)
        for n, y, x in ((0, 0, 0), (1, 7, 3), (2, 15, 14), (0, 5, 10)):
            block = tokens[0, n, :, y // 4 * 4 : y // 4 * 4 + 4, x // 4 * 4 : x // 4 * 4 + 4]
            place = (y // 2 % 2) * 8 + (x // 2 % 2) * 4 + (y % 2) * 2 + x % 2
            answers = (weight[place] @ block.flatten() + bias[place]).relu()
            expected = heads @ (gains[n] * answers)
            torch.testing.assert_close(logits[:, n, y, x], expected, rtol=1e-4, atol=1e-5)


def test_one_mask_of_the_branch_is_that_of_all():
    pixels, (tokens, context, queries) = branch(), inputs()
    with torch.inference_mode():
        both = pixels(tokens, context, queries)
        second = pixels(tokens, context, queries, mask=torch.tensor([1]))
    torch.testing.assert_close(second, both[..., 1:])


@given(
    st.lists(st.floats(0.01, 0.5), min_size=3, max_size=3),
    st.lists(st.floats(0, 0.5), min_size=4, max_size=4),
    st.floats(-1, 2),
)
def test_calibration_interpolates_between_its_knots(steps, rises, said):
    calibration = Calibration(masks=1, knots=4)
    xs, ys = np.cumsum([0.0, *steps]), np.cumsum(rises)
    calibration.said[0], calibration.true[0] = torch.from_numpy(xs), torch.from_numpy(ys)
    told = float(calibration(torch.tensor([[said]]))[0, 0])
    if xs[0] <= said <= xs[-1]:
        assert abs(told - np.interp(said, xs, ys)) < 1e-3
    slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    if said > xs[-1]:
        assert abs(told - (ys[-1] + slope * (said - xs[-1]))) < 1e-2 * max(1, slope)


def test_a_fresh_calibration_changes_nothing():
    ious = torch.linspace(-0.5, 1.5, 12).view(4, 3)
    torch.testing.assert_close(Calibration(masks=3, knots=9)(ious), ious)


def test_published_models_have_neither():
    with torch.device('meta'):
        model = SegmentThisThing(ModelConfig(1, 48, 3))
    assert model.mask_decoder.pixels is None and model.mask_decoder.calibration is None
    assert zoo.CONFIGS['stt-b'].pixel_channels == zoo.CONFIGS['stt-b'].calibration == 0


def test_several_gazes_on_an_image():
    """Tokens as foveation gives them: several gazes are not contiguous in memory."""
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    results = Segmenter.create(precision='fp32').segment(image, [(20, 30), (100, 60)])
    assert [result.gaze for result in results] == [(20, 30), (100, 60)]
