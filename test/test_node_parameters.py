# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the running node: live ones change it, wrong values are refused."""

import signal

import numpy as np
import pytest
from node_here import node_here
from node_process import NodeProcess
from ros_helpers import Image, running_bench
from ros_messages import picture, to_array

from stt_ros import visualize
from stt_ros.ros.parameters import BY_NAME, CONFIGURE, LIVE, TABLE
from stt_ros.segmenter import Segmenter

PIXELS = picture(300, 400)
GAZE = (200.0, 150.0)
DEFAULTS = {spec.name: spec.default for spec in TABLE}

# What is set in a test of its own, here, in test_node_eyes.py, ..._prompts.py or ..._space.py.
TESTED_LIVE = {
    'mode', 'gaze_space', 'clicked_point_space', 'max_sync_offset', 'prompt_timeout',
    'everything_points', 'everything_budget', 'everything_crop_layers', 'everything_min_iou',
    'everything_min_stability',
    'min_region_area', 'label_image',
    'max_hypotheses', 'interpolation', 'mask_threshold', 'overlay_alpha', 'gaze_time_offset',
    'min_confidence', 'blink_hold', 'gaze_smoothing', 'gaze_smoothing_beta', 'gaze_mode',
    'fixation_method', 'fixation_min', 'fixation_velocity', 'fixation_dispersion',
    'fixation_velocity_px', 'fixation_dispersion_px', 'dwell_time', 'multi', 'max_gazes',
    'handedness', 'ray_depth', 'image_rectified', 'static_transform',
}  # fmt: skip


@pytest.fixture(scope='module')
def running():
    with running_bench() as bench:
        bench.show(PIXELS)
        bench.look_at(*GAZE)
        yield bench


@pytest.fixture
def bench(running):
    """Return the running node, parameters as at start, looking at the middle of the picture."""
    assert not running.set(**{n: DEFAULTS[n] for n in DEFAULTS if BY_NAME[n].when == LIVE})
    return running


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter.create(threads=1)


def result_with(bench, **values):
    """Return the result of a new frame after parameters were set."""
    assert bench.set(**values) == ''
    return bench.result_of(bench.show(PIXELS))


def test_every_live_parameter_is_tested():
    assert {spec.name for spec in TABLE if spec.when == LIVE} == TESTED_LIVE


@pytest.mark.parametrize('count', [1, 2, 3])
def test_max_hypotheses(bench, count):
    assert len(result_with(bench, max_hypotheses=count).hypotheses) == count


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear'])
@pytest.mark.parametrize('threshold', [-1.0, 0.0, 0.5])
def test_interpolation_and_threshold(bench, segmenter, interpolation, threshold):
    """The masks that come are those that the segmenter makes with these values, and no others."""
    result = result_with(bench, interpolation=interpolation, mask_threshold=threshold)
    agreement = {}
    for other in ('nearest', 'bilinear'):
        expected = segmenter.segment(PIXELS, [GAZE], other, threshold)[0]
        agreement[other] = [
            abs(have.area_px - want.area_px) / want.area_px
            for have, want in zip(result.hypotheses, expected.hypotheses, strict=True)
        ]
    assert max(agreement[interpolation]) < 1e-3, agreement
    assert min(agreement, key=lambda name: max(agreement[name])) == interpolation


def test_scale(segmenter):
    with running_bench('-p', 'scale:=4') as bench:
        header = bench.show(PIXELS)
        bench.look_at(*GAZE)
        mask = to_array(bench.result_of(header).hypotheses[0].mask) > 0
    [expected] = Segmenter(segmenter.engine, scale=4).segment(PIXELS, [GAZE])
    [as_it_is] = segmenter.segment(PIXELS, [GAZE])
    np.testing.assert_array_equal(mask, expected.hypotheses[0].crop)
    assert mask.shape != as_it_is.hypotheses[0].crop.shape


