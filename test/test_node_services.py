# SPDX-License-Identifier: Apache-2.0
"""The ~/segment service: one image, any number of points, or the reason why not."""

import math
import threading

import numpy as np
import pytest
from node_here import node_here
from node_process import TIMEOUT
from ros_helpers import Bench, Segment
from ros_messages import picture, raw_image, to_array

PIXELS = picture(90, 130)


ROS_ARGUMENTS = ('-p', 'max_hypotheses:=2')  # of the node that `running` starts


@pytest.fixture
def bench(running: Bench):
    """Return the running node, with a latest image."""
    running.show(PIXELS)
    return running


def test_before_the_first_image(running):
    answer = running.segment([(3, 4)])
    assert (answer.success, len(answer.results)) == (False, 0)
    assert answer.message == 'no image in the request, and none has been received yet'


def test_latest_image(bench):
    header = bench.show(PIXELS)
    answer = bench.segment([(65, 45)])
    assert (answer.success, answer.message) == (True, '')
    [result] = answer.results
    assert result.header == header
    assert (result.image_width, result.image_height, result.gaze_id) == (130, 90, 0)
    assert len(result.hypotheses) == 2
    assert result.latency > 0


def test_image_of_the_request(bench):
    pixels = picture(60, 80)
    for encoding in ('rgb8', 'bgr8', 'mono8'):
        data = pixels[..., 1] if encoding == 'mono8' else pixels
        image = raw_image(data, encoding, bench.header(frame_id='other'))
        [result] = bench.segment([(40.5, 30.25)], image).results
        assert result.header == image.header
        assert (result.image_width, result.image_height) == (80, 60)
        assert (result.gaze.x, result.gaze.y) == (40.5, 30.25)


def test_points_in_their_order(bench):
    points = [(x * 1.0, y * 1.0) for x in range(0, 130, 13) for y in range(0, 90, 18)]
    results = bench.segment(points).results
    assert [(r.gaze.x, r.gaze.y) for r in results] == points
    alone = bench.segment([points[7]]).results[0].hypotheses
    for one, same in zip(alone, results[7].hypotheses, strict=True):
        assert same.predicted_iou == pytest.approx(one.predicted_iou, abs=0.05)
        assert same.area_px == pytest.approx(one.area_px, rel=0.05, abs=20)


def test_same_as_on_the_topic(bench):
    bench.look_at(65, 45)
    header = bench.show(PIXELS)
    topic = bench.result_of(header).hypotheses
    service = bench.segment([(65, 45)]).results[0].hypotheses
    for one, other in zip(topic, service, strict=True):
        assert one.roi == other.roi
        assert np.array_equal(to_array(one.mask), to_array(other.mask))


SIZE = '130 x 90 pixels: x must be in [0, 130), y in [0, 90)'
REFUSED = {
    'no points': ([], None, 'points is empty; at least one point (x, y) in pixels is needed'),
    'beyond': ([(5, 5), (130, 5)], None, f'gaze (130, 5) is outside the image of {SIZE}'),
    'negative': ([(-0.5, 5)], None, 'gaze (-0.5, 5) is outside the image'),
    'nan': ([(math.nan, 5)], None, 'gaze (nan, 5) is outside the image'),
    'inf': ([(5, math.inf)], None, 'gaze (5, inf) is outside the image'),
    'encoding': ([(5, 5)], {'encoding': '32FC1'}, "'32FC1' is not supported; supported: rgb8"),
    'step': ([(5, 5)], {'step': 100}, 'step is 100 bytes; 130 pixels of rgb8 need 390'),
    'data': ([(5, 5)], {'height': 91}, 'data has 35100 bytes; 91 rows of step 390 need 35490'),
    'height': ([(5, 5)], {'height': 0}, 'image is empty: 130 x 0 pixels'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(bench, case):
    points, changes, words = REFUSED[case]
    image = None
    if changes:
        image = raw_image(PIXELS, 'rgb8', bench.header())
        for name, value in changes.items():
            setattr(image, name, value)
    answer = bench.segment(points, image)
    assert (answer.success, len(answer.results)) == (False, 0)
    assert words in answer.message
    bench.process.wait_for_log('WARN.*segment: ')
    assert bench.segment([(65, 45)]).success


def test_several_at_once(bench):
    request = Segment.Request(points=[bench.point(65, 45)] * 4)
    futures = [bench.call_async(Segment, 'segment', request) for _ in range(8)]
    assert all(len(bench.finish(future).results) == 4 for future in futures)


def test_while_frames_come(bench):
    """Requests and frames share one worker; neither starves the other."""
    bench.look_at(65, 45)
    futures = []
    for i in range(12):
        header = bench.image(PIXELS)
        request = Segment.Request(points=[bench.point(i, 9)])
        futures.append(bench.call_async(Segment, 'segment', request))
        bench.result_of(header)
    assert all(bench.finish(future).success for future in futures)


def test_paused_node_still_answers(bench):
    assert bench.enable(False).success
    assert bench.segment([(65, 45)]).success
    assert bench.enable(True).success


def test_too_many_requests():
    """The node in this process, its worker held: what cannot wait is answered at once."""
    begun, gate = threading.Event(), threading.Event()
    with node_here() as (node, executor):
        node.trigger_configure()
        node.trigger_activate()
        post = node.pipeline.worker.post
        post(lambda: begun.set() or gate.wait())
        assert begun.wait(TIMEOUT)
        while post(gate.wait):
            pass
        client = node.create_client(Segment, '~/segment')
        assert client.wait_for_service(TIMEOUT)
        future = client.call_async(Segment.Request(points=[Bench.point(1, 1)]))
        executor.spin_until_future_complete(future, timeout_sec=TIMEOUT)
        gate.set()
    assert not future.result().success
    assert future.result().message == 'too many requests wait, try again later'
