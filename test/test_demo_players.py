# SPDX-License-Identifier: Apache-2.0
"""The demo's camera and eye tracker as processes over real DDS, and what watches them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from demo_processes import started, wait_until
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stt_ros.ros.demo import sources
from stt_ros.ros.demo.children import _die_with_parent
from stt_ros.ros.demo.running import BEST_EFFORT, RELIABLE, Stop, spinning
from stt_ros.ros.demo.viewer import Viewer

PLAYED = 1.6  # seconds of the dog clip: 40 pictures


class Listener(Node):
    """Keeps all messages of the players."""

    def __init__(self):
        super().__init__('listener')
        self.received = {}
        for kind, topic, qos in (
            (Image, 'image', RELIABLE),
            (CameraInfo, 'camera_info', RELIABLE),
            (CompressedImage, 'ground_truth/mask/compressed', RELIABLE),
            (PointStamped, 'gaze', BEST_EFFORT),
        ):
            self.received[topic] = []
            self.create_subscription(kind, topic, self.received[topic].append, qos)


def stamps(messages):
    """Stamps in seconds since the first."""
    all_ns = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]
    return (np.array(all_ns) - all_ns[0]) * 1e-9


def recorded():
    """Return what camera and eye tracker publish in PLAYED seconds, and what the camera prints."""
    with spinning(Listener) as listener, started('gaze_player', '--seed', 1) as gaze:
        wait_until(lambda: listener.count_publishers('gaze'), 'an eye tracker')
        words = ('--wait-for', 1, '--seconds', PLAYED)
        with started('camera_player', *words, stdout=subprocess.PIPE) as camera:
            printed, _ = camera.communicate(timeout=40)
        gaze.send_signal(signal.SIGINT)
        assert (camera.returncode, gaze.wait(10)) == (0, 0)
    return listener.received | {'printed': json.loads(printed)}


@pytest.fixture(scope='module')
def heard():
    """What is recorded, once more if the machine stood still: a live camera does not catch up."""
    for _ in range(3):
        found = recorded()
        if np.diff(stamps(found['image'])).max() < 0.08:
            break
    return found


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
    stop, waited = Stop(), []
    for _ in range(5):  # the system may be late now and then
        start = time.monotonic()
        assert stop.wait_until(start + 0.05)
        waited.append(time.monotonic() - start)
    assert 0.05 <= min(waited) < 0.15
    with stop.on_signals():
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set() and not stop.wait_until(time.monotonic() + 60)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_child_whose_parent_is_gone_before_it_can_ask_ends():
    another = os.getpid() + 1
    command = [sys.executable, '-c', 'input()']
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, preexec_fn=partial(_die_with_parent, another)
    ) as child:
        assert child.wait(20) == -signal.SIGTERM


def test_a_viewer_that_is_kept_waiting_loses_nothing():
    """On a busy machine its thread may not run for seconds, while the camera goes on."""
    ended = threading.Event()
    with spinning(lambda: Viewer('raw', RELIABLE)) as viewer:
        viewer.create_timer(0.01, ended.wait)
        words = ('--wait-for', 1, '--seconds', PLAYED)
        with started('camera_player', *words, stdout=subprocess.PIPE) as camera:
            camera.communicate(timeout=40)
        assert viewer.record.progress().images == 0
        ended.set()
        wait_until(lambda: viewer.record.progress().images == 40, 'every picture')
