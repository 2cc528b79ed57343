# SPDX-License-Identifier: Apache-2.0
"""Boxes, scribbles and the like over DDS: by topic, by service, on every frame, refined."""

import math
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from node_here import node_here
from node_process import TIMEOUT
from prompt_messages import gray, labels_of, prompt
from ros_helpers import Bench, Image, Segment, running_bench
from ros_messages import picture, raw_image, to_array
from std_msgs.msg import Header
from stt_ros.msg import PromptArray
from stt_ros.srv import Refine

from stt_ros import prompts
from stt_ros.ros.prompt_messages import to_boxes
from stt_ros.segmenter import Segmenter

PIXELS = picture(120, 160)
MIDDLE = (80.0, 60.0)


DISK = prompt('BOX', box=(50, 30, 61, 61))


@pytest.fixture(scope='module')
def running():
    with running_bench() as bench:
        yield bench


@pytest.fixture
def bench(running):
    """Return the running node with an image and without a prompt."""
    running.set(mode='continuous')
    running.show(PIXELS)
    running.clear()
    return running


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter.create(threads=1)


def ask(bench, *asked, mode=0, image=None):
    """Call ~/segment with prompts."""
    request = Segment.Request(prompts=list(asked), mode=mode, image=image or Image())
    return bench.call(Segment, 'segment', request)


def begin(bench, *asked, **more):
    """Publish a PromptArray and return its first answer."""
    before = max((answer.prompt_id for answer in bench.answers), default=0)
    bench.prompt(*asked, **more)
    return bench.until(lambda: next((a for a in bench.answers if a.prompt_id > before), None))


def mask_of(segmentation):
    """Return the mask (H, W) bool of the whole image."""
    full = np.zeros((segmentation.image_height, segmentation.image_width), bool)
    [hypothesis] = segmentation.hypotheses
    roi = hypothesis.roi
    part = full[roi.y_offset : roi.y_offset + roi.height, roi.x_offset : roi.x_offset + roi.width]
    part[:] = to_array(hypothesis.mask) > 0
    assert hypothesis.area_px == full.sum()
    return full


def test_answer_is_that_of_the_core(bench, segmenter):
    answer = ask(bench, DISK, prompt('POINTS', [MIDDLE]))
    assert (answer.success, answer.message) == (True, '')
    [expected] = prompts.answer(
        segmenter, PIXELS, [prompts.Box((50, 30, 61, 61)), prompts.Points([MIDDLE])]
    )
    [result] = answer.results
    assert prompts.Region.of_mask(mask_of(result)).iou(expected) > 0.97
    assert result.hypotheses[0].predicted_iou == pytest.approx(expected.predicted_iou, abs=0.02)
    assert list(result.agreement) == pytest.approx(list(expected.agreement), abs=0.03)
    assert (result.label, math.isnan(result.label_probability)) == ('', True)
    assert np.array_equal(labels_of(answer.labels), mask_of(result))


def test_image_of_the_request(bench):
    image = raw_image(picture(60, 80), 'rgb8', bench.header(frame_id='other'))
    [result] = ask(bench, prompt('BOX', box=(20, 10, 40, 40)), image=image).results
    assert result.header == image.header
    assert (result.image_width, result.image_height) == (80, 60)


def test_one_per_prompt(bench):
    answer = ask(bench, DISK, prompt('POINTS', [(5, 5)]), mode=PromptArray.ONE_PER_PROMPT)
    first, second = answer.results
    assert list(map(math.isnan, first.agreement)) == [False, True]
    assert list(map(math.isnan, second.agreement)) == [True, False]
    labels = labels_of(answer.labels)
    assert np.array_equal(labels == 1, mask_of(first))
    assert np.array_equal(labels == 2, mask_of(second) & ~mask_of(first))


def test_prompts_on_every_new_frame(bench):
    first = begin(bench, DISK)
    assert (first.prompt_id > 0, first.message, len(first.segmentations)) == (True, '', 1)
    for _ in range(3):
        answer = bench.result_of(bench.show(PIXELS), bench.answers)
        assert answer.prompt_id == first.prompt_id
        [segmentation] = answer.segmentations
        assert segmentation.gaze_id == first.prompt_id
        assert segmentation.latency > 0
        assert np.array_equal(labels_of(answer.labels) > 0, mask_of(segmentation))


