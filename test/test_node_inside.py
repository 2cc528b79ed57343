# SPDX-License-Identifier: Apache-2.0
"""The node in this process: what transitions leave behind, and an engine that fails."""

import gc
import re
import threading
import weakref

import pytest
import torch
from node_here import node_here, override
from rclpy.lifecycle import TransitionCallbackReturn
from ros_messages import picture, raw_image
from std_msgs.msg import Header

PIXELS = picture()
SUCCESS = TransitionCallbackReturn.SUCCESS


def test_failure_to_connect_says_why(capfd):
    """A QoS that does not exist shows only when topics are connected; then none of them is."""
    with node_here(*override('stt/overlay.publisher', 'maybe', '')) as (node, _):
        publishers = len(list(node.publishers))
        assert node.trigger_configure() != SUCCESS
        assert re.search('ERROR.*cannot be configured: .*maybe', capfd.readouterr().err)
        assert len(list(node.publishers)) == publishers
    with node_here(*override('gaze.subscription', 'now', '')) as (node, _):
        subscriptions = len(list(node.subscriptions))
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() != SUCCESS
        assert re.search('ERROR.*cannot be activated: .*now', capfd.readouterr().err)
        assert len(list(node.subscriptions)) == subscriptions
        assert node.pipeline is None
        assert node.trigger_cleanup() == SUCCESS


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
