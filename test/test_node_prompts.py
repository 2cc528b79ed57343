# SPDX-License-Identifier: Apache-2.0
"""Clicks and gaze streams, in both modes, paired with frames in time."""

import itertools

import pytest
from ros_helpers import SECOND
from ros_messages import picture

MS = SECOND // 1000
PIXELS = picture()
_later = itertools.count(1)


@pytest.fixture
def bench(running):
    """Return the running node without a prompt, and with its parameters as at start."""
    assert running.enable(True).success
    running.clear()
    assert not running.set(
        mode='continuous', max_sync_offset=0.5, prompt_timeout=0.0, gaze_space='auto',
        clicked_point_space='auto',
    )  # fmt: skip
    running.show(PIXELS)
    del running.results[:]
    return running


def gazes(bench):
    return [(result.gaze.x, result.gaze.y) for result in bench.results]


def answers(bench, x):
    """Return the results of a gaze at this column."""
    return [result for result in bench.results if result.gaze.x == x]


PROMPTS = {
    'rqt click': lambda bench, x, y: bench.click(x, y),
    'rqt click in the overlay': lambda bench, x, y: bench.click_overlay(x, y),
    'rviz click': lambda bench, x, y: bench.clicked_point(x, y),
    'rviz click in the image': lambda bench, x, y: bench.clicked_point(x, y, frame_id='camera'),
    'gaze': lambda bench, x, y: bench.gaze(x, y),
    'gaze without stamp': lambda bench, x, y: bench.gaze(x, y, stamp=0),
    'gaze in the image': lambda bench, x, y: bench.gaze(x, y, frame_id='camera'),
}


@pytest.mark.parametrize('mode', ['on_prompt', 'continuous'])
@pytest.mark.parametrize('kind', PROMPTS)
def test_every_prompt_in_every_mode(bench, mode, kind):
    bench.set(mode=mode)

    def prompt():
        bench.show(PIXELS)  # stamped prompts mean a picture of their time
        PROMPTS[kind](bench, 41.5, 30.25)
        if mode == 'continuous':
            bench.image(PIXELS)

    result = bench.until(lambda: answers(bench, 41.5), again=prompt)[0]
    assert result.gaze.y == 30.25


def test_three_quick_clicks_give_three_results(bench):
    bench.set(mode='on_prompt')
    header = bench.show(PIXELS)
    for x in (10.0, 20.0, 30.0):
        bench.click(x, 50)
    bench.until(lambda: answers(bench, 30.0))
    bench.click(40, 50)
    bench.until(lambda: answers(bench, 40.0))
    assert gazes(bench) == [(10.0, 50.0), (20.0, 50.0), (30.0, 50.0), (40.0, 50.0)]
    assert all(result.header == header for result in bench.results)
    ids = [result.gaze_id for result in bench.results]
    assert ids == list(range(ids[0], ids[0] + 4))


def test_on_prompt_ignores_frames(bench):
    bench.set(mode='on_prompt')
    bench.click(10, 10)
    bench.until(lambda: answers(bench, 10.0))
    for _ in range(3):
        bench.show(PIXELS)
    bench.click(20, 20)
    bench.until(lambda: answers(bench, 20.0))
    assert len(bench.results) == 2


def test_click_on_a_still_picture_is_answered_at_once(bench):
    """In continuous mode too, and right after the only frame."""
    bench.click(10, 10)
    bench.until(lambda: answers(bench, 10.0))
    bench.click(20, 20)
    bench.until(lambda: answers(bench, 20.0))


def test_continuous_gives_one_result_per_frame(bench):
    bench.look_at(60, 40)
    headers = [bench.image(PIXELS)]
    for _ in range(10):
        bench.result_of(headers[-1])
        headers.append(bench.image(PIXELS))
    bench.result_of(headers[-1])
    stamps = [r.header.stamp for r in bench.results if r.header in headers]
    assert stamps == [header.stamp for header in headers]
    assert {result.gaze_id for result in bench.results[-10:]} == {bench.results[-1].gaze_id}


def test_stamped_prompt_belongs_to_the_nearest_frame(bench):
    bench.set(mode='on_prompt')
    start = bench.now() + 500 * MS  # away from the frame that is there
    headers = [bench.show(PIXELS, start + i * 100 * MS) for i in range(3)]
    for i, offset in enumerate((-30, 40, 60, 140, 160, 400)):
        bench.clicked_point(10 + i, 20, start + offset * MS)
    bench.gaze(16, 20, start + 90 * MS)
    bench.click(17, 20)
    bench.until(lambda: answers(bench, 16.0) and answers(bench, 17.0))
    expected = dict(zip(range(10, 18), (0, 0, 1, 1, 2, 2, 1, 2), strict=True))
    for x, frame in expected.items():
        assert answers(bench, float(x))[0].header == headers[frame], x


