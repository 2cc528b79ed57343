# SPDX-License-Identifier: Apache-2.0
"""Eyes over DDS: clocks that differ, confidence, blinks, smoothing, fixations, several gazes."""

import itertools

import pytest
from ros_helpers import SECOND, running_bench
from ros_messages import picture, to_array
from sensor_msgs.msg import Image
from std_msgs.msg import Float32
from stt_ros.srv import ClearGaze

from stt_ros.ros.parameters import BY_NAME, LIVE

MS = SECOND // 1000
_later = itertools.count(1)
PIXELS = picture(300, 400)
DEFAULTS = {name: spec.default for name, spec in BY_NAME.items() if spec.when == LIVE}


ROS_ARGUMENTS = ('-p', 'gaze_confidence:=z')  # of the node that `running` starts


@pytest.fixture
def bench(running):
    """Return the running node as at start, with a frame, and gazes' confidence in their z."""
    assert not running.set(**DEFAULTS)
    running.clear()
    running.start = running.now() + next(_later) * 10 * SECOND  # later than all before
    running.show(PIXELS, running.start)
    del running.results[:]
    return running


def look(bench, *points, start=0, every=10, z=1.0):
    """Publish gaze samples, ``every`` so many ms of stamp, from ``start`` ms after the frame on."""
    for number, (x, y) in enumerate(points):
        bench.gaze(x, y, bench.start + (start + number * every) * MS, z=z)


def frame(bench, at):
    """Publish a frame ``at`` ms after the first one."""
    return bench.image(PIXELS, bench.start + at * MS)


def sees(bench, at, x, tolerance=1e-6):
    """Publish a frame of ``at`` ms until, all samples having come, it is segmented at column x."""
    stamp = bench.header(bench.start + at * MS).stamp
    return bench.until(
        lambda: any(
            r.header.stamp == stamp and abs(r.gaze.x - x) <= tolerance for r in bench.results
        ),
        again=lambda: frame(bench, at), every=0.05,
    )  # fmt: skip


def seen(bench):
    return [(result.gaze.x, result.gaze.y) for result in bench.results]


def fixated(bench, start):
    """Fixate something else, and return what was segmented before: all samples have come then."""
    look(bench, *[(350, 250)] * 40, start=start)
    bench.until(lambda: (350, 250) in seen(bench))
    return seen(bench)[:-1]


def test_gaze_time_offset(bench):
    bench.set(mode='on_prompt', gaze_time_offset=1000.25)
    bench.gaze(60, 40, bench.start - 1000 * SECOND - 250 * MS, z=1.0)
    assert bench.until(lambda: bench.results)[0].gaze.x == 60
    bench.set(gaze_time_offset=0.0)


def test_each_frame_gets_the_gaze_of_its_time(bench):
    look(bench, *[(10 + i, 20) for i in range(30)], every=5)
    for at in (12, 101):
        sees(bench, at, 10 + at / 5)


def test_images_that_come_seconds_late(bench):
    """As over a slow network: the gaze of their time is still known, up to max_sync_offset."""
    bench.set(max_sync_offset=4.0)
    look(bench, *[(10 + i, 20) for i in range(43)], every=70)
    name = 'gaze samples without confidence'
    before = int(bench.diagnostics().get(name, 0))
    look(bench, (0, 0), start=3000, z=0.0)  # the last one
    bench.diagnostics(lambda values: int(values.get(name, 0)) > before)
    sees(bench, 140, 12)


def test_a_tracker_that_has_stopped(bench):
    look(bench, (60, 40), (60, 40))
    sees(bench, 100, 60)
    line = len(bench.process.lines)
    frame(bench, 700)
    bench.process.wait_for_log(
        r'gaze: the nearest sample is 0.690 s before the image; allowed: 0.5 s .*gaze_time_offset',
        after=line,
    )
    bench.set(max_sync_offset=1.0)
    sees(bench, 800, 60)


@pytest.mark.parametrize('seconds', [-1000, 1000], ids=['past', 'future'])
def test_one_wrong_stamp_costs_nothing_but_its_sample(bench, seconds):
    look(bench, (60, 40), (61, 40))
    sees(bench, 10, 61)
    line = len(bench.process.lines)
    look(bench, (300, 200), start=1000 * seconds)
    look(bench, (62, 40), start=20)
    sees(bench, 20, 62)
    sees(bench, 5, 60.5)  # what came before is not forgotten either
    side = 'newer' if seconds < 0 else 'older'
    reason = bench.diagnostics()['last reason, gaze']
    assert f'{side} than the stamp of the gaze; allowed: 1 s' in reason
    assert not [text for text in bench.process.lines[line:] if 'went back' in text]
    assert 300 not in {x for x, _ in seen(bench)}


