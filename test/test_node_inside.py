# SPDX-License-Identifier: Apache-2.0
"""The node in this process: what transitions leave behind, and an engine that fails."""

import contextlib
import gc
import re
import threading
import time
import weakref

import pytest
import rclpy
import torch
from lifecycle_msgs.srv import ChangeState
from node_here import node_here, override
from node_process import TIMEOUT
from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from ros_messages import picture, raw_image
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stt_ros.gaze.transforms import NotYetError
from stt_ros.ros.calibration import CameraInfos
from stt_ros.ros.waiting import Waiting

PIXELS = picture()
SUCCESS = TransitionCallbackReturn.SUCCESS
WARN, ERROR = b'\x01', b'\x02'


def test_failure_to_connect_says_why(capfd):
    """A QoS that does not exist shows only when topics are connected; then none of them is."""
    with node_here(*override('stt/overlay.publisher', 'maybe', '')) as (node, _):
        publishers = len(list(node.publishers))
        assert node.trigger_configure() != SUCCESS
        assert re.search('ERROR.*cannot be configured: .*maybe', capfd.readouterr().err)
        level, words = node._health()
        assert level == ERROR and 'cannot be configured: ' in words and 'maybe' in words
        assert len(list(node.publishers)) == publishers
    with node_here(*override('gaze.subscription', 'now', '')) as (node, _):
        subscriptions = len(list(node.subscriptions))
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() != SUCCESS
        assert re.search('ERROR.*cannot be activated: .*now', capfd.readouterr().err)
        assert len(list(node.subscriptions)) == subscriptions
        assert node.pipeline is None
        assert node._health()[1].startswith('cannot be activated: ')
        assert node.trigger_cleanup() == SUCCESS
        assert node._health() == (WARN, 'not configured')


def test_a_latched_camera_info_is_heard_and_so_is_one_that_is_not(capfd):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for profile in (latched, qos_profile_sensor_data):
        with node_here() as (node, executor):
            outside = rclpy.create_node('camera', context=node.context)
            executor.add_node(outside)
            publisher = outside.create_publisher(CameraInfo, 'camera_info', profile)
            k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
            message = CameraInfo(height=480, width=640, k=k, header=Header(frame_id='optical'))
            publisher.publish(message)  # before anybody listens
            infos, end, frame = CameraInfos(node), time.monotonic() + TIMEOUT, None
            while frame is None and time.monotonic() < end:
                with contextlib.suppress(NotYetError):
                    frame = infos.camera()[1]
                executor.spin_once(timeout_sec=0.05)
                if profile is not latched:
                    publisher.publish(message)
            infos.close()
            assert frame == 'optical'
            assert 'camera_info' not in {s.topic_name.strip('/') for s in node.subscriptions}
            outside.destroy_node()
    assert 'incompatible' not in capfd.readouterr().err.lower()


def test_whatever_comes_of_a_message_only_that_is_lost():
    """What nobody thought of: here a stream of images whose handling breaks once."""
    with node_here() as (node, executor):
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        outside = rclpy.create_node('camera', context=node.context)
        executor.add_node(outside)
        publisher = outside.create_publisher(Image, 'image', 10)
        pipeline, add_frame = node.pipeline, node.pipeline._gazes.add_frame
        taken = []

        def broken(message, size):
            add_frame(message, size)
            taken.append(message.header.stamp.sec)
            raise KeyError('broken') if len(taken) == 1 else ZeroDivisionError

        pipeline._gazes.add_frame = broken
        header = Header()
        header.stamp.sec = -5
        until = time.monotonic() + TIMEOUT
        while len(taken) < 2 and time.monotonic() < until:
            publisher.publish(raw_image(PIXELS, 'rgb8', header))
            header.stamp.sec += 6
            executor.spin_once(0.05)
        assert len(taken) >= 2 and min(taken) > 0
        values = {value.key: value.value for value in node.monitor.values()}
        assert int(values['rejected image']) >= 2
        outside.destroy_node()


