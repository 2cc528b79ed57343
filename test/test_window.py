# SPDX-License-Identifier: Apache-2.0
"""The click window, driven by matplotlib's own mouse events on a canvas without a display."""

import golden
import numpy as np
import pytest
import torch
from matplotlib.backend_bases import MouseEvent, NavigationToolbar2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stt_ros import weights_io
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.segmenter import Segmenter
from stt_ros.visualize import overlay
from stt_ros.window import Window

IMAGE = golden.image(8, 200, 300)


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'micro.safetensors'
    model = SegmentThisThing(ModelConfig(1, 48, 3, decoder_width=64, decoder_mlp=96))
    weights_io.save(model, path, 'micro', torch.float32)
    return Segmenter.create(str(path), 'cpu', 'fp32')


@pytest.fixture
def window(segmenter, request):
    figure = Figure(figsize=(10, 8), layout='constrained')
    FigureCanvasAgg(figure)
    window = Window(figure, segmenter, IMAGE, show_all=getattr(request, 'param', False))
    figure.canvas.draw()
    return window


def click(window, axes, at, button=1):
    """Press a mouse button over the pixel (x, y) of the image that the axes show."""
    canvas = window.figure.canvas
    x, y = axes.transData.transform(at)
    event = MouseEvent('button_press_event', canvas, x, y, button=button)
    canvas.callbacks.process('button_press_event', event)
    canvas.draw()


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def test_a_click_shows_the_foveated_view_with_mask_and_iou(window, segmenter):
    assert window.picture.get_title() == 'click on a thing'
    click(window, window.picture, (120.3, 79.6))
    result = segmenter.segment(IMAGE, [(120, 80)])[0]
    best = result.hypotheses[0]
    assert window.picture.get_title() == 'gaze (120, 80)'
    np.testing.assert_array_equal(shown(window.picture), overlay(IMAGE, best.mask(), (120, 80)))
    (view,) = window.views
    expected = overlay(result.view.picture(), best.mask(), (120, 80))
    np.testing.assert_array_equal(shown(view), expected)
    assert f'predicted IoU {best.predicted_iou:.2f}' in view.get_title()


@pytest.mark.parametrize('window', [True], indirect=True)
def test_show_all_shows_three_best_first(window, segmenter):
    click(window, window.picture, (10, 10))
    result = segmenter.segment(IMAGE, [(10, 10)])[0]
    assert len(window.views) == 3
    for view, hypothesis in zip(window.views, result.hypotheses, strict=True):
        assert f'predicted IoU {hypothesis.predicted_iou:.2f}' in view.get_title()


def test_a_click_on_the_foveated_view_is_the_next_gaze(window):
    click(window, window.picture, (120, 80))
    click(window, window.views[0], (33, 44))
    assert window.picture.get_title() == 'gaze (33, 44)'
    assert len(window.views[0].images) == 1


def test_corner_pixels_can_be_clicked(window):
    for at in ((0, 0), (299, 199)):
        click(window, window.picture, at)
        assert window.picture.get_title() == f'gaze {at}'


def test_the_view_is_cut_to_the_receptive_field(segmenter):
    figure = Figure()
    FigureCanvasAgg(figure)
    window = Window(figure, segmenter, golden.image(9, 1500, 2000))
    click(window, window.picture, (1500, 300))
    (view,) = window.views
    assert view.get_xlim() == (1500 - 640 - 0.5, 2000 - 0.5)
    assert view.get_ylim() == (300 + 640 - 0.5, -0.5)


def test_other_clicks_are_ignored(window):
    click(window, window.views[0], (0.5, 0.5))  # nothing is shown there yet
    click(window, window.picture, (120, 80), button=3)
    click(window, window.picture, (-200, -200))  # beside the axes
    NavigationToolbar2(window.figure.canvas).zoom()
    click(window, window.picture, (120, 80))
    assert window.picture.get_title() == 'click on a thing'