def test_a_single_stamped_gaze_holds_for_max_sync_offset(bench):
    """One without stamp holds as a click does."""
    look(bench, (60, 40))
    sees(bench, 490, 60)
    frame(bench, 520)
    bench.diagnostics(
        lambda values: (
            'nearest sample is 0.520 s before the image; allowed: 0.5 s'
            in values.get('last reason, gaze', '')
        )
    )
    bench.gaze(70, 40, stamp=0, z=1.0)
    sees(bench, 60_000, 70)
    bench.click(80, 40)
    sees(bench, 120_000, 80)


def test_samples_without_confidence_do_not_count(bench):
    bench.set(mode='on_prompt')
    for x, confidence in ((60, 0.59), (61, 0.6), (62, float('nan')), (63, 0.61)):
        look(bench, (x, 40), start=x, z=confidence)
    bench.until(lambda: (63, 40) in seen(bench))
    assert not {60, 62} & {x for x, _ in seen(bench)}
    bench.set(min_confidence=0.3)
    look(bench, (64, 40), start=100, z=0.31)
    bench.until(lambda: (64, 40) in seen(bench))
    counted = bench.diagnostics(lambda values: 'gaze samples without confidence' in values)
    assert int(counted['gaze samples without confidence']) >= 2


def test_confidence_on_a_topic_of_its_own():
    with running_bench('-p', 'gaze_confidence:=pupil/confidence', '-p', 'mode:=on_prompt') as bench:
        bench.show(PIXELS)
        bench.gaze(50, 50)
        bench.process.wait_for_log('gaze: no confidence has come on pupil/confidence yet')
        publisher = bench.node.create_publisher(Float32, 'pupil/confidence', 10)
        bench.until(publisher.get_subscription_count)

        def look(x, confidence):
            publisher.publish(Float32(data=confidence))
            bench.gaze(x, 50, 0)

        bench.until(lambda: (60.0, 50.0) in seen(bench), again=lambda: look(60, 0.9))
        before = int(bench.diagnostics().get('gaze samples without confidence', 0))
        bench.until(
            lambda: int(bench.diagnostics().get('gaze samples without confidence', 0)) > before,
            again=lambda: look(70, 0.1),
        )
        bench.until(lambda: (80.0, 50.0) in seen(bench), again=lambda: look(80, 1.0))


def test_blinks_are_bridged_up_to_blink_hold(bench):
    look(bench, (60, 40), (60, 40))
    look(bench, *[(0, 0)] * 40, start=20, every=20, z=0.0)  # closed for 800 ms
    look(bench, (200, 150), start=820)
    sees(bench, 825, 200)
    sees(bench, 300, 60)
    closed = frame(bench, 600)
    sees(bench, 826, 200)
    assert closed not in [result.header for result in bench.results]
    bench.set(blink_hold=2.0)
    look(bench, (210, 150), start=1000)
    look(bench, *[(0, 0)] * 35, start=1020, every=20, z=0.0)
    sees(bench, 1690, 210)


@pytest.mark.parametrize(
    ('beta', 'moved'), [(0.0, (0.3, 0.6)), (10.0, (0.99, 1.0))], ids=['calm', 'quick']
)
def test_smoothing(bench, beta, moved):
    """A step of 100 px; 15 samples at 100 Hz later, at a cutoff of 0.5 Hz."""
    bench.set(gaze_smoothing=0.5, gaze_smoothing_beta=beta)
    look(bench, *[(50, 40)] * 10, *[(150, 40)] * 15)
    low, high = moved
    sees(bench, 240, 50 + 50 * (low + high), 50 * (high - low))


FIXATIONS = [(60, 40)] * 20 + [(100, 80), (140, 120)] + [(200, 150)] * 20 + [(50, 60), (90, 120)]


@pytest.mark.parametrize('mode', ['continuous', 'on_prompt'])
@pytest.mark.parametrize('method', ['ivt', 'idt'])
def test_one_segmentation_per_fixation(bench, method, mode):
    bench.set(gaze_mode='fixations_only', fixation_method=method, mode=mode)
    look(bench, *FIXATIONS[:22])
    bench.until(lambda: len(bench.results) == 1)
    look(bench, *FIXATIONS[22:], start=220)
    bench.until(lambda: len(bench.results) == 2)
    frame(bench, 450)
    assert fixated(bench, 500) == [(60, 40), (200, 150)]
    first, second, *_ = bench.results
    assert second.gaze_id == first.gaze_id + 1


