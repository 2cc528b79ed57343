# SPDX-License-Identifier: Apache-2.0
"""Which gaze belongs to a frame, and which frame to a gaze, whatever the rates and latencies."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.gaze.attention import Attention
from stt_ros.gaze.pairing import SECOND, GazeTrack, RecentFrames, StampWatch

MS = SECOND // 1000
GAP = 75 * MS  # what is interpolated at most


def filled(*samples):
    """Return a track of samples (ms, x)."""
    track = GazeTrack()
    for time, x in samples:
        track.add(time * MS, x, 0)
    return track


def test_gaze_is_interpolated_and_held_beyond_the_ends():
    track = GazeTrack()
    assert track.at(5) is None and track.offset(5) is None
    track.add(100 * MS, 10, 0)
    track.add(116 * MS, 26, 32)
    assert track.at(104 * MS) == (14, 8)
    assert track.at(100 * MS) == (10, 0)
    assert track.at(0) == (10, 0)
    assert track.at(10 * SECOND) == (26, 32)


def test_not_older_and_not_newer_than_the_limit():
    track = filled((100, 1), (110, 2))
    assert track.at(610 * MS, 500 * MS) == (2, 0)
    assert track.at(611 * MS, 500 * MS) is None
    assert track.at(50 * MS, 50 * MS) == (1, 0)
    assert track.at(49 * MS, 50 * MS) is None
    assert (track.offset(611 * MS), track.offset(49 * MS)) == (501 * MS, -51 * MS)


def test_across_a_long_gap_the_nearer_sample_counts():
    track = filled((0, 10), (76, 20), (151, 30))
    assert [track.at(t * MS)[0] for t in (1, 37, 39, 75)] == [10, 10, 20, 20]
    assert track.at(113 * MS + MS // 2)[0] == 25  # 75 ms are bridged
    assert track.at(38 * MS, 30 * MS) is None


def test_nobody_looks_while_the_eyes_are_closed():
    track = GazeTrack()
    track.lose(10 * MS)
    assert not len(track)  # nothing to lose
    track.add(20 * MS, 1, 1)
    track.lose(50 * MS)
    track.add(90 * MS, 2, 2)
    assert [track.at(t * MS) for t in (20, 49, 50, 60, 89, 90)] == [
        (1, 1), (1, 1), None, None, None, (2, 2),
    ]  # fmt: skip
    track.lose(100 * MS)
    assert track.latest() is None and track.at(SECOND) is None


@given(st.lists(st.tuples(st.integers(0, 900), st.floats(0, 640)), min_size=1), st.randoms())
def test_order_of_arrival_does_not_matter(samples, random):
    samples = list({time: (time, x) for time, x in samples}.values())  # one sample per stamp
    ordered, shuffled = filled(*sorted(samples)), GazeTrack()
    random.shuffle(samples)
    for time, x in samples:
        shuffled.add(time * MS, x, 0)
    for time in range(-10, 920, 31):
        x, _ = ordered.at(time * MS)
        assert shuffled.at(time * MS) == (x, 0)
        assert min(v for _, v in samples) - 1e-9 <= x <= max(v for _, v in samples) + 1e-9


def moving(time):
    """Return where a gaze that wanders at up to 1000 px/s is."""
    return 320 + 100 * math.sin(10 * time / SECOND)


@settings(max_examples=60, deadline=None)
@given(
    gaze_rate=st.floats(30, 250), image_rate=st.floats(5, 120), seed=st.integers(0, 2**16),
    gaze_latency=st.integers(0, 200), image_latency=st.integers(0, 200),
    loss=st.floats(0, 0.5), disorder=st.integers(0, 60), limit=st.integers(5, 500),
)  # fmt: skip
def test_every_frame_gets_the_gaze_of_its_time(
    gaze_rate, image_rate, seed, gaze_latency, image_latency, loss, disorder, limit
):
    """Whatever has arrived by then: as near to the truth as its nearest samples in time allow."""
    chance = random.Random(seed)
    events = []  # (arrival, stamp, is an image)
    for number in range(int(gaze_rate)):
        stamp = int(number / gaze_rate * SECOND)
        if chance.random() >= loss:
            late = (gaze_latency + chance.randint(0, disorder)) * MS
            events.append((stamp + late, stamp, False))
    for number in range(int(image_rate)):
        stamp = int(number / image_rate * SECOND)
        events.append((stamp + image_latency * MS, stamp, True))
    track, stamps = GazeTrack(), []
    for _, stamp, is_image in sorted(events):
        if not is_image:
            track.add(stamp, moving(stamp), 0)
            stamps.append(stamp)
            continue
        found = track.at(stamp, limit * MS)
        nearest = min((abs(stamp - s) for s in stamps), default=None)
        if nearest is None or nearest > limit * MS:
            assert found is None
            continue
        # Interpolated values lie between two samples of the truth, at most a gap away.
        assert abs(found[0] - moving(stamp)) <= 1000 * max(nearest, GAP) / SECOND + 1e-6
        exact = moving(stamp) if stamp in stamps else None
        assert exact is None or found[0] == pytest.approx(exact)


@given(
    rate=st.floats(5, 120), latency=st.integers(-200, 200), megapixels=st.floats(0.1, 8.3),
)  # fmt: skip
def test_every_gaze_gets_the_frame_of_its_time(rate, latency, megapixels):
    """Up to 200 ms late, as far as memory allows; never fewer than 8 frames are kept."""
    frames = RecentFrames()
    stamps = [int(n / rate * SECOND) for n in range(100)]
    for stamp in stamps:
        frames.add(stamp, stamp, int(3e6 * megapixels))
    gaze = stamps[-1] - latency * MS
    kept = stamps[-max(8, min(64, int(64e6 / int(3e6 * megapixels)))) :]
    assert frames.nearest(gaze)[0] == min(kept, key=lambda stamp: abs(stamp - gaze))
    assert frames.nearest(-(10**18))[0] == kept[0]


def test_only_recent_samples_are_kept():
    track = GazeTrack(span=SECOND)
    for i in range(10_000):
        track.add(i * 5 * MS, i, 0)
    assert len(track) == 201


def test_the_frame_nearest_in_time():
    frames = RecentFrames()
    assert frames.latest() is None and frames.nearest(3) is None
    for i in range(5):
        frames.add(i * 40 * MS, i)
    assert frames.latest() == 4
    assert frames.nearest(130 * MS)[1] == 3
    frames.add(-2 * SECOND, 'a clock that went back')
    assert frames.nearest(130 * MS)[1] == 'a clock that went back'


@settings(max_examples=40, deadline=None)
@given(
    loops=st.integers(1, 3), length=st.integers(2500, 5000), gaze_rate=st.floats(30, 250),
    image_rate=st.floats(5, 120), gaze_latency=st.integers(0, 200), offset=st.integers(-400, 400),
    image_latency=st.integers(0, 200), disorder=st.integers(0, 60), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_a_bag_that_starts_again_is_noticed_once(
    loops, length, gaze_rate, image_rate, gaze_latency, offset, image_latency, disorder, seed
):
    """And nothing of the time before gets through once one of the streams has started again."""
    chance, events = random.Random(seed), []
    for loop in range(loops):
        for stream, rate, latency in (
            ('gaze', gaze_rate, gaze_latency), ('image', image_rate, image_latency),
        ):  # fmt: skip
            for number in range(int(length / 1000 * rate)):
                at = int(number / rate * 1000)
                arrival = loop * length + at + latency + chance.randint(0, disorder)
                events.append((arrival, loop, stream, at + (offset if stream == 'gaze' else 0)))
    watch, noticed = StampWatch(), 0
    for _, loop, stream, stamp in sorted(events):
        found = watch.check(stream, 10 * SECOND + stamp * MS, sure=stream == 'image')
        noticed += found == StampWatch.BACK
        if found == StampWatch.ALONE:  # the first gazes, as long as old ones come in between
            assert loop == noticed + 1 and stream == 'gaze'
        else:
            assert loop == noticed - (found == StampWatch.STALE)
    assert noticed == loops - 1


def test_a_stream_with_another_clock_goes_on_after_a_second():
    watch = StampWatch()
    assert watch.check('gaze', 100 * SECOND) == watch.check('image', 7 * SECOND) == watch.OK
    assert watch.check('gaze', 50 * SECOND) == watch.BACK
    assert watch.waits_for('image') and not watch.waits_for('gaze')
    assert watch.check('image', 7 * SECOND + 500 * MS) == watch.STALE
    assert watch.check('image', 8 * SECOND + 1) == watch.OK
    assert not watch.waits_for('image')


@pytest.mark.parametrize(
    ('stream', 'wrong'),
    [*(('gaze', seconds) for seconds in (10**10, 20, 5, 1)), ('image', 10**10), ('image', 20)],
)
def test_one_wrong_stamp_is_no_clock_that_went_back(stream, wrong):
    """In s; images that go back are believed at once."""
    watch, sure = StampWatch(), stream == 'image'
    for number in range(300):
        time = 10 * SECOND + number * 10 * MS
        if number in (100, 200):
            expected = StampWatch.OK if wrong > 10 else StampWatch.ALONE
            assert watch.check(stream, wrong * SECOND, sure) == expected
        for other in ('gaze', 'image'):
            assert watch.check(other, time, other == 'image') == StampWatch.OK
        assert not watch.waits_for('image') and not watch.waits_for('gaze')


def test_a_slow_stream_goes_back_at_once():
    watch = StampWatch()
    for time in (2, 4, 6, 8):
        assert watch.check('image', time * SECOND) == watch.OK
    assert watch.check('image', 2 * SECOND) == watch.BACK


def test_the_latest_prompt_wins_and_each_has_its_id():
    attention = Attention()
    assert attention.at(0) == []
    assert attention.click(1, 2).id == 1
    assert [t.point for t in attention.at(5 * SECOND)] == [(1, 2)]
    first, second = attention.gaze(10 * MS, 3, 4), attention.gaze(20 * MS, 5, 4)
    assert first.id == second.id == 2  # a stream is one prompt
    assert [t.point for t in attention.at(15 * MS)] == [(4, 4)]
    assert attention.click(9, 9).id == 3
    assert attention.gaze(30 * MS, 1, 1).id == 4
    assert attention.clear() and not attention.clear()
    assert attention.at(30 * MS) == []


def test_a_stamped_gaze_grows_old_and_one_without_stamp_does_not():
    attention = Attention()
    attention.gaze(0, 1, 1)
    assert attention.at(SECOND, SECOND) and not attention.at(SECOND + 1, SECOND)
    attention.gaze(0, 2, 2, stamped=False)
    assert attention.at(SECOND + 1, SECOND)


def test_several_clicks_are_followed_and_the_stream_beside_them():
    attention = Attention()
    for x in range(5):
        attention.click(x, 0, many=3)
    stream = attention.gaze(10 * MS, 9, 9, many=3)
    seen = attention.at(10 * MS, many=3)
    assert [t.point[0] for t in seen] == [2, 3, 4, 9]
    assert attention.ids() == [t.id for t in seen] == [3, 4, 5, 6]
    assert attention.at(10 * MS) == [stream]  # as soon as only one is wanted, the latest
    assert attention.clear(4) and not attention.clear(4)
    assert attention.ids() == [3, 5, 6]
    assert attention.clear(stream.id)
    assert attention.ids() == [3, 5]
    assert attention.gaze(20 * MS, 9, 9, many=3).id == 7  # after being forgotten it is another
    assert attention.once(1, 1).id == 8 and attention.ids() == [3, 5, 7]
    assert attention.clear() and attention.ids() == []
