# SPDX-License-Identifier: Apache-2.0
"""The baseline does what stt_ros does, and the bench's command runs. Nothing here is timed."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import golden
import numpy as np
import pytest

torch = pytest.importorskip('torch')
ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / 'bench').is_dir():
    pytest.skip('bench/ is not part of this installation', allow_module_level=True)
sys.path.append(str(ROOT))  # behind the installed stt_ros

from bench import baseline, report, timing  # noqa: E402
from stt_ros.foveation import FoveationPattern  # noqa: E402
from stt_ros.model import ModelConfig, SegmentThisThing, normalise  # noqa: E402

SMALL = FoveationPattern(4, (1, 2, 4), (4, 4, 6))
WIDE = FoveationPattern(2, (5, 20, 40), (8, 4, 4))


def bench(*words, code=0):
    """Run the command as a user does and return what it wrote, stdout or on failure stderr."""
    done = subprocess.run(
        [sys.executable, '-m', 'bench', *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


@pytest.mark.parametrize('pattern', [SMALL, WIDE], ids=['small', 'wide'])
@pytest.mark.parametrize('gaze', [(40, 30), (0, 0), (118.6, 3.2), (-15, 95), (900, 20)])
def test_foveates_and_paints_alike(pattern, gaze):
    image = golden.image(11, 100, 120)
    tokens, valid = pattern.foveate(image, gaze)
    base_tokens, base_valid = baseline.foveate(pattern, image, gaze)
    np.testing.assert_array_equal(base_valid.numpy(), valid)
    np.testing.assert_array_equal(base_tokens.numpy(), tokens)
    values = tokens[:, 0].astype(np.float32)
    painted = baseline.paint(pattern, torch.from_numpy(values), gaze, image.shape[:2])
    np.testing.assert_array_equal(painted.numpy(), pattern.paint(values, gaze, image.shape[:2]))


@pytest.mark.parametrize('ours', [{}, {'pixel_channels': 5, 'calibration': 6}])
def test_the_networks_agree(ours):
    torch.manual_seed(3)
    config = ModelConfig(2, 48, 3, decoder_width=32, decoder_mlp=64, pattern=SMALL, **ours)
    model = SegmentThisThing(config).eval()
    if ours:  # what training leaves there
        calibration = model.mask_decoder.calibration
        for knots in (calibration.said, calibration.true):
            knots.copy_(torch.rand(knots.shape).cumsum(1) / 9)
    tokens, valid = baseline.foveate(SMALL, golden.image(12, 90, 70), (60, 10))
    assert not valid.all()
    logits, ious = baseline.Baseline(model).run(tokens, valid)
    with torch.inference_mode():
        [expected], [expected_ious] = model(normalise(tokens)[None], valid[None])
    torch.testing.assert_close(logits[:, valid], expected[:, valid], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ious, expected_ious, atol=1e-5, rtol=1e-5)


def test_tasks_take_turns():
    turns = []
    tasks = {name: partial(turns.append, name) for name in 'ab'}
    times = timing.interleaved(tasks, partial(turns.append, '-'), 2)
    assert [len(measured) for measured in times.values()] == [2, 2]
    assert ''.join(turns).endswith('-b-a-a-b')


def test_the_peak_of_memory_is_seen():
    assert timing.peak_memory(lambda: np.ones(30_000_000, np.uint8)) == pytest.approx(30, abs=3)


def test_the_stages_are_measured_written_and_compared(tmp_path):
    path = tmp_path / 'figures.json'
    words = ('--random', '--engines', 'torch', '--repeats', 2, '--sizes', '96x64', '160x90')
    text = bench(*words, '--json', path)
    result = json.loads(path.read_text())
    rows = result['tables']['milliseconds']
    assert {row['image'] for row in rows} == {'96x64', '160x90'}
    assert {'decode raw', 'decode JPEG', 'foveate', 'encoder', 'decoder'} < {
        row['stage'] for row in rows
    }
    assert all(row['median'] > 0 and row['baseline median'] > 0 for row in rows)
    assert all(row['stage'] in text for row in rows)
    torch_rows = {(r['stage'], r['image']): r for r in rows if r['engine'] == 'torch fp32'}
    for image in ('96x64', '160x90'):
        encoder, decoder, network = (
            torch_rows[stage, image]['median'] for stage in ('encoder', 'decoder', 'network')
        )
        assert encoder + decoder == pytest.approx(network, rel=0.3)
    compared = report.compare(result, report.load(path))
    figures = [row for table in compared['tables'].values() for row in table]
    assert figures and all(row['new / old'] in (1.0, None) for row in figures)


def test_gaze_costs_less_than_50_microseconds_a_sample(tmp_path):
    path = tmp_path / 'gaze.json'
    assert 'fixations, idt' in bench('gaze', '--repeats', 10, '--json', path)
    [rows] = json.loads(path.read_text())['tables'].values()
    assert len(rows) == 5 and all(0 < row['best'] < 50 for row in rows), rows


def test_points_rays_and_clouds_are_measured():
    pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    text = bench('space', '--repeats', 2, '--sizes', '160x90')
    for stage in ('point to pixel', 'ray to first surface', 'object_points and object_centroid'):
        assert f'{stage} ' in text


def test_what_cannot_be_compared_or_written_is_named(tmp_path):
    foreign = tmp_path / 'foreign.json'
    foreign.write_text('[1, 2]')
    assert f'{foreign} was not written by --json' in bench('--compare', foreign, foreign, code=1)
    missing = tmp_path / 'no' / 'such.json'
    assert f'cannot write {missing}' in bench('--json', missing, code=1)
    assert f'cannot write {missing}' in bench('--plot', missing, code=1)
    assert "'12' is not a size" in bench('--sizes', '12', code=2)
    assert '--plot draws stages and node, not space' in bench(
        'space', '--plot', tmp_path / 'space.png', code=1
    )
    assert "engine is 'jax'" in bench('--engines', 'jax', code=1)


def test_results_are_drawn(tmp_path):
    plot = pytest.importorskip('bench.plot', reason='needs matplotlib', exc_type=ImportError)
    stage = {'stage': 'foveate', 'engine': '-', 'model': '-', 'median': 1.0, 'p95': 1.5}
    case = {'transport': 'raw', 'camera': '30 Hz', 'p50': 20.0, 'p95': 25.0}
    bases = {'1x1': 9.0, '2x2': None}
    rows = {
        'stages': [stage | {'image': s, 'baseline median': b} for s, b in bases.items()],
        'node': [case | {'image': s} for s in ('1x1', '2x2')],
    }
    for name, table in rows.items():
        environment = {'processor': 'any', 'versions': 'some'}
        result = {'bench': name, 'environment': environment, 'tables': {'figures': table}}
        path = tmp_path / f'{name}.png'
        plot.draw(result, path)
        picture = cv2.imread(str(path))
        assert picture.shape[0] > 200 and picture.std() > 10


def test_the_running_node_is_measured(tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    path = tmp_path / 'figures.json'
    words = ('--random', '--sizes', '160x120', '--rates', 10, '--seconds', 4, '--json', path)
    bench('node', *words)
    results, process = json.loads(path.read_text())['tables'].values()
    assert results[0]['segmented'] > 0 and results[0]['p50'] > 0
    assert 0 < process[0]['start-up s'] < 60
    assert process[0]['at the end'] > 50 and process[0]['CPU ms per image'] > 0
