# SPDX-License-Identifier: Apache-2.0
"""Frames of the node: static_transform first, then tf2; clouds with and without sensor_msgs_py."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

import rclpy  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from node_here import node_here  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_helpers import SECOND  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stt_ros.gaze.spaces import GazeError  # noqa: E402
from stt_ros.gaze.transforms import NotYetError, TooOldError  # noqa: E402
from stt_ros.ros import objects  # noqa: E402
from stt_ros.ros.frames import Frames  # noqa: E402


class Tf2:
    """Stands in for tf2_ros where there is none: its names, and answers that are put in here.

    It shows what we ask and what we make of an answer, not what tf2 would answer.
    """

    class TransformException(Exception):  # noqa: N818
        pass

    class ExtrapolationException(TransformException):
        pass

    class LookupException(TransformException):
        pass

    def __init__(self):
        self.answer, self.asked, self.cleared, self.ended = None, [], 0, 0

    def Buffer(self):  # noqa: N802
        return SimpleNamespace(lookup_transform=self._lookup, clear=self._clear)

    def TransformListener(self, buffer, node, *, spin_thread):  # noqa: N802
        assert not spin_thread  # the node's own executor brings the transforms
        return SimpleNamespace(unregister=self._end)

    def _lookup(self, target, source, time):
        self.asked.append((target, source, time.nanoseconds))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _clear(self):
        self.cleared += 1

    def _end(self):
        self.ended += 1


@pytest.fixture
def node():
    with node_here() as (node, _):
        yield node


@pytest.fixture
def tf2(monkeypatch):
    tf2 = Tf2()
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2)
    return tf2


def moved(x):
    found = TransformStamped()
    found.transform.translation.x = x
    found.transform.rotation.w = 1.0
    return found


def test_tf2_is_asked_at_the_images_stamp(node, tf2):
    frames = Frames(node)
    tf2.answer = moved(2.0)
    there = frames.lookup('camera', 'map', 7 * SECOND)
    assert np.allclose(there.point((1, 0, 0)), (3, 0, 0))
    assert tf2.asked == [('camera', 'map', 7 * SECOND)]
    frames.clear()
    frames.close()
    assert (tf2.cleared, tf2.ended) == (1, 1)


def test_static_transforms_go_before_tf2(node, tf2):
    frames = Frames(node)
    node.set_parameters([Parameter('static_transform', value='1 0 0 0 0 0 1 camera map')])
    assert np.allclose(frames.lookup('camera', 'map', 5).point((0, 0, 0)), (1, 0, 0))
    assert np.allclose(frames.lookup('camera', 'camera', 5).point((0, 0, 0)), 0)
    node.set_parameters([Parameter('static_transform', value='2 0 0 0 0 0 1 camera map')])
    assert np.allclose(frames.lookup('camera', 'map', 5).point((0, 0, 0)), (2, 0, 0))
    assert not tf2.asked


def test_what_tf2_does_not_know(node, tf2, monkeypatch):
    monkeypatch.setattr('stt_ros.ros.frames._YOUNG', 60.0)
    frames = Frames(node)
    tf2.answer = tf2.ExtrapolationException('would require extrapolation into the future')
    with pytest.raises(NotYetError, match="'map' to 'camera' so new: .* future"):
        frames.lookup('camera', 'map', 5)
    tf2.answer = tf2.LookupException('"map" passed to lookupTransform does not exist')
    with pytest.raises(NotYetError, match="knows no way from 'map' to 'camera': .* not exist"):
        frames.lookup('camera', 'map', 5)
    tf2.answer = tf2.ExtrapolationException('would require extrapolation into the past')
    with pytest.raises(TooOldError, match="older than tf2's history .* past"):
        frames.lookup('camera', 'map', 5)  # it has only begun to listen
    monkeypatch.setattr('stt_ros.ros.frames._YOUNG', 0.0)
    with pytest.raises(GazeError, match="older than tf2's history") as error:
        frames.lookup('camera', 'map', 5)
    assert not isinstance(error.value, NotYetError)


def test_real_tf2_follows_a_moving_frame(node):
    """Where tf2_ros is installed: its answers come through the node, nothing waits for them."""
    tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is not on PyPI: needs ROS 2 from apt')
    frames = Frames(node)
    broadcaster = tf2_ros.TransformBroadcaster(node)
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def at(seconds):
        for _ in range(200):
            for second in (100, 102):
                found = moved(float(second))
                found.header.frame_id, found.child_frame_id = 'map', 'camera'
                found.header.stamp.sec = second
                broadcaster.sendTransform(found)
            executor.spin_once(timeout_sec=0.02)
            try:
                return frames.lookup('map', 'camera', seconds * SECOND)
            except NotYetError:
                continue
        raise AssertionError('no transform came')

    assert np.allclose(at(101).point((0, 0, 0)), (101, 0, 0))
    with pytest.raises(NotYetError, match='so new'):
        frames.lookup('map', 'camera', 200 * SECOND)
    frames.close()


def test_clouds_with_and_without_sensor_msgs_py(monkeypatch):
    pytest.importorskip('sensor_msgs_py', reason='sensor_msgs_py is not on PyPI')
    header = Header(frame_id='camera')
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    rgb = np.arange(150, dtype=np.uint8).reshape(50, 3)
    made_by_it = objects.to_cloud(header, points, rgb)
    monkeypatch.setattr(objects, 'create_cloud', None)
    assert objects.to_cloud(header, points, rgb) == made_by_it


def test_an_empty_cloud():
    cloud = objects.to_cloud(Header(), np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    assert (cloud.width, cloud.height, cloud.point_step, len(cloud.data)) == (0, 1, 16, 0)
