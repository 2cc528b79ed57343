# SPDX-License-Identifier: Apache-2.0
"""Prompts that make no sense, over DDS: a reason, nothing lost, and the node goes on."""

import math
import re
import threading

import numpy as np
import pytest
from node_here import node_here
from node_process import TIMEOUT
from prompt_messages import DISK, gray, prompt, rgb, tone
from ros_helpers import Image, Segment, running_bench
from ros_messages import picture, raw_image
from std_msgs.msg import Header
from stt_ros.msg import Prompt, PromptArray
from stt_ros.srv import Refine, SetReference

PIXELS = picture(120, 160)
SIZE = '160 x 120 pixels'
SMALL = np.ones((10, 20), bool)

# name: prompts, mode, what the reason says
BAD = {
    'no prompts': ([], 0, r'prompts is empty; at least one is needed'),
    'unset kind': ([prompt('POINTS')], 0, 'there is no point; expected at least one'),
    'contradiction': ([prompt('POINTS', [(9, 9)], [(9, 9)])], 0,
                      r'points contradict each other: pixel \(9, 9\) is positive and negative'),
    'only negative': ([prompt('POINTS', negative=[(9, 9)])], 0, 'there are only negative points'),
    'point outside': ([prompt('POINTS', [(160, 5)])], 0,
                      rf'point \(160, 5\) is outside the image of {SIZE}'),
    'point not finite': ([prompt('POINTS', [(math.nan, 5)])], 0, 'must be finite'),
    'box empty': ([prompt('BOX', box=(5, 5, 0, 9))], 0, r'box \(x=5, y=5, 0 x 9\) is empty'),
    'box outside': ([prompt('BOX', box=(500, 5, 9, 9))], 0, rf'is outside the image of {SIZE}'),
    'stroke outside': ([prompt('SCRIBBLE', [(5, 5), (5, 200)])], 0, r'is outside the image'),
    'no stroke': ([prompt('SCRIBBLE')], 0, 'the scribble has no stroke'),
    'strokes cross': ([prompt('SCRIBBLE', [(0, 5), (9, 5)], [(5, 0), (5, 9)])], 0,
                      'strokes contradict each other'),
    'two corners': ([prompt('POLYGON', [(5, 5), (9, 9)])], 0, 'has 2 corners; expected 3 or more'),
    'flat lasso': ([prompt('LASSO', [(5, 5), (9, 9), (13, 13)])], 0, 'the outline has no area'),
    'mask size': ([prompt('MASK', mask=gray(SMALL))], 0, 'mask of 20 x 10 pixels for an image of'),
    'mask empty': ([prompt('MASK', mask=gray(np.zeros((120, 160))))], 0, 'is empty'),
    'mask colour': ([prompt('MASK', mask=rgb(PIXELS))], 0, "encoding 'rgb8'; allowed: mono8, 8UC1"),
    'no mask': ([prompt('MASK')], 0, "mask has encoding ''; allowed: mono8, 8UC1"),
    'mask and its box': ([prompt('MASK', mask=gray(SMALL), box=(0, 0, 9, 9))], 0,
                         'mask of 20 x 10 pixels in a box of 9 x 9'),
    'mask leaves': ([prompt('MASK', mask=gray(SMALL), box=(150, 0, 20, 10))], 0,
                    r'box \(x=150, y=0, 20 x 10\) of the mask leaves the image'),
    'text': ([prompt('TEXT', text='mug ' * 2500)], 2, 'has 9999 characters; at most 300'),
    'no text': ([prompt('TEXT')], 2, "text is ''; expected words"),
    'silence': ([prompt('AUDIO', **tone(loud=0))], 2, 'the sound is silent: its level is'),
    'no sound': ([prompt('AUDIO')], 2, '0 samples per second; allowed: 4000'),
    'long sound': ([prompt('AUDIO', **tone(31))], 2, 'lasts 31 s; allowed: 0.1 to 30 s'),
    'example mask': ([prompt('EXAMPLE', picture=rgb(PIXELS), mask=gray(SMALL))], 2,
                     'mask of the example is 20 x 10 pixels; its picture has 160 x 120'),
    'no reference': ([prompt('EXAMPLE')], 2, 'no reference is set: call ~/set_reference'),
    # Of a kind that no case before has: like troubles are logged once in a while only.
    'second of two': ([DISK, Prompt(kind=77)], 1, r'prompts\[1\]: kind is 77; allowed'),
    'one of all': ([prompt('EVERYTHING')], 0, 'everything alone is many things: all_instances'),
    'mode': ([DISK], 7, r'mode is 7; allowed: 0 \(one_object\), 1 \(one_per_prompt\), 2'),
    'no model': ([prompt('TEXT', text='a mug')], 2, 'transformers|is not on this machine'),
}  # fmt: skip


# Of the node that `running` starts.
ROS_ARGUMENTS = ('-p', 'local_files_only:=true', '-p', 'mode:=on_prompt')


@pytest.fixture
def bench(running):
    """Return the running node with an image."""
    running.show(PIXELS)
    return running


def served(bench):
    """Check that the node goes on: good prompts are answered, by topic and by service."""
    before = max((answer.prompt_id for answer in bench.answers), default=0)
    bench.prompt(DISK)
    answer = bench.until(lambda: next((a for a in bench.answers if a.prompt_id > before), None))
    assert len(answer.segmentations) == 1
    assert bench.call(Segment, 'segment', Segment.Request(prompts=[DISK])).success