def test_extreme_thresholds(bench, segmenter):
    nothing, all_seen = (result_with(bench, mask_threshold=t) for t in (20.0, -20.0))
    for hypothesis in nothing.hypotheses:
        roi, mask = hypothesis.roi, hypothesis.mask
        assert (hypothesis.area_px, roi.width, roi.height, roi.x_offset, roi.y_offset) == (0,) * 5
        assert (mask.width, mask.height, len(mask.data)) == (0, 0, 0)
    [expected] = segmenter.segment(PIXELS, [GAZE], threshold=-20.0)
    for have, want in zip(all_seen.hypotheses, expected.hypotheses, strict=True):
        assert have.area_px == want.area_px
        assert (have.roi.width, have.roi.height) == want.box[2:]


def test_overlay_alpha(bench):
    with bench.watching(Image, 'stt/overlay') as [overlays]:
        bench.until(lambda: overlays, again=lambda: bench.image(PIXELS))
        bench.set(mask_threshold=-20.0)  # everything is mask
        for alpha in (0.0, 0.25, 1.0):
            bench.set(overlay_alpha=alpha)
            overlay = to_array(bench.result_of(bench.show(PIXELS), overlays))
            x, y = 300, 250  # away from outline, gaze and text
            expected = (1 - alpha) * PIXELS[y, x] + alpha * np.array(visualize.MASK_COLOUR)
            assert np.abs(overlay[y, x] - expected).max() <= 1


OUT_OF_RANGE = [
    ('mode', 'pursuit', "mode is 'pursuit'; allowed: continuous | on_prompt"),
    ('gaze_space', 'volts', "gaze_space is 'volts'; allowed: auto | pixel | normalized"),
    ('clicked_point_space', '', "clicked_point_space is ''; allowed: auto"),
    ('handedness', 'left', "handedness is 'left'; allowed: right | left_unity"),
    ('ray_depth', 0.0, 'ray_depth is 0.0; allowed: 0.05 to 1000'),
    ('image_rectified', 1, 'Wrong parameter type'),
    ('static_transform', '0 0 1 map', "static_transform: '0 0 1 map' is no transform; expected 'x"),
    ('max_sync_offset', -0.1, 'max_sync_offset is -0.1; allowed: 0 to 60'),
    ('prompt_timeout', float('nan'), 'prompt_timeout is nan; allowed: 0 to 86400'),
    ('max_hypotheses', 0, 'max_hypotheses is 0; allowed: 1 to 3'),
    ('max_hypotheses', 4, 'max_hypotheses is 4; allowed: 1 to 3'),
    ('interpolation', 'cubic', "interpolation is 'cubic'; allowed: bilinear | nearest"),
    ('mask_threshold', 20.5, 'mask_threshold is 20.5; allowed: -20 to 20'),
    ('overlay_alpha', 1.5, 'overlay_alpha is 1.5; allowed: 0 to 1'),
    ('everything_crop_layers', 5, 'everything_crop_layers is 5; allowed: 0 to 4'),
    ('everything_min_iou', 1.5, 'everything_min_iou is 1.5; allowed: 0 to 1'),
    ('everything_min_stability', -0.1, 'everything_min_stability is -0.1; allowed: 0 to 1'),
    ('everything_points', 65, 'everything_points is 65; allowed: 1 to 64'),
    ('everything_budget', -1.0, 'everything_budget is -1.0; allowed: 0 to 3600'),
    ('min_region_area', -1, 'min_region_area is -1; allowed: 0 to 1e+06'),
    ('label_image', 'all', "label_image is 'all'; allowed: first | cover"),
    ('gaze_time_offset', float('inf'), 'gaze_time_offset is inf; allowed: -1e+10 to 1e+10'),
    ('min_confidence', 60.0, 'min_confidence is 60.0; allowed: 0 to 1'),
    ('blink_hold', -1.0, 'blink_hold is -1.0; allowed: 0 to 10'),
    ('gaze_smoothing', -1.0, 'gaze_smoothing is -1.0; allowed: 0 to 100'),
    ('gaze_smoothing_beta', 11.0, 'gaze_smoothing_beta is 11.0; allowed: 0 to 10'),
    ('gaze_mode', 'all', "gaze_mode is 'all'; allowed: every_sample | fixations_only | dwell"),
    ('fixation_method', 'hmm', "fixation_method is 'hmm'; allowed: ivt | idt"),
    ('fixation_min', 100.0, 'fixation_min is 100.0; allowed: 0 to 10'),
    ('fixation_velocity', 0.0, 'fixation_velocity is 0.0; allowed: 0.1 to 1000'),
    ('fixation_dispersion', 0.0, 'fixation_dispersion is 0.0; allowed: 0.01 to 90'),
    ('fixation_velocity_px', 0.0, 'fixation_velocity_px is 0.0; allowed: 1 to 100000'),
    ('fixation_dispersion_px', 0.0, 'fixation_dispersion_px is 0.0; allowed: 1 to 10000'),
    ('dwell_time', 0.0, 'dwell_time is 0.0; allowed: 0.05 to 60'),
    ('multi', 2, 'Wrong parameter type'),
    ('max_gazes', 0, 'max_gazes is 0; allowed: 1 to 32'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'value', 'words'), OUT_OF_RANGE)
