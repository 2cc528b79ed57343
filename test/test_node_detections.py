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
    assert to_boxes(message) == [((10, 20, 30, 40), 'mug'), ((1.5, 2.5, 8, 8), '')]
    [(box, _)] = to_boxes(detections((10.0, 20.0, 30.0, 40.0, 'mug'), turned=math.pi / 2))
    assert box == pytest.approx((5, 25, 40, 30))


def test_detections_are_answered_with_their_names():
    """In this process: vision_msgs is not in the wheels of ROS, so no topic brings them here."""
    done = []
    with node_here() as (node, _):
        node.trigger_configure()
        node.trigger_activate()
        node.pipeline.on_image(raw_image(PIXELS, 'rgb8', Header()))
        prompting = node.pipeline.prompting
        for _ in range(5):  # of a stream the newest counts
            prompting.on_detections(detections((50, 30, 61, 61, 'disk'), (0, 0, 9, 9, '')))
        finished = threading.Event()
        prompting.worker.post(lambda: (done.append(prompting._last), finished.set()))
        assert finished.wait(TIMEOUT)
        assert prompting.active
    labels = [answer.label for answer in done[0].answers]
    assert labels[0] == 'disk'
    assert done[0].request.mode == 'one_per_prompt'