def test_a_new_array_replaces_the_old(bench):
    begin(bench, DISK)
    begin(bench, prompt('POINTS', [(5, 5)]))
    answer = bench.result_of(bench.show(PIXELS), bench.answers)
    assert answer.segmentations[0].gaze == Bench.point(5, 5)


def test_on_prompt_answers_once(bench):
    bench.set(mode='on_prompt')
    for _ in range(2):
        header = bench.show(PIXELS)
        answer = begin(bench, DISK)
        assert answer.header == header
    bench.show(PIXELS)
    following = begin(bench, prompt('POINTS', [MIDDLE]))
    ids = [a.prompt_id for a in bench.answers]
    assert ids.count(answer.prompt_id) == ids.count(following.prompt_id) == 1


def test_the_image_that_is_meant(bench):
    """By the stamp of the array, not the latest."""
    bench.set(mode='on_prompt')
    headers = [bench.show(picture(100 + i, 160)) for i in range(3)]
    stamp = headers[1].stamp
    answer = begin(bench, DISK, stamp=stamp.sec * 1_000_000_000 + stamp.nanosec)
    assert answer.header == headers[1]
    assert answer.segmentations[0].image_height == 101


def test_gaze_and_prompts_side_by_side(bench):
    begin(bench, DISK)
    bench.look_at(5, 5)
    header = bench.show(PIXELS)
    assert bench.result_of(header).gaze == Bench.point(5, 5)
    assert len(bench.result_of(header, bench.answers).segmentations) == 1


def test_clear_forgets_them(bench):
    begin(bench, DISK)
    assert bench.clear().message == 'prompt forgotten'
    assert bench.clear().message == 'there was no prompt'
    header = bench.show(PIXELS)
    begin(
        bench, prompt('POINTS', [MIDDLE])
    )  # after what the frame would have given
    bench.clear()
    assert header not in [a.header for a in bench.answers[:-1]]
    assert bench.diagnostics()['message'] == 'waiting for a prompt'


def test_timeout_forgets_them(bench):
    begin(bench, DISK)
    assert not bench.set(prompt_timeout=0.01)
    bench.until(
        lambda: bench.clear().message == 'there was no prompt', again=lambda: bench.show(PIXELS)
    )
    assert not bench.set(prompt_timeout=0.0)


def test_paused_node_ignores_them(bench):
    bench.enable(False)
    bench.prompt(DISK)
    assert ask(bench, DISK).success
    bench.enable(True)
    bench.show(PIXELS)
    assert bench.clear().message == 'there was no prompt'


def test_labels_and_overlay(bench):
    with bench.watching(Image, 'stt/labels', 'stt/prompt_overlay') as [labels, overlays]:
        bench.prompt(DISK)
        bench.until(lambda: labels and overlays, again=lambda: bench.show(PIXELS))
        header = bench.show(PIXELS)
        found = labels_of(bench.result_of(header, labels))
        overlay = to_array(bench.result_of(header, overlays)).astype(int)
        changed = np.abs(overlay - PIXELS).max(axis=2) > 0
        assert found.max() == 1
        assert changed[found > 0].mean() > 0.95
        assert changed[found == 0].mean() < 0.2  # the outline


def test_refine_takes_away_and_remembers(bench):
    [before] = ask(bench, DISK).results
    x, y = MIDDLE
    request = Refine.Request(negative=[Bench.point(x, y)])
    answer = bench.call(Refine, 'refine', request)
    assert (answer.success, answer.message) == (True, '')
    assert mask_of(before)[60, 80] and not mask_of(answer.results[0])[60, 80]
    request = Refine.Request(positive=[Bench.point(x + 20, y)])
    again = bench.call(Refine, 'refine', request)
    # The click before counts, too: of a plain disk nothing may be left then. Without it, all is.
    assert not any(mask_of(result)[60, 80] for result in again.results)
    [alone] = ask(bench, DISK, prompt('POINTS', [(x + 20, y)])).results
    assert mask_of(alone)[60, 80]


