# SPDX-License-Identifier: Apache-2.0
"""Boxes, scribbles and the like over DDS: by topic, by service, on every frame, refined."""

import math

import numpy as np
import pytest
from prompt_messages import DISK, INSIDE, MIDDLE, ask, begin, gray, labels_of, mask_of, prompt
from ros_helpers import Bench, Image
from ros_messages import picture, raw_image, to_array
from stt_ros.msg import PromptArray
from stt_ros.srv import Refine

from stt_ros import prompts
from stt_ros.segmenter import Segmenter

PIXELS = picture(120, 160)


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter.create(threads=1)


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
    begin(bench, prompt('POINTS', [MIDDLE]))  # after what the frame would have given
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