def test_a_transition_that_raises_is_refused(capfd, monkeypatch):
    """As rclpy does before Kilted, when it is asked for one that the state does not have."""
    def impossible(self, request, response):
        raise RuntimeError('Transition is not registered.')

    private = '_LifecycleNodeMixin__on_change_state'  # what rclpy's service calls
    monkeypatch.setattr(LifecycleNodeMixin, private, impossible)
    with node_here() as (node, executor):
        outside = rclpy.create_node('manager', context=node.context)
        executor.add_node(outside)
        client = outside.create_client(ChangeState, 'stt/change_state')
        assert client.wait_for_service(TIMEOUT)
        future = client.call_async(ChangeState.Request())
        executor.spin_until_future_complete(future, TIMEOUT)
        assert future.result().success is False
        outside.destroy_node()
    assert 'WARN' in (log := capfd.readouterr().err)
    assert 'transition refused: Transition is not registered.' in log


def test_a_click_has_room_to_wait_beside_a_stream():
    rejected, calls = [], []
    with node_here() as (node, _):
        waiting = Waiting(node, lambda source, error: rejected.append(source))

        def never():
            raise NotYetError('no transform')

        def second_time():
            calls.append(len(calls))
            if len(calls) == 1:
                never()

        for _ in range(20):
            waiting.run('gaze_pose', never)
        assert rejected == ['gaze_pose'] * 4
        waiting.run('clicked_point', second_time)
        assert rejected == ['gaze_pose'] * 4
        waiting._again()
        assert calls == [0, 1]
        waiting.run('clicked_point', lambda: 1 / 0)
        assert rejected[-1] == 'clicked_point'
        waiting.close()


def test_cleanup_frees_the_model_and_the_publishers():
    with node_here() as (node, _):
        counts = []
        for _ in range(2):
            assert node.trigger_configure() == SUCCESS
            engine = weakref.ref(node.segmenter.engine)
            assert engine() is not None
            assert node.trigger_activate() == node.trigger_deactivate() == SUCCESS
            assert node.trigger_cleanup() == SUCCESS
            gc.collect()
            assert engine() is None
            counts.append([len(list(e)) for e in (node.publishers, node._managed_entities)])
        assert counts[0] == counts[1]
        assert counts[0][1] == 0


def test_an_engine_without_memory_is_an_error_and_the_node_lives(capfd):
    """The device is a stand-in that has none for a while; the way to the node's log is not."""
    with node_here('-p', 'engine:=torch', '-p', 'device:=cpu') as (node, _):
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        engine, pipeline = node.segmenter.engine, node.pipeline
        network = engine._function

        def full(*tensors):
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')

        engine._function = full
        done = threading.Event()
        image = raw_image(PIXELS, 'rgb8', Header())
        pipeline.worker.post(lambda: pipeline.segment(image, [(5, 5)]))
        pipeline.worker.post(done.set)
        assert done.wait(20)
        log = capfd.readouterr().err
        assert re.search('WARN.*segmentation: cpu has no memory left for 1 gaze.*CUDA out of', log)
        engine._function = network
        assert len(pipeline.segment(image, [(5, 5)])[1]) == 1


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('engine:=onnxruntime', 'weights:=/no/model.onnx'), 'there is no exported file /no/model'),
        (('engine:=torch', 'weights:=x.onnx'), "x.onnx is an exported file, for engine 'onnxrunt"),
    ],
)
def test_an_engine_that_cannot_be_had(arguments, words, capfd):
    if 'onnxruntime' in arguments[0]:
        pytest.importorskip('onnxruntime')
    with node_here(*(word for argument in arguments for word in ('-p', argument))) as (node, _):
        assert node.trigger_configure() != SUCCESS
        assert re.search(f'ERROR.*cannot be configured: .*{words}', capfd.readouterr().err)
        assert node.segmenter is None  # and may be configured otherwise