def test_refined_prompts_are_applied_to_new_frames(bench):
    begin(bench, DISK)
    request = Refine.Request(negative=[Bench.point(*MIDDLE)])
    assert bench.call(Refine, 'refine', request).success
    [segmentation] = bench.result_of(bench.show(PIXELS), bench.answers).segmentations
    assert not mask_of(segmentation)[60, 80]


RIM = [(62, 40), (98, 40), (98, 80), (62, 80)]
INSIDE = np.hypot(*(np.indices((120, 160)) - np.array([60, 80])[:, None, None])) < 30
SHOWN = {
    'points': [prompt('POINTS', [MIDDLE, (70, 50)], [(5, 5)])],
    'box': [DISK],
    'scribble': [prompt('SCRIBBLE', [(65, 50), (95, 70)], [(5, 5), (5, 100)])],
    'polygon': [prompt('POLYGON', RIM)],
    'lasso': [prompt('LASSO', [(45, 25), (115, 25), (115, 95), (45, 95)])],
    'mask': [prompt('MASK', mask=gray(INSIDE))],
    'cropped mask': [prompt('MASK', mask=gray(INSIDE[40:80, 60:100]), box=(60, 40, 40, 40))],
    'all of them': [DISK, prompt('POLYGON', RIM), prompt('POINTS', [MIDDLE])],
}


@pytest.mark.parametrize('name', SHOWN)
def test_every_kind_finds_the_disk(bench, name):
    answer = ask(bench, *SHOWN[name])
    assert (answer.success, answer.message) == (True, '')
    [result] = answer.results
    mask = mask_of(result)
    assert np.count_nonzero(mask & INSIDE) / np.count_nonzero(mask | INSIDE) > 0.5
    assert len(result.agreement) == len(SHOWN[name])
    assert min(result.agreement) > 0.4


def test_an_answer_can_be_a_prompt(bench):
    """Mask and roi of a hypothesis, sent back as they came."""
    [result] = ask(bench, DISK).results
    again = prompt('MASK', mask=result.hypotheses[0].mask)
    again.box = result.hypotheses[0].roi
    [second] = ask(bench, again).results
    assert second.agreement[0] > 0.8


EVERYTHING = prompt('EVERYTHING')


def test_everything(bench):
    answer = ask(bench, EVERYTHING, mode=PromptArray.ALL_INSTANCES)
    assert answer.success
    masks = [mask_of(result) for result in answer.results]
    assert max((m & INSIDE).sum() / (m | INSIDE).sum() for m in masks) > 0.7
    labels = labels_of(answer.labels)
    assert np.array_equal(labels == 1, masks[0])
    assert np.array_equal(labels > 0, np.any(masks, axis=0))


def test_cover_gives_every_pixel_away(bench):
    bench.set(label_image='cover')
    answer = ask(bench, EVERYTHING, mode=PromptArray.ALL_INSTANCES)
    labels = labels_of(answer.labels)
    assert 1 <= labels.min() <= labels.max() <= len(answer.results)
    bench.set(label_image='first')


def test_fewer_gazes_and_less_time(bench):
    """The grid's density, and a budget that is used up at once: what was found until then."""
    for values in ({'everything_points': 1}, {'everything_budget': 1e-6}):
        whole = ask(bench, EVERYTHING, mode=PromptArray.ALL_INSTANCES)
        bench.set(**values)
        less = ask(bench, EVERYTHING, mode=PromptArray.ALL_INSTANCES)
        assert less.success
        assert len(less.results) <= len(whole.results)
        if 'everything_points' in values:
            assert all((r.gaze.x, r.gaze.y) == (80, 60) for r in less.results)
        bench.set(everything_points=16, everything_budget=0.0)


def test_min_region_area(bench):
    """Larger than the picture: no holes stay, and one island."""
    bench.set(min_region_area=1000000)
    [result] = ask(bench, DISK).results
    mask = mask_of(result).astype(np.uint8)
    assert cv2.connectedComponents(mask)[0] == 2
    assert cv2.connectedComponents(1 - np.pad(mask, 1), connectivity=4)[0] == 2
    bench.set(min_region_area=0)


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
