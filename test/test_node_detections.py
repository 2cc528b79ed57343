# SPDX-License-Identifier: Apache-2.0
"""Boxes of a detector: vision_msgs/Detection2DArray."""

import math
import threading
from types import SimpleNamespace

import pytest
from node_here import node_here
from node_process import TIMEOUT
from ros_messages import picture, raw_image
from std_msgs.msg import Header
from stt_ros.srv import Refine

from stt_ros.prompts import PromptError
from stt_ros.ros.prompt_messages import to_boxes

PIXELS = picture(120, 160)


def detections(*boxes, turned=0.0):
    """Return what a vision_msgs/Detection2DArray holds: box (x, y, w, h) and a class each."""

    def one(x, y, width, height, name):
        position = SimpleNamespace(x=x + width / 2, y=y + height / 2)
        centre = SimpleNamespace(position=position, theta=turned)
        scores = [('other', 0.1), (name, 0.9)] if name else []
        return SimpleNamespace(
            bbox=SimpleNamespace(center=centre, size_x=width, size_y=height),
            results=[
                SimpleNamespace(hypothesis=SimpleNamespace(class_id=c, score=s)) for c, s in scores
            ],
        )

    return SimpleNamespace(header=Header(), detections=[one(*box) for box in boxes])


def test_boxes_of_a_detector():
    message = detections((10.0, 20.0, 30.0, 40.0, 'mug'), (1.5, 2.5, 8.0, 8.0, ''))
    boxes, problems = to_boxes(message, (120, 160))
    assert [(box.box, box.label) for box in boxes] == [
        ((10, 20, 30, 40), 'mug'),
        ((1.5, 2.5, 8, 8), ''),
    ]
    assert not problems
    turned = detections((10.0, 20.0, 30.0, 40.0, 'mug'), turned=math.pi / 2)
    assert to_boxes(turned, (120, 160))[0][0].box == pytest.approx((5, 25, 40, 30))


def test_boxes_that_are_none_are_left_out():
    good, gone, empty = (10, 20, 30, 40, 'a'), (500, 20, 30, 40, 'b'), (10, 20, 0, 40, 'c')
    message = detections(gone, good, empty, (math.nan, 0, 5, 5, 'd'))
    boxes, problems = to_boxes(message, (120, 160))
    assert [box.label for box in boxes] == ['a']
    first, second, third = problems
    assert first.startswith('detections[0]: box (x=500, y=20, 30 x 40) is outside the image of 160')
    assert second.startswith('detections[2]: box') and 'is empty' in second
    assert third.startswith('detections[3]: box') and 'must be finite' in third


@pytest.fixture
def active():
    """Yield the prompting of a node in this process that has seen an image.

    vision_msgs is not in the wheels of ROS, so no topic brings detections here.
    """
    with node_here() as (node, _):
        node.trigger_configure()
        node.trigger_activate()
        node.pipeline.on_image(raw_image(PIXELS, 'rgb8', Header()))
        yield node.pipeline.prompting


def wait(prompting):
    """Wait until all that was sent is answered."""
    finished = threading.Event()
    prompting.worker.post(finished.set)
    assert finished.wait(TIMEOUT)


def test_detections_are_answered_with_their_names(active):
    for _ in range(5):  # of a stream the newest counts
        active.on_detections(detections((50, 30, 61, 61, 'disk'), (0, 0, 9, 9, '')))
    wait(active)
    assert active.active
    labels = [answer.label for answer in active._last.answers]
    assert labels[0] == 'disk'
    assert active._last.request.mode == 'one_per_prompt'


@pytest.mark.parametrize('boxes', [(), [(500, 500, 20, 20, 'gone')]])
def test_a_detector_that_sees_nothing_ends_its_last_boxes(active, boxes):
    active.on_detections(detections((50, 30, 61, 61, 'disk')))
    wait(active)
    assert active.active
    told = []
    active._outputs.publish = lambda outcome, message: told.append(message(outcome))
    active.on_detections(detections(*boxes))
    wait(active)
    assert not active.active
    [message] = told
    assert not message.segmentations and not any(message.labels.data)
    with pytest.raises(PromptError, match='there is no answer to refine yet'):
        active.refine(Refine.Request(), Refine.Response())
