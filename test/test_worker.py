# SPDX-License-Identifier: Apache-2.0
"""The worker thread: requests in order, frames latest-wins, nothing ends it but stop."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.ros import worker as module
from stt_ros.ros.worker import Worker

TIMEOUT = 20


class Gate:
    """A job that waits inside until it is let go, and tells when it was begun."""

    def __init__(self):
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.released.wait(TIMEOUT)


@pytest.fixture
def errors():
    return []


@pytest.fixture
def worker(errors):
    worker = Worker(errors.append, queue_limit=3)
    yield worker
    worker.stop()


@pytest.fixture
def busy(worker):
    """Keep the worker busy; call it to let the worker go on."""
    gate = Gate()
    worker.post(gate)
    assert gate.begun.wait(TIMEOUT)
    yield gate.released.set
    gate.released.set()


def idle(worker):
    """Wait until the worker has done everything that it was given."""
    done = threading.Event()
    while not worker.post(done.set):
        pass
    assert done.wait(TIMEOUT)
    last = threading.Event()  # frames come after requests
    worker.offer(last.set)
    assert last.wait(TIMEOUT)


def test_only_the_latest_frame_is_worked_on(worker, busy):
    seen, last = [], threading.Event()
    replaced = [worker.offer(lambda i=i: seen.append(i)) for i in range(100)]
    replaced.append(worker.offer(lambda: (seen.append('last'), last.set())))
    busy()
    assert last.wait(TIMEOUT)
    assert seen == ['last']
    assert replaced == [False] + [True] * 100


def test_a_burst_does_not_make_a_queue(worker):
    """A frame is never begun after more than the one before it: no frame waits behind others."""
    newest, late, done = [0], [], threading.Event()

    def segment(frame):
        late.append(newest[0] - frame)
        if frame == 500:
            done.set()

    for i in range(1, 501):
        newest[0] = i
        worker.offer(lambda i=i: segment(i))
    assert done.wait(TIMEOUT)
    assert late[-1] == 0
    assert len(late) <= 500
    idle(worker)


def test_requests_are_done_in_order_and_before_frames(worker, busy):
    seen, last = [], threading.Event()
    worker.offer(lambda: (seen.append('frame'), last.set()))
    for i in range(3):
        assert worker.post(lambda i=i: seen.append(i))
    busy()
    assert last.wait(TIMEOUT)
    assert seen == [0, 1, 2, 'frame']


def test_parts_of_long_jobs_wait_for_requests_and_frames(worker, busy):
    seen, last = [], threading.Event()
    assert worker.when_idle(lambda: (seen.append('part'), last.set()))
    worker.offer(lambda: seen.append('frame'))
    worker.post(lambda: seen.append('request'))
    busy()
    assert last.wait(TIMEOUT)
    assert seen == ['request', 'frame', 'part']


def test_parts_get_their_turn_when_there_are_no_pauses(worker, monkeypatch):
    monkeypatch.setattr(module, 'PATIENCE', 0.01)
    frames, part = [], threading.Event()

    def frame():
        frames.append(1)
        if not part.is_set() and len(frames) < 100_000:
            worker.offer(frame)  # the next one is there before this one is done
        if len(frames) == 1:
            worker.when_idle(part.set)

    worker.offer(frame)
    assert part.wait(TIMEOUT)
    assert 1 <= len(frames) < 100_000


def test_full_queue_refuses(worker, busy):
    seen = []
    taken = [worker.post(lambda i=i: seen.append(i)) for i in range(5)]
    assert taken == [True, True, True, False, False]
    busy()
    idle(worker)
    assert seen == [0, 1, 2]


def test_withdrawn_frame_is_not_worked_on(worker, busy):
    seen = []
    worker.offer(lambda: seen.append('frame'))
    worker.withdraw()
    busy()
    idle(worker)
    assert seen == []
    assert worker.offer(lambda: None) is False


def test_exceptions_are_reported_and_the_thread_goes_on(worker, errors):
    seen = threading.Event()
    worker.post(lambda: 1 / 0)
    worker.offer(lambda: {}['frame'])
    idle(worker)
    worker.offer(seen.set)
    assert seen.wait(TIMEOUT)
    assert ZeroDivisionError in map(type, errors)


def test_stop_answers_what_waits_and_leaves_frames():
    errors, seen, gate = [], [], Gate()
    worker = Worker(errors.append)
    worker.post(gate)
    assert gate.begun.wait(TIMEOUT)
    worker.offer(lambda: seen.append('frame'))
    worker.when_idle(lambda: seen.append('part'))
    worker.post(lambda: seen.append('request'))
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    gate.released.set()
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    assert seen == ['request', 'part']
    assert worker.post(lambda: seen.append('late')) is False
    assert worker.when_idle(lambda: seen.append('late')) is False
    worker.stop()  # twice does no harm
    assert (seen, errors) == (['request', 'part'], [])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(['post', 'offer', 'withdraw']), max_size=30))
def test_every_taken_request_is_done_once_and_the_last_frame_is(steps):
    """Whatever the order of calls."""
    worker, requests, frames, taken = Worker(pytest.fail, 99), [], [], []
    for i, step in enumerate(steps):
        if step == 'post':
            taken += [i] * worker.post(lambda i=i: requests.append(i))
        elif step == 'offer':
            worker.offer(lambda i=i: frames.append(i))
        else:
            worker.withdraw()
    idle(worker)
    worker.stop()
    assert requests == taken
    assert frames == sorted(set(frames))
    offers = [i for i, step in enumerate(steps) if step == 'offer']
    if offers and 'withdraw' not in steps[offers[-1] :]:
        assert offers[-1] in frames
