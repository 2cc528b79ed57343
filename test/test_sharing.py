# SPDX-License-Identifier: Apache-2.0
"""A long request on the network that frames use: same results, frames in between, an end."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from ros_messages import picture

from stt_ros.errors import EngineError
from stt_ros.ros import sharing
from stt_ros.ros.sharing import PART, SharedEngine
from stt_ros.ros.worker import Worker
from stt_ros.segmenter import Segmenter

TIMEOUT = 60
PIXELS = picture(240, 320)
GAZES = [(x, y) for y in range(20, 240, 50) for x in range(20, 320, 60)]


@pytest.fixture(scope='module')
def segmenter():
    segmenter = Segmenter.create(precision='fp32')
    segmenter.warm_up()
    return segmenter


@pytest.fixture
def worker():
    worker = Worker(pytest.fail)
    yield worker
    worker.stop()


def test_results_are_those_of_the_engine(segmenter, worker):
    alone = segmenter.segment(PIXELS, GAZES)
    shared = Segmenter(SharedEngine(segmenter.engine, worker)).segment(PIXELS, GAZES)
    assert [r.gaze for r in shared] == [r.gaze for r in alone]
    for one, other in zip(shared, alone, strict=True):
        for a, b in zip(one.hypotheses, other.hypotheses, strict=True):
            assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-3)
            np.testing.assert_allclose(a.logits, b.logits, atol=1e-2)


class Filmed:
    """An engine while whose every run a camera offers a frame to the worker."""

    def __init__(self, engine, worker):
        self.pattern, self.description = engine.pattern, engine.description
        self.runs, self.waited = 0, []  # runs begun after a frame came and before its turn
        self._engine, self._worker = engine, worker

    def run(self, tokens, valid, best_only=False):
        self.runs += 1
        self._worker.offer(lambda run=self.runs: self.waited.append(self.runs - run))
        return self._engine.run(tokens, valid, best_only)


def test_frames_go_in_between(segmenter, worker, monkeypatch):
    """A frame that comes during a part of a long request waits for that part, not for the end."""
    monkeypatch.setattr('stt_ros.ros.worker.PATIENCE', TIMEOUT)  # a busy machine is no reason
    filmed = Filmed(segmenter.engine, worker)
    Segmenter(SharedEngine(filmed, worker, largest=2)).segment(PIXELS, GAZES * 2)
    assert len(filmed.waited) >= 10
    assert max(filmed.waited) == 0


class Slow:
    """An engine that takes a known time per gaze, by a clock of its own: parts are fitted to it."""

    pattern, description = None, 'slow'

    def __init__(self, seconds=0.0):
        self.seconds, self.sizes, self.now = seconds, [], 0.0

    def monotonic(self):
        return self.now

    def run(self, tokens, valid, best_only=False):
        self.sizes.append(len(tokens))
        self.now += self.seconds * len(tokens)
        return tokens.astype(np.float32), valid.astype(np.float32)


@pytest.mark.parametrize(('seconds', 'largest'), [(PART, 1), (PART / 1000, 32)])
def test_parts_are_as_large_as_time_allows(worker, monkeypatch, seconds, largest):
    engine = Slow(seconds)
    monkeypatch.setattr(sharing, 'time', SimpleNamespace(monotonic=engine.monotonic))
    tokens = np.arange(120).reshape(60, 2)
    logits, ious = SharedEngine(engine, worker).run(tokens, tokens > 3)
    assert np.array_equal(logits, tokens)
    assert np.array_equal(ious, tokens > 3)
    assert engine.sizes[0] == 1
    assert max(engine.sizes) <= largest
    assert sum(engine.sizes) == 60
    if largest > 1:
        assert max(engine.sizes) > 4


def test_errors_of_the_engine_arrive(worker):
    class Broken(Slow):
        def run(self, tokens, valid, best_only=False):
            raise EngineError('no memory left')

    with pytest.raises(EngineError, match='no memory left'):
        SharedEngine(Broken(), worker).run(np.zeros((2, 1)), np.zeros((2, 1)))


def test_closing_ends_a_run(worker):
    """The request gets its reason, the worker stays usable."""
    begun, closed, errors = threading.Event(), threading.Event(), []

    class Endless(Slow):
        def run(self, tokens, valid, best_only=False):
            begun.set()
            assert closed.wait(TIMEOUT)
            return super().run(tokens, valid)

    engine = SharedEngine(Endless(), worker)

    def request():
        try:
            engine.run(np.zeros((10_000, 1)), np.zeros((10_000, 1)))
        except EngineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=request)
    thread.start()
    assert begun.wait(TIMEOUT)
    engine.close()
    closed.set()
    thread.join(TIMEOUT)
    assert errors == ['the node is being deactivated']
