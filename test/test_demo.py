# SPDX-License-Identifier: Apache-2.0
"""The whole demo over real DDS: camera, eye tracker and node, and the viewer around them."""

import contextlib
import json
import os
import re
import signal
import uuid
from pathlib import Path

import cv2
import pytest

pytest.importorskip('rclpy')
import torch
from demo_processes import started, wait_until

from stt_ros import weights_io
from stt_ros.model import ModelConfig, SegmentThisThing

MARK = 'STT_DEMO_TEST'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The file of a tiny model with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    model = SegmentThisThing(ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=64))
    weights_io.save(model, path, 'tiny')
    return path


class Run:
    """A running demo, whose processes are found by a mark in their environment."""

    def __init__(self, process, folder, mark):
        self.process, self.folder, self._mark = process, folder, f'{MARK}={mark}'.encode()

    def pids(self, program=''):
        """The living processes of this demo that run a program."""
        found = []
        for path in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                words = (path / 'cmdline').read_bytes()
                if self._mark in (path / 'environ').read_bytes() and program.encode() in words:
                    found.append(int(path.name))
        return found

    def said(self):
        return (self.folder / 'said.txt').read_text()

    def wait(self):
        code = self.process.wait(40)
        assert self.pids() == [], 'processes that outlive the demo'
        return code


@pytest.fixture
def demo(tmp_path, weights):
    """A function that starts the demo with these words, by default with a tiny model."""
    with contextlib.ExitStack() as ending:

        def start(*words):
            mark = uuid.uuid4().hex
            environment = os.environ | {MARK: mark}
            del environment['ROS_DOMAIN_ID']  # it finds a free one itself
            output = ending.enter_context(open(tmp_path / 'said.txt', 'w'))
            words = [*words] if '--weights' in words else ['--weights', weights, *words]
            process = ending.enter_context(
                started(
                    'stt_ros',
                    'demo',
                    '--out',
                    tmp_path / 'out',
                    *words,
                    env=environment,
                    stdout=output,
                    stderr=output,
                )  # fmt: skip
            )
            return Run(process, tmp_path, mark)

        yield start


def check_files(folder):
    """Check video, contact sheet and summary against each other; return the figures."""
    figures = json.loads((folder / 'summary.json').read_text())
    names = ('overlay.mp4', 'contact_sheet.png', 'steps.png')
    assert [folder / name for name in names] == list(map(Path, figures['files'].values()))
    video = cv2.VideoCapture(figures['files']['video'])
    frames = 0
    while video.grab():
        frames += 1
    assert frames == figures['frames_received'] > 0
    assert cv2.imread(figures['files']['contact_sheet']).std() > 20
    return figures


def test_the_whole_demo(demo):
    run = demo('--seconds', '6')  # a process may stand still for two
    assert run.wait() == 0, run.said()
    figures = check_files(run.folder / 'out')
    assert figures['frames_sent'] == 150
    assert figures['frames_received'] == 150, run.said()
    assert figures['frames_segmented'] >= 60
    assert 0 < figures['latency_ms_p50'] <= figures['latency_ms_p95'] < 1000
    assert figures['frames_with_human_mask'] == figures['frames_segmented']
    assert 0 <= figures['human_iou'] <= figures['human_iou_best_of_three'] < 1
    assert re.search(r'in \d+  out \d+  \|  [\d.]+ Hz  \|  latency p50 \d+ ms', run.said())
    assert '150 sent' in run.said()


def test_prompts_take_the_place_of_the_gaze(demo):
    run = demo('--seconds', '3', '--box', '300,100,200,200')
    assert run.wait() == 0, run.said()
    assert check_files(run.folder / 'out')['frames_segmented'] > 0
    assert 'prompts  1 instead of a gaze' in run.said()


def test_prompts_that_are_never_answered_say_why(demo):
    run = demo('--seconds', '2', '--box', '3000,100,200,200')
    assert run.wait() == 1, run.said()
    assert re.search(r'none of the \d+ pictures was answered:\n(.*\n)*.*854', run.said())


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (('--box', '5,5,0,9'), '--box 5,5,0,9: X,Y >= 0 and W,H >= 1 are allowed'),
        (('--scribble', 'nowhere.txt'), 'cannot read nowhere.txt'),
        (('--text', 'dog', '--point', '9,9'), '--point is a gaze'),
    ],
)
def test_prompts_of_the_demo_that_make_no_sense(demo, words, reason):
    run = demo(*words)
    assert run.wait() == 2
    assert reason in run.said()


def test_ctrl_c_writes_what_there_is(demo):
    run = demo('--loop', '--transport', 'compressed', '--point', '300,200')
    wait_until(lambda: re.search(r'out [1-9]', run.said()), 'a result')
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 128 + signal.SIGINT, run.said()
    assert check_files(run.folder / 'out')['frames_segmented'] > 0
    assert 'fixed at 300,200' in run.said()


def test_a_node_that_cannot_be_configured_ends_the_demo(demo):
    run = demo('--weights', '/nowhere/x.safetensors')
    assert run.wait() == 1
    assert 'could not be configured' in run.said() and '/nowhere/x.safetensors' in run.said()


def test_a_process_that_dies_ends_the_demo(demo):
    run = demo()
    wait_until(lambda: run.pids('gaze_player'), 'an eye tracker')
    os.kill(run.pids('gaze_player')[0], signal.SIGKILL)
    assert run.wait() == 1
    assert 'the gaze process ended with exit code -9' in run.said()


def test_nothing_outlives_a_demo_that_is_killed(demo):
    run = demo()
    wait_until(lambda: len(run.pids()) == 4, 'all four processes')
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not run.pids(), 'the end of its processes', timeout=20.0)
