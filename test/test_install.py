# SPDX-License-Identifier: Apache-2.0
"""Holds ./stt and the CMake install to what the README promises of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.prefix)
SCRIPTS = ('camera_player', 'demo_viewer', 'gaze_player', 'gaze_simulator', 'stt_node', 'stt_ros')
TOOLS = (
    'bash', 'cat', 'comm', 'date', 'dirname', 'env', 'find', 'flock', 'grep', 'head', 'ls', 'mkdir',
    'readlink', 'realpath', 'rm', 'sha256sum', 'sort', 'tail', 'touch', 'tr', 'uname', 'xargs',
)

STATE = VENV / '.stt' / 'root'

set_up_by_stt = pytest.mark.skipif(
    not STATE.is_file() or STATE.read_text().strip() != str(ROOT),
    reason=f'this Python was not set up by {ROOT}/stt',
)


def stt(*words, **environment):
    """Run ./stt with changed environment variables; return the completed process."""
    env = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    return subprocess.run(
        [str(ROOT / 'stt'), *words], env=env, capture_output=True, text=True, timeout=100
    )


@pytest.fixture
def bare_path(tmp_path):
    """Return a folder for PATH with the everyday tools, but no Python and no compiler."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def link_python(folder):
    (folder / 'python3').symlink_to(getattr(sys, '_base_executable', sys.executable))


@set_up_by_stt
def test_second_set_up_does_nothing():
    stt('setup', STT_VENV=VENV)
    stamps = {path: path.stat().st_mtime_ns for path in (VENV / '.stt').iterdir()}
    again = stt('setup', STT_VENV=VENV)
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')
    assert {path: path.stat().st_mtime_ns for path in (VENV / '.stt').iterdir()} == stamps


@set_up_by_stt
def test_installed_files():
    share = VENV / 'share' / 'stt_ros'
    for file in ('package.xml', 'config/fastdds.xml', 'config/stt.rviz', 'launch/stt.launch.py',
                 'msg/Segmentation.msg', 'msg/MaskHypothesis.msg', 'srv/Segment.srv'):
        assert (share / file).is_file(), file
    for script in SCRIPTS:
        assert os.access(VENV / 'lib' / 'stt_ros' / script, os.X_OK), script
    assert os.access(VENV / 'bin' / 'stt_ros', os.X_OK)


@set_up_by_stt
def test_installed_sources_are_current():
    import stt_ros

    installed = Path(stt_ros.__file__).parent
    sources = [
        path.relative_to(ROOT / 'stt_ros')
        for path in (ROOT / 'stt_ros').rglob('*.py')
        if '__pycache__' not in path.parts
    ]
    different = [
        str(path) for path in sources
        if not (installed / path).is_file()
        or (installed / path).read_bytes() != (ROOT / 'stt_ros' / path).read_bytes()
    ]
    assert not different


def test_messages_have_the_documented_fields():
    messages = pytest.importorskip('stt_ros.msg', reason='needs ROS 2: run ./stt test')
    services = pytest.importorskip('stt_ros.srv', reason='needs ROS 2: run ./stt test')
    assert messages.MaskHypothesis.get_fields_and_field_types() == {
        'predicted_iou': 'float',
        'stability': 'float',
        'area_px': 'uint32',
        'roi': 'sensor_msgs/RegionOfInterest',
        'mask': 'sensor_msgs/Image',
    }
    assert messages.Segmentation.get_fields_and_field_types() == {
        'header': 'std_msgs/Header',
        'image_width': 'uint32',
        'image_height': 'uint32',
        'gaze': 'geometry_msgs/Point',
        'gaze_id': 'uint32',
        'hypotheses': 'sequence<stt_ros/MaskHypothesis>',
        'latency': 'float',
        'label': 'string',
        'label_probability': 'float',
        'agreement': 'sequence<float>',
    }
    assert services.Segment.Request.get_fields_and_field_types() == {
        'image': 'sensor_msgs/Image',
        'points': 'sequence<geometry_msgs/Point>',
        'prompts': 'sequence<stt_ros/Prompt>',
        'mode': 'uint8',
    }
    assert services.Segment.Response.get_fields_and_field_types() == {
        'success': 'boolean',
        'message': 'string',
        'results': 'sequence<stt_ros/Segmentation>',
        'labels': 'sensor_msgs/Image',
    }


def test_without_python_one_line(bare_path, tmp_path):
    done = stt('setup', PATH=bare_path, STT_VENV=tmp_path / 'venv')
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert 'Python >= 3.10' in done.stderr
    assert 'sudo apt install python3 python3-venv' in done.stderr


def test_old_python_is_refused(bare_path, tmp_path):
    old = tmp_path / 'python3.9'
    old.write_text('#!/bin/sh\nexit 1\n')  # what the version check of any older Python answers
    old.chmod(0o755)
    done = stt('setup', PATH=bare_path, STT_PYTHON=old, STT_VENV=tmp_path / 'venv')
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert f'STT_PYTHON={old}' in done.stderr


def test_without_compiler_one_line(bare_path, tmp_path):
    link_python(bare_path)
    done = stt('setup', PATH=bare_path, STT_VENV=tmp_path / 'venv')
    assert done.returncode == 1
    assert done.stderr == '[stt] missing: a C++ compiler. Install it with: sudo apt install g++\n'
    assert not (tmp_path / 'venv').exists()


def test_venv_in_a_folder_of_something_else(tmp_path):
    (tmp_path / 'letters.txt').write_text('not yours')
    done = stt('setup', STT_VENV=tmp_path)
    assert done.returncode == 1
    assert f'STT_VENV={tmp_path}' in done.stderr
    assert (tmp_path / 'letters.txt').read_text() == 'not yours'


def test_dead_network_is_named(tmp_path):
    done = stt(
        'setup', STT_VENV=tmp_path / 'venv', PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS='',
        PIP_EXTRA_INDEX_URL='', PIP_NO_CACHE_DIR='1', PIP_RETRIES='1', STT_TORCH='torch==2.13.0',
        PIP_INDEX_URL='http://127.0.0.1:9/simple',
    )
    assert done.returncode == 1
    assert 'PyPI could not be reached' in done.stderr
    assert str(tmp_path / 'venv' / 'setup.log') in done.stderr
    assert 'Traceback' not in done.stderr
