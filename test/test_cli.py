# SPDX-License-Identifier: Apache-2.0
"""The stt_ros command as a user types it: files, JSON, every error one line with exit code 2."""

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import cv2
import golden
import hub as hubs
import numpy as np
import pytest
import torch

import stt_ros
from stt_ros import cli, pictures, weights_io
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.segmenter import Segmenter
from stt_ros.visualize import overlay

POINTS = [(40.0, 30.0), (100.0, 70.0)]


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Return the file of a small network whose three hypotheses differ."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'micro.safetensors'
    model = SegmentThisThing(ModelConfig(1, 48, 3, decoder_width=64, decoder_mlp=96))
    weights_io.save(model, path, 'micro', torch.float32)
    return path


@pytest.fixture
def photo(tmp_path):
    """Return a picture file of 160 x 120 pixels."""
    path = tmp_path / 'photo.png'
    pictures.write(path, golden.image(3, 120, 160))
    return path


@pytest.fixture
def stt(capsys, weights):
    """Return a function that runs the command in this process: exit code, stdout, stderr."""

    def run(*words):
        if words[0] == 'segment':
            words += ('--device', 'cpu', '--precision', 'fp32')
            if '--weights' not in words:
                words += ('--weights', weights)
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def run_process(code, **variables):
    """Run Python code that sees the package under test, in a process without a display."""
    hidden = ('DISPLAY', 'WAYLAND_DISPLAY', 'MPLBACKEND')
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    package = str(Path(stt_ros.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [package, kept.get('PYTHONPATH')]))
    return subprocess.run(
        [sys.executable, '-c', code], env=kept | {'PYTHONPATH': path} | variables,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def assert_refused(result, *words):
    code, out, err = result
    assert code == 2
    assert out == ''
    assert err.startswith('stt_ros: error: ')
    assert err.count('\n') == 1
    for word in words:
        assert str(word) in err


# What works


def test_mask_and_overlay_are_those_of_the_segmenter(stt, photo, weights, tmp_path):
    mask, shown = tmp_path / 'mask.png', tmp_path / 'overlay.png'
    code, out, err = stt('segment', photo, '--point', '40,30', '--out', mask, '--overlay', shown)
    assert (code, err) == (0, '')
    image = pictures.read(photo)
    segmenter = Segmenter.create(str(weights), 'cpu', 'fp32')
    best = segmenter.segment(image, [(40, 30)])[0].hypotheses[0]
    written = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, best.mask() * np.uint8(255))
    np.testing.assert_array_equal(pictures.read(shown), overlay(image, best.mask(), (40, 30)))
    assert f'predicted IoU {best.predicted_iou:.2f}' in out
    assert f'{best.area_px} px' in out
    assert str(mask) in out


def test_all_hypotheses_as_json(stt, photo, tmp_path):
    mask = tmp_path / 'mask.png'
    code, out, _ = stt('segment', photo, '--point', '40,30', '--all', '--json', '--out', mask)
    report = json.loads(out)
    assert (report['width'], report['height'], report['image']) == (160, 120, str(photo))
    (result,) = report['results']
    assert result['point'] == [40, 30]
    scores = [hypothesis['predicted_iou'] for hypothesis in result['hypotheses']]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    for rank, hypothesis in enumerate(result['hypotheses'], 1):
        assert hypothesis['files'] == {'mask': str(tmp_path / f'mask_{rank}.png')}
        written = cv2.imread(hypothesis['files']['mask'], cv2.IMREAD_UNCHANGED)
        assert hypothesis['area_px'] == np.count_nonzero(written)
        assert hypothesis['box'] == list(cv2.boundingRect(written))
        assert 0 <= hypothesis['stability'] <= 1