@pytest.mark.parametrize('kind', ['velocity', 'dispersion'])
def test_thresholds_in_pixels(bench, kind):
    """A drift of 300 px/s, 45 px in the shortest fixation."""
    method = {'velocity': 'ivt', 'dispersion': 'idt'}[kind]
    drift = [(60 + 3 * i, 40) for i in range(30)]
    few, many = {'velocity': (290.0, 310.0), 'dispersion': (25.0, 55.0)}[kind]
    bench.set(gaze_mode='fixations_only', fixation_method=method, fixation_min=0.15)
    bench.set(**{f'fixation_{kind}_px': few})
    look(bench, *drift)
    assert fixated(bench, 300) == []
    frame(bench, 1000)
    bench.set(**{f'fixation_{kind}_px': many})
    look(bench, *drift, start=1000)
    bench.until(lambda: any(x < 150 for x, _ in seen(bench)))


def test_fixation_min(bench):
    bench.set(gaze_mode='fixations_only', fixation_min=0.25)
    look(bench, *[(60, 40)] * 20, (100, 80), (140, 120), *[(200, 150)] * 27)
    bench.until(lambda: bench.results)
    frame(bench, 500)
    assert fixated(bench, 500) == [(200, 150)]


def test_a_dwell_is_a_click(bench):
    bench.set(gaze_mode='dwell', dwell_time=0.3, max_sync_offset=1.0)
    look(bench, *[(60, 40)] * 20, (100, 80), (140, 120), start=0)
    look(bench, *[(200, 150)] * 40, start=220)
    assert bench.until(lambda: bench.results)[0].gaze.x == 200
    look(bench, (20, 20), (300, 250), (20, 20), start=700)
    bench.until(lambda: len(bench.results) > 20, again=lambda: frame(bench, 900), every=0.02)
    assert {x for x, _ in seen(bench)} == {200}  # it stays, wherever the eyes go
    assert len({result.gaze_id for result in bench.results}) == 1


def test_several_clicks_are_followed(bench):
    bench.set(multi=True, max_gazes=3)
    for x in (50, 100, 150, 200):
        bench.click(x, 100)
    bench.until(lambda: len(seen(bench)) >= 3 and seen(bench)[-1][0] == 200)

    def followed(at):
        start = len(bench.results)
        header = bench.until(lambda: frame(bench, at))
        bench.result_of(header)
        settled = frame(bench, at + 1)
        bench.result_of(settled)
        return {r.gaze_id: r.gaze.x for r in bench.results[start:] if r.header == header}

    ids = followed(100)
    assert list(ids.values()) == [100, 150, 200]
    assert sorted(ids) == list(range(min(ids), min(ids) + 3))
    look(bench, (300, 200), start=150)
    bench.until(lambda: 300 in followed(200).values())
    middle = list(ids)[1]
    answer = bench.call(ClearGaze, 'clear_gaze', ClearGaze.Request(gaze_id=middle))
    assert answer.success and answer.message.startswith(f'gaze {middle} forgotten; followed now: ')
    assert sorted(followed(300).values()) == [100, 200, 300]
    answer = bench.call(ClearGaze, 'clear_gaze', ClearGaze.Request(gaze_id=middle))
    assert not answer.success and f'there is no gaze {middle}; followed now: ' in answer.message
    assert bench.call(ClearGaze, 'clear_gaze').message == 'all forgotten; followed now: none'
    assert bench.diagnostics()['message'] == 'waiting for a prompt'
    assert bench.clear().message == 'there was no prompt'


def test_mask_and_overlay_show_all_that_is_followed(bench):
    bench.set(multi=True)
    with bench.watching(Image, 'stt/mask', 'stt/overlay') as (masks, overlays):
        for x in (50.0, 200.0):
            bench.click(x, 150)
        bench.until(lambda: masks and overlays and len({r.gaze_id for r in bench.results}) == 2)
        header = bench.until(lambda: frame(bench, 100))
        mask = to_array(bench.result_of(header, masks)) > 0
        bench.result_of(header, overlays)
    bench.until(lambda: len([r for r in bench.results if r.header == header]) >= 2)
    union = 0 * mask
    for result in [r for r in bench.results if r.header == header]:
        best = result.hypotheses[0]
        crop = to_array(best.mask) > 0
        x, y = best.roi.x_offset, best.roi.y_offset
        union[y : y + crop.shape[0], x : x + crop.shape[1]] |= crop
    assert (mask == union).all()