def test_out_of_range_is_refused(bench, name, value, words):
    assert words in bench.set(**{name: value})
    assert bench.get(name) == [DEFAULTS[name]]


def test_every_live_parameter_has_its_refusal():
    assert {name for name, *_ in OUT_OF_RANGE} == TESTED_LIVE


def test_wrong_types_are_refused(bench):
    wrong = {spec.name: [1.5] if isinstance(spec.default, bool) else [True] for spec in TABLE}
    for name, value in wrong.items():
        assert 'no reason given' not in bench.set(**{name: value})
        assert bench.set(**{name: value})
    assert bench.get(*DEFAULTS) == list(DEFAULTS.values())


def test_parameters_of_configure_are_refused_while_configured(bench):
    other = {
        'weights': 'stt-b', 'engine': 'torch', 'device': 'cpu', 'precision': 'fp32',
        'cpu_threads': 2, 'torch_compile': True, 'scale': 1, 'image_transport': 'compressed',
        'text_model': 'clipseg', 'speech_model': 'whisper', 'example_model': 'facebook/dinov2-base',
        'label_model': 'x', 'vocabulary': 'mug, spoon', 'local_files_only': True,
        'gaze_confidence': 'z',
    }  # fmt: skip
    assert set(other) == {spec.name for spec in TABLE if spec.when == CONFIGURE}
    for name, value in other.items():
        reason = bench.set(**{name: value})
        assert reason.startswith(f'{name} is taken when the node is configured: deactivate')
        assert bench.get(name) == [DEFAULTS[name]]
        assert bench.set(**{name: DEFAULTS[name]}) == ''  # what it is can be said


def test_autostart_cannot_be_changed(bench):
    assert 'read-only' in bench.set(autostart=False)


def test_unknown_parameter_is_refused(bench):
    assert bench.set(max_masks=2)


def test_bad_values_at_start_fall_back_to_the_default():
    bad = {
        'mode': 'always', 'max_hypotheses': '9', 'overlay_alpha': 'half', 'mask_threshold': '.nan',
        'cpu_threads': '-1', 'engine': '[1, 2]', 'scale': '3', 'ray_depth': '0',
    }  # fmt: skip
    arguments = [word for k, v in bad.items() for word in ('-p', f'{k}:={v}')]
    node = NodeProcess(
        *arguments, '-p', 'autostart:=false', '-p', 'max_sync_offset:=2.5',
        '-p', 'dwell_time:=2',
    )  # fmt: skip
    try:
        for name in bad:
            default = DEFAULTS[name]
            node.wait_for_log(rf'ERROR.*{name}.*; using the default {default!r}')
        assert 'max_sync_offset' not in node.log() and 'dwell_time' not in node.log()
        node.signal(signal.SIGINT)
        assert node.wait() == 0
        assert 'Traceback' not in node.log()
    finally:
        node.end()


def test_what_was_refused_at_start_is_in_the_diagnostics_and_whole_numbers_are_taken():
    with node_here('-p', 'dwell_time:=2', '-p', 'ray_depth:=far') as (node, _):
        assert node.get_parameter('dwell_time').value == node.parameters['dwell_time'] == 2.0
        assert type(node.parameters['dwell_time']) is float
        [problem] = node.parameters.refused
        assert "ray_depth is 'far'; must be of type float (0.05 to 1000)" in problem
        assert problem.endswith('; using the default 2.0')
        node.trigger_configure()
        node.trigger_activate()
        node.monitor.frame()
        assert node._health() == (b'\x01', problem)