def test_several_points(stt, photo, tmp_path):
    points = [word for x, y in POINTS for word in ('--point', f'{x:g},{y:g}')]
    _, out, _ = stt('segment', photo, *points, '--json', '--out', tmp_path / 'm.png')
    results = json.loads(out)['results']
    assert [tuple(result['point']) for result in results] == POINTS
    assert [len(result['hypotheses']) for result in results] == [1, 1]
    stt('segment', photo, *points, '--all', '--overlay', tmp_path / 'o.jpg')
    assert {path.name for path in tmp_path.glob('[mo]*')} == {
        'm_p1.png', 'm_p2.png', *(f'o_p{p}_{k}.jpg' for p in (1, 2) for k in (1, 2, 3)),
    }  # fmt: skip


def test_interpolation_changes_the_painting(stt, photo, weights, tmp_path):
    stt(
        'segment', photo, '--point', '40,30', '--interpolation', 'nearest',
        '--out', tmp_path / 'mask.png',
    )  # fmt: skip
    segmenter = Segmenter.create(str(weights), 'cpu', 'fp32')
    result = segmenter.segment(pictures.read(photo), [(40, 30)], 'nearest')[0]
    written = cv2.imread(str(tmp_path / 'mask.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written > 0, result.hypotheses[0].mask())


def test_models_lists_names_licences_and_places(stt):
    code, out, _ = stt('models')
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert list(lines) == ['stt-s', 'stt-b', 'stt-l', 'stt-h']
    assert 'Apache-2.0' in lines['stt-s']
    assert '(default)' in lines['stt-s']
    assert '90.1 M parameters' in lines['stt-b']
    assert 'CC BY-NC 4.0' in lines['stt-b']


def test_download_prints_the_path(tmp_path):
    code = "import sys; from stt_ros.cli import main; sys.exit(main(['download', 'stt-l']))"
    with hubs.running() as hub:
        hub.files['stt-l-hrcdm1dxzwvxhd.pth'] = b'weights'
        result = run_process(
            code, HF_HOME=str(tmp_path), HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE=''
        )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).read_bytes() == b'weights'
    assert 'CC BY-NC 4.0' in result.stderr


def test_download_of_the_embedded_model_has_nothing_to_do(stt):
    code, out, _ = stt('download', 'default')
    assert code == 0
    assert out.strip().endswith('stt-s.safetensors')


def test_demo_gets_its_arguments_untouched(stt, monkeypatch):
    received = []
    app = types.SimpleNamespace(main=lambda argv: received.append(argv) or 3)
    monkeypatch.setitem(sys.modules, 'stt_ros.ros.demo.app', app)
    code, _, _ = stt('demo', '--image', 'x.jpg', '--point', '1,2', '--help')
    assert code == 3
    assert received == [['--image', 'x.jpg', '--point', '1,2', '--help']]


def test_help_needs_neither_torch_nor_ros():
    code = """
import sys
from stt_ros.cli import main
try:
    main(['--help'])
finally:
    assert not {'torch', 'rclpy', 'matplotlib'} & set(sys.modules)
"""
    result = run_process(code)
    assert result.returncode == 0, result.stderr
    for command in ('segment', 'window', 'models', 'download', 'demo'):
        assert re.search(rf'^ +{command} ', result.stdout, re.MULTILINE)


def test_segmenting_needs_no_ros(photo, weights):
    code = f"""
import sys
from stt_ros.cli import main
main(['segment', {str(photo)!r}, '--point', '40,30', '--weights', {str(weights)!r}])
assert not 'rclpy' in sys.modules
"""
    result = run_process(code)
    assert result.returncode == 0, result.stderr
    assert 'predicted IoU' in result.stdout


# What is refused


@pytest.mark.parametrize('point', ['160,0', '0,120', '-1,5', '5,-0.5', '1e9,3'])
def test_a_point_outside(stt, photo, point):
    x, y = point.split(',')
    words = (f'({float(x):g}, {float(y):g})', '160 x 120')
    assert_refused(stt('segment', photo, '--point', point), *words)


@pytest.mark.parametrize('point', ['nan,3', '3,inf', '3', '1,2,3', 'a,b', '', ',', '3;4'])
def test_a_malformed_point(stt, photo, point):
    assert_refused(stt('segment', photo, '--point', point), '--point', repr(point), '320,240')


def test_no_point_no_picture_no_command(stt, photo):
    assert_refused(stt('segment', photo), '--point')
    assert_refused(stt('segment', '--point', '1,2'), 'image')
    assert_refused(stt('nonsense'), 'nonsense', 'segment', 'window', 'models')
    with pytest.raises(SystemExit) as stopped:
        stt('--version')
    assert stopped.value.code == 0


def test_pictures_that_cannot_be_read(stt, tmp_path, photo):
    empty, text, cut = (tmp_path / name for name in ('empty.png', 'text.jpg', 'cut.png'))
    empty.touch()
    text.write_text('not a picture')
    cut.write_bytes(photo.read_bytes()[:40])
    for path in (tmp_path / 'none.jpg', tmp_path, empty, text, cut):
        assert_refused(stt('segment', path, '--point', '1,2'), 'cannot read', path)
        assert_refused(stt('window', path), 'cannot read', path)


@pytest.mark.parametrize('option', ['--out', '--overlay'])
def test_outputs_that_cannot_be_written(stt, photo, tmp_path, option):
    (tmp_path / 'folder.png').mkdir()
    for name in ('no/folder/mask.png', 'mask', 'mask.txt', 'folder.png'):
        path = tmp_path / name
        result = stt('segment', photo, '--point', '1,2', option, path)
        assert_refused(result, 'cannot write', path)
    full = tmp_path / 'full.png'
    full.symlink_to('/dev/full')  # opens, but has no room
    assert_refused(stt('segment', photo, '--point', '1,2', option, full), 'cannot write', full)


def test_a_lossy_mask(stt, photo, tmp_path):
    result = stt('segment', photo, '--point', '1,2', '--out', tmp_path / 'mask.jpg')
    assert_refused(result, '.png')


def test_broken_weights(stt, photo, tmp_path):
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(b'PK\x03\x04 and no more')
    words = ('segment', photo, '--point', '1,2', '--weights')
    assert_refused(stt(*words, cut), cut, 'truncated')
    assert_refused(stt(*words, tmp_path / 'none.pth'), 'no weights file')
    assert_refused(stt(*words, 'stt-xl'), "'stt-xl'", 'stt-s, stt-b, stt-l, stt-h')
    assert_refused(stt('download', 'stt-xl'), "'stt-xl'", 'stt-s, stt-b, stt-l, stt-h')


def test_devices_that_are_not_there(capsys, photo):
    for device, word in (('tpu', 'tpu'), ('cuda:99', 'cuda')):
        code = cli.main(['segment', str(photo), '--point', '1,2', '--device', device])
        assert_refused((code, *capsys.readouterr()), word)


def test_demo_without_ros(stt, monkeypatch):
    monkeypatch.setitem(sys.modules, 'stt_ros.ros.demo.app', None)  # any import of it fails
    assert_refused(stt('demo'), 'ROS 2', './stt demo')


@pytest.mark.parametrize('backend', ['', 'agg', 'tkagg', 'nonsense'])
def test_a_window_without_a_display(photo, backend):
    code = f"""
import sys
from stt_ros.cli import main
sys.exit(main(['window', {str(photo)!r}]))
"""
    result = run_process(code, MPLBACKEND=backend)
    assert_refused((result.returncode, result.stdout, result.stderr), 'display', 'stt_ros segment')


def test_files_that_would_overwrite_each_other(stt, photo, tmp_path):
    both = str(tmp_path / 'both.png')
    assert_refused(stt('segment', photo, '--point=1,1', '--out', both, '--overlay', both), 'differ')
    before = Path(photo).read_bytes()
    assert_refused(stt('segment', photo, '--point=1,1', '--overlay', photo), 'different files')
    assert Path(photo).read_bytes() == before
