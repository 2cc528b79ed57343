# SPDX-License-Identifier: Apache-2.0
"""The demo's processes over real DDS: camera, eye tracker, and all of it around the node."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
import torch
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stt_ros import weights_io
from stt_ros.model import ModelConfig, SegmentThisThing
from stt_ros.ros.demo import sources
from stt_ros.ros.demo.environment import executable
from stt_ros.ros.demo.running import Stop, spinning

MARK = 'STT_DEMO_TEST'
PLAYED = 1.6  # seconds of the dog clip: 40 pictures


@contextlib.contextmanager
def started(name, *words, **kwargs):
    """Run an executable of the package; it is gone behind the block."""
    command = [sys.executable, str(executable(name)), *map(str, words)]
    process = subprocess.Popen(command, text=True, start_new_session=True, **kwargs)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def wait_until(true, what, timeout=40.0):
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, f'never happened: {what}'
        pause.wait(0.02)


class Listener(Node):
    """Keeps all messages of the players."""

    def __init__(self):
        super().__init__('listener')
        self.received = {}
        for kind, topic in (
            (Image, 'image'),
            (CameraInfo, 'camera_info'),
            (CompressedImage, 'ground_truth/mask/compressed'),
            (PointStamped, 'gaze'),
        ):
            self.received[topic] = []
            self.create_subscription(
                kind, topic, self.received[topic].append, qos_profile_sensor_data
            )


def stamps(messages):
    """Stamps in seconds since the first."""
    all_ns = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]
    return (np.array(all_ns) - all_ns[0]) * 1e-9


@pytest.fixture(scope='module')
def heard():
    """What camera and eye tracker publish in PLAYED seconds, and what the camera prints."""
    with spinning(Listener) as listener, started('gaze_player', '--seed', 1) as gaze:
        wait_until(lambda: listener.count_publishers('gaze'), 'an eye tracker')
        words = ('--wait-for', 1, '--seconds', PLAYED)
        with started('camera_player', *words, stdout=subprocess.PIPE) as camera:
            printed, _ = camera.communicate(timeout=40)
        gaze.send_signal(signal.SIGINT)
        assert (camera.returncode, gaze.wait(10)) == (0, 0)
        yield listener.received | {'printed': json.loads(printed)}


def test_the_camera_loses_nothing_and_keeps_its_rate(heard):
    images = heard['image']
    assert heard['printed']['frames'] == len(images) == 40
    assert heard['printed']['seconds'] == pytest.approx(PLAYED, abs=0.05)
    times = stamps(images)
    assert np.median(np.diff(times)) == pytest.approx(0.04, abs=0.002)
    assert times[-1] == pytest.approx(39 * 0.04, abs=0.03)  # no drift


def test_the_camera_sends_the_clip(heard):
    frames = sorted((sources.CLIPS / 'dog' / 'frames').iterdir())
    for k in (0, 20, 39):
        message = heard['image'][k]
        assert (message.encoding, message.step, message.is_bigendian) == ('bgr8', 3 * 854, 0)
        pixels = np.frombuffer(message.data, np.uint8).reshape(480, 854, 3)
        assert np.array_equal(pixels, cv2.imread(str(frames[k])))
        info, mask = heard['camera_info'][k], heard['ground_truth/mask/compressed'][k]
        assert info.header == mask.header == message.header
        assert (info.width, info.height) == (854, 480) and info.k[0] > 0
        assert message.header.frame_id == 'camera_optical_frame'


def test_the_gaze_lies_on_the_thing_at_60_hz(heard):
    gazes, masks = heard['gaze'], heard['ground_truth/mask/compressed']
    assert np.median(np.diff(stamps(gazes))) == pytest.approx(1 / 60, abs=0.002)
    seen = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in masks]
    inside = []
    for gaze in gazes:
        at = gaze.header.stamp.sec * 10**9 + gaze.header.stamp.nanosec
        content = np.frombuffer(masks[max(0, np.searchsorted(seen, at) - 1)].data, np.uint8)
        thing = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
        inside.append(thing[round(gaze.point.y), round(gaze.point.x)] > 127)
        assert gaze.header.frame_id == 'camera_optical_frame'
    assert len(inside) > 60 and np.mean(inside) > 0.95


def test_a_camera_whose_input_is_bad_ends_with_2(tmp_path):
    with started('camera_player', '--image', tmp_path / 'x.png', stderr=subprocess.PIPE) as camera:
        _, said = camera.communicate(timeout=20)
    assert camera.returncode == 2 and said.startswith('camera_player: error: cannot read')


def test_stop_waits_exactly_and_hears_signals():
    stop = Stop()
    start = time.monotonic()
    assert stop.wait_until(start + 0.05)
    assert 0.05 <= time.monotonic() - start < 0.15
    with stop.on_signals():
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set() and not stop.wait_until(time.monotonic() + 60)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


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
    run = demo('--seconds', '3')
    assert run.wait() == 0, run.said()
    figures = check_files(run.folder / 'out')
    assert figures['frames_sent'] == 75
    assert figures['frames_received'] >= 70
    assert figures['frames_segmented'] >= 30
    assert 0 < figures['latency_ms_p50'] <= figures['latency_ms_p95'] < 1000
    assert figures['frames_with_human_mask'] == figures['frames_segmented']
    assert 0 <= figures['human_iou'] <= figures['human_iou_best_of_three'] < 1
    assert re.search(r'in \d+  out \d+  \|  [\d.]+ Hz  \|  latency p50 \d+ ms', run.said())
    assert '75 sent' in run.said()


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
