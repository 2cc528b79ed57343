# SPDX-License-Identifier: Apache-2.0
"""What the diagnostics say when messages come but nothing can be made of them."""

import math

import pytest
from ros_helpers import SECOND, running_bench
from ros_messages import picture, raw_image
from rosgraph_msgs.msg import Clock

PIXELS = picture()
OK, WARN = b'\x00', b'\x01'


def healthy(bench):
    """Send good images and gazes until the node is content."""
    bench.until(
        lambda: bench.diagnostics()['message'] == 'segmenting',
        again=lambda: (bench.image(PIXELS), bench.gaze(60, 40)), every=0.1,
    )  # fmt: skip


def warned(bench, words, again):
    """Send something until the node warns that nothing comes of it."""
    seen = []

    def warns():
        bench.spin(0.05)
        seen[:] = [s for s in bench._statuses[-1:] if words in s['message']]
        return seen

    bench.until(warns, again=again, every=0.1)
    assert seen[0]['level'] == WARN
    assert seen[0]['message'].startswith('no result for ')


def test_gazes_of_another_clock(bench):
    healthy(bench)
    ahead = 3600 * SECOND
    warned(
        bench, 's; gaze: the nearest image is 3',
        lambda: (bench.image(PIXELS), bench.gaze(60, 40, bench.now() + ahead)),
    )  # fmt: skip
    bench.gaze(60, 40, bench.now())
    healthy(bench)


def test_images_that_cannot_be_read(bench):
    healthy(bench)
    warned(
        bench, "s; image: encoding '64FC4' is not supported",
        lambda: bench.publish(bad_image(bench)),
    )  # fmt: skip
    healthy(bench)


def bad_image(bench):
    msg = raw_image(PIXELS, 'rgb8', bench.header())
    msg.encoding = '64FC4'
    return msg


def test_one_of_many_is_no_trouble(bench):
    """Results come, so that what is dropped beside them is no reason to warn."""

    def send():
        bench.image(PIXELS)
        bench.gaze(60, 40)
        bench.gaze(-60, 40)

    bench.until(lambda: bench.results, again=send, every=0.1)
    rejected = int(bench.diagnostics(lambda s: s['level'] == OK)['messages rejected'])
    start = len(bench._statuses)
    bench.until(
        lambda: int(bench._statuses[-1]['messages rejected']) > rejected + 20, again=send, every=0.1
    )
    assert {status['level'] for status in bench._statuses[start:]} == {OK}


@pytest.fixture
def timeless(ros_domain):
    with running_bench('-p', 'use_sim_time:=true') as bench:
        yield bench


def test_simulated_time_that_does_not_begin(timeless):
    bench = timeless

    def send():
        bench.image(PIXELS)
        bench.click(60, 40)

    words = 'use_sim_time is set, but no time has come on /clock'
    bench.until(
        lambda: bench._statuses and bench._statuses[-1]['message'] == words, again=send, every=0.1
    )
    assert bench._statuses[-1]['level'] == WARN
    bench.process.wait_for_log(f'WARN.*clock: {words}')
    bench.until(lambda: bench.results, again=send, every=0.1)
    assert all(math.isnan(result.latency) for result in bench.results)
    assert bench._statuses[-1]['latency p50 (ms)'] == 'none yet'
    clock = bench.node.create_publisher(Clock, '/clock', 10)
    now = Clock(clock=bench.header(bench.now()).stamp)
    bench.until(
        lambda: not math.isnan(bench.results[-1].latency),
        again=lambda: (clock.publish(now), send()), every=0.1,
    )  # fmt: skip
    assert bench.diagnostics()['message'] == 'segmenting'