@pytest.mark.parametrize('kind', ['gaze', 'clicked_point'])
@pytest.mark.parametrize('side', ['older', 'newer'])
def test_no_image_near_the_stamp(bench, side, kind):
    bench.set(mode='on_prompt')
    start = bench.now() + next(_later) * 100 * SECOND  # away from all other frames
    bench.show(PIXELS, start)
    stamp = start + (700 * MS if side == 'older' else -700 * MS)
    line = len(bench.process.lines)
    getattr(bench, kind)(10, 20, stamp)
    bench.process.wait_for_log(
        rf'{kind}: the nearest image is 0.700 s {side} than the stamp of the gaze; allowed: 0.5 s',
        after=line,
    )
    bench.set(max_sync_offset=0.8)
    getattr(bench, kind)(12, 20, stamp)
    bench.until(lambda: answers(bench, 12.0))
    assert not answers(bench, 10.0)


def test_prompt_timeout(bench):
    bench.look_at(60, 40)
    bench.set(prompt_timeout=0.3)
    bench.look_at(61, 40)
    bench.diagnostics(lambda values: float(values['prompt age (s)']) > 0.3)
    forgotten = bench.show(PIXELS)
    assert bench.diagnostics()['prompt age (s)'] == 'no prompt'
    bench.show(PIXELS)
    bench.look_at(62, 40)
    assert forgotten not in [result.header for result in bench.results]


def test_clear_forgets_the_prompt(bench):
    bench.look_at(60, 40)
    assert bench.clear().message == 'prompt forgotten'
    assert bench.clear().message == 'there was no prompt'
    assert bench.diagnostics()['message'] == 'waiting for a prompt'
    forgotten = bench.show(PIXELS)
    bench.show(PIXELS)
    bench.look_at(61, 40)
    assert forgotten not in [result.header for result in bench.results]


def test_paused_node_ignores_frames_and_prompts(bench):
    bench.look_at(60, 40)
    assert bench.enable(False).message == 'paused'
    received = int(bench.diagnostics()['frames received'])
    ignored = bench.image(PIXELS)
    values = bench.diagnostics(lambda values: int(values['frames received']) > received)
    assert values['message'] == 'paused by ~/enable'
    bench.click(70, 40)
    assert bench.enable(True).message == 'segmenting'
    result = bench.result_of(bench.show(PIXELS))
    assert result.gaze.x == 60.0  # the prompt from before the pause still holds
    assert ignored not in [result.header for result in bench.results]


def test_clock_that_goes_back(bench):
    """A bag that starts again: a click stays, gaze samples of the old time do not count."""
    start = bench.now()
    bench.look_at(60, 40)
    line = len(bench.process.lines)
    earliest = start - 100 * SECOND
    earlier = bench.show(PIXELS, earliest)
    bench.process.wait_for_log('image stamps went back', after=line)
    assert bench.result_of(earlier).gaze.x == 60.0
    line = len(bench.process.lines)
    later = start - 50 * SECOND
    bench.show(PIXELS, later)
    bench.gaze(30, 40, later)
    bench.until(lambda: answers(bench, 30.0), again=lambda: bench.image(PIXELS, later))
    before = bench.show(PIXELS, earliest)
    bench.process.wait_for_log('image stamps went back', after=line)
    bench.gaze(31, 40, earliest)
    bench.until(lambda: answers(bench, 31.0), again=lambda: bench.image(PIXELS, earliest + MS))
    assert before not in [result.header for result in answers(bench, 30.0)]
    told = [text for text in bench.process.lines[line:] if 'went back' in text]
    assert len(told) == 1


SPACES = [
    ('gaze', 'normalized', (0.25, 0.75), (40, 90)),
    ('gaze', 'normalized_bottom_left', (0.25, 0.75), (40, 30)),
    ('gaze', 'pixel', (50, 60), (50, 60)),
    ('clicked_point', 'normalized', (0.5, 0.25), (80, 30)),
    ('clicked_point', 'pixel', (51, 61), (51, 61)),
]


@pytest.mark.parametrize(('kind', 'space', 'sent', 'pixel'), SPACES)
def test_spaces_whatever_the_frame_says(bench, kind, space, sent, pixel):
    bench.set(mode='on_prompt', **{f'{kind}_space': space})
    taken = bench.now()
    bench.show(PIXELS, taken)
    getattr(bench, kind)(*sent, taken, frame_id='map', z=3.0)
    bench.until(lambda: pixel in gazes(bench))
