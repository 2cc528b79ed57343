# SPDX-License-Identifier: Apache-2.0
"""Simulated time, from /clock: it stands still, runs and goes back; the node goes by it."""

import pytest
from ros_helpers import SECOND, running_bench
from ros_messages import picture
from rosgraph_msgs.msg import Clock

PIXELS = picture(120, 160)


@pytest.fixture
def bench(ros_domain):
    with running_bench(
        '-p', 'use_sim_time:=true', '-p', 'prompt_timeout:=30.0', '-p', 'gaze_smoothing:=100.0'
    ) as bench:
        bench.clock = bench.node.create_publisher(Clock, '/clock', 10)
        bench.until(bench.clock.get_subscription_count)
        yield bench


def drive(bench, seconds, gaze=None):
    """Publish /clock and what there is at that time; a gaze (x, y) has no stamp."""
    clock = Clock()
    clock.clock.sec = seconds
    bench.clock.publish(clock)
    if gaze:
        bench.gaze(*gaze, 0)
    return bench.image(PIXELS, seconds * SECOND)


def at(bench, seconds, x, gaze=None):
    """Go to a time until a frame of it is segmented at column x, with no latency: time stands."""
    stamp = bench.header(seconds * SECOND).stamp
    bench.until(
        lambda: any(
            r.header.stamp == stamp and r.latency == 0 and r.gaze.x == x for r in bench.results
        ),
        again=lambda: drive(bench, seconds, gaze), every=0.05,
    )  # fmt: skip


def age(bench):
    return bench.diagnostics()['prompt age (s)']


def test_prompts_and_latency_are_by_the_simulated_clock(bench):
    bench.until(
        lambda: bench.results, again=lambda: (drive(bench, 1000), bench.click(60, 40)), every=0.1
    )
    at(bench, 1000, 60)
    assert age(bench) == '0.0'
    at(bench, 1029, 60)
    assert age(bench) == '29.0'
    line = len(bench.process.lines)
    at(bench, 500, 60)  # a reset: the click stays, and is as old as the new time
    bench.process.wait_for_log('image stamps went back', after=line)
    assert age(bench) == '0.0'
    at(bench, 529, 60)
    at(bench, 529, 80, gaze=(80, 50))
    at(bench, 100, 90, gaze=(90, 50))  # smoothing did not take it for one that was overtaken
    assert age(bench) == '0.0'
    bench.until(lambda: age(bench) == 'no prompt', again=lambda: drive(bench, 131))