@pytest.mark.parametrize('name', BAD)
def test_bad_prompts(bench, name):
    prompts, mode, words = BAD[name]
    line = len(bench.process.lines)
    answer = bench.call(Segment, 'segment', Segment.Request(prompts=prompts, mode=mode))
    assert (answer.success, len(answer.results)) == (False, 0)
    # Without any the request is one of points.
    assert re.search(words if prompts else 'points is empty', answer.message), answer.message
    bench.prompt(*prompts, mode=mode)
    bench.process.wait_for_log(rf'prompt: .*({words})', after=line)
    served(bench)


def test_reasons_are_in_the_diagnostics(bench):
    """How many were dropped, and why the last one was."""
    values = bench.diagnostics()
    before = int(values.get('rejected prompt', 0)), int(values['messages rejected'])
    strange = prompt('POINTS', [(5, 5)])
    strange.kind = 77
    bench.prompt(strange)
    values = bench.diagnostics(lambda v: int(v.get('rejected prompt', 0)) > before[0])
    assert int(values['rejected prompt']) == before[0] + 1
    assert int(values['messages rejected']) == before[1] + 1
    assert values['last reason, prompt'].startswith('prompts[0]: kind is 77; allowed: 1 (POINTS)')
    served(bench)


def test_points_and_prompts(bench):
    request = Segment.Request(points=[bench.point(5, 5)], prompts=[DISK])
    answer = bench.call(Segment, 'segment', request)
    assert 'there are 1 points and 1 prompts; either points' in answer.message


def test_prompts_in_force_stay(bench):
    """What was said before goes on when something senseless comes after it."""
    bench.set(mode='continuous')
    before = max((answer.prompt_id for answer in bench.answers), default=0)
    bench.prompt(DISK)
    first = bench.until(lambda: next((a for a in bench.answers if a.prompt_id > before), None))
    line = len(bench.process.lines)
    # A trouble that no other test here has: like ones are logged once in a while only.
    bench.prompt(prompt('POLYGON', [(500, 500), (600, 500), (550, 600)]))
    bench.process.wait_for_log('the outline .* is outside the image', after=line)
    answer = bench.result_of(bench.show(PIXELS), bench.answers)
    assert answer.prompt_id == first.prompt_id
    bench.clear()
    bench.set(mode='on_prompt')


def test_a_model_that_is_missing_leaves_the_rest(bench):
    """Words and a box: the box is answered, and told that the words were left out."""
    prompts = [prompt('TEXT', text='a disk'), DISK]
    answer = bench.call(Segment, 'segment', Segment.Request(prompts=prompts))
    assert answer.success
    assert re.match(r'prompts\[0\]: .*(transformers|is not on this machine)', answer.message)
    [result] = answer.results
    assert list(map(math.isnan, result.agreement)) == [True, False]


def test_nothing_to_refine():
    with running_bench() as bench:
        answer = bench.call(Refine, 'refine', Refine.Request(positive=[bench.point(5, 5)]))
        assert not answer.success
        assert answer.message == 'there is no answer to refine yet: send prompts first'
        answer = bench.call(SetReference, 'set_reference')
        assert not answer.success
        assert 'picture is empty, and no answer to prompts shows a thing' in answer.message


BAD_CLICKS = {
    'none': ([], [], 'there is no point'),
    'both': ([(5, 5)], [(5, 5)], 'contradict each other'),
    'outside': ([], [(5, 500)], 'outside the image'),
}


@pytest.mark.parametrize('name', BAD_CLICKS)
def test_bad_clicks(bench, name):
    positive, negative, words = BAD_CLICKS[name]
    served(bench)
    request = Refine.Request(
        positive=[bench.point(*p) for p in positive], negative=[bench.point(*p) for p in negative]
    )
    answer = bench.call(Refine, 'refine', request)
    assert (answer.success, len(answer.results)) == (False, 0)
    assert words in answer.message
    good = Refine.Request(positive=[bench.point(80, 60)])
    assert bench.call(Refine, 'refine', good).success


def test_bad_references(bench):
    for mask, words in (
        (gray(SMALL), 'mask of the example is 20 x 10 pixels; its picture has 160 x 120'),
        (gray(np.zeros((120, 160))), 'mask of the example is empty'),
        (Image(), "mask has encoding ''; allowed: mono8, 8UC1"),
        (gray(PIXELS[..., 0] > 200), 'transformers|is not on this machine'),
    ):
        request = SetReference.Request(picture=rgb(PIXELS), mask=mask)
        answer = bench.call(SetReference, 'set_reference', request)
        assert not answer.success
        assert re.search(words, answer.message)
    assert bench.call(Segment, 'segment', Segment.Request(prompts=[DISK])).success


def test_before_the_first_image():
    with running_bench() as bench:
        bench.prompt(DISK)
        bench.process.wait_for_log('prompt: no image has been received yet')
        answer = bench.call(Segment, 'segment', Segment.Request(prompts=[DISK]))
        assert answer.message == 'no image in the request, and none has been received yet'


def test_too_many_at_once():
    """The node in this process, its thread for prompts held: what cannot wait is refused."""
    begun, gate = threading.Event(), threading.Event()
    with node_here() as (node, _):
        node.trigger_configure()
        node.trigger_activate()
        node.pipeline.on_image(raw_image(PIXELS, 'rgb8', Header()))
        prompting = node.pipeline.prompting
        prompting.worker.post(lambda: begun.set() or gate.wait())
        assert begun.wait(TIMEOUT)
        while prompting.worker.post(gate.wait):
            pass
        prompting.on_prompts(PromptArray(prompts=[DISK]))
        gate.set()
        values = {value.key: value.value for value in node.monitor.values()}
    assert values['last reason, prompt'] == 'too many prompts wait to be answered'
