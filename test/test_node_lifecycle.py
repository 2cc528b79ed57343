# SPDX-License-Identifier: Apache-2.0
"""The managed node: what each transition connects and frees, how it fails, how it ends."""

import signal
import subprocess
import sys
from contextlib import closing

import pytest
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_here import override
from rclpy.lifecycle import TransitionCallbackReturn
from ros_helpers import SECOND, Bench, Segment
from ros_messages import picture

from stt_ros import weights_io, zoo

PIXELS = picture()
SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture(scope='module')
def bench():
    """Return a bench with the node unconfigured."""
    reliable = override('gaze.subscription', 'reliable')
    with closing(Bench('-p', 'autostart:=false', *reliable, namespace='/life')) as bench:
        yield bench


@pytest.fixture
def unconfigured(bench):
    """Bring the node back to unconfigured, with its default weights."""
    for transition in {'active': ['deactivate', 'cleanup'], 'inactive': ['cleanup']}.get(
        bench.state(), []
    ):
        assert bench.change(transition)
    assert not bench.set(weights='default', device='auto', image_transport='raw')
    return bench


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder of weights files: other, truncated, foreign and not weights at all."""
    folder = tmp_path_factory.mktemp('weights')
    torch.manual_seed(1)
    model = zoo.build('stt-s')
    weights_io.save(model, folder / 'other.safetensors', 'stt-s')
    whole = (folder / 'other.safetensors').read_bytes()
    (folder / 'truncated.safetensors').write_bytes(whole[: len(whole) // 2])
    torch.save({'layer.weight': torch.zeros(3, 3)}, folder / 'foreign.pth')
    (folder / 'text.pth').write_text('no weights')
    return folder


def inputs(bench):
    names = ('image', 'image/compressed', 'gaze', 'clicked_point', 'mouse_left')
    return [name for name in names if bench.node.count_subscribers(name)]


def outputs(bench):
    names = ('segmentation', 'mask', 'overlay', 'foveation')
    return [name for name in names if bench.node.count_publishers(f'stt/{name}')]


def start(bench):
    assert bench.change('configure')
    assert bench.change('activate')
    bench.connected()


def works(bench):
    """Check that a click gets an answer."""
    bench.show(PIXELS)
    bench.look_at(80, 60)


def test_life(unconfigured):
    bench = unconfigured
    assert bench.state() == 'unconfigured'
    assert bench.diagnostics()['message'] == 'not configured'
    assert bench.change('configure')
    assert bench.state() == 'inactive'
    bench.until(lambda: len(outputs(bench)) == 4)
    assert not inputs(bench)
    assert bench.diagnostics()['message'] == 'inactive'
    for _ in range(2):
        assert bench.change('activate')
        assert bench.state() == 'active'
        bench.connected()
        assert inputs(bench) == ['image', 'gaze', 'clicked_point', 'mouse_left']
        [info] = bench.node.get_subscriptions_info_by_topic('/life/gaze')
        assert info.qos_profile.reliability.name == 'RELIABLE'  # as overridden, every time
        works(bench)
        assert bench.change('deactivate')
        bench.until(lambda: not inputs(bench))
    assert bench.change('cleanup')
    assert bench.state() == 'unconfigured'
    bench.until(lambda: not outputs(bench))
    assert bench.diagnostics()['message'] == 'not configured'


def test_an_impossible_transition_is_refused_and_the_node_goes_on(unconfigured):
    bench = unconfigured
    start(bench)
    for label in ('activate', 'configure', 'cleanup', 'dance'):
        assert not bench.change(label)
    assert not bench.call(
        ChangeState, 'change_state', ChangeState.Request(transition=Transition(id=1))
    ).success
    assert bench.state() == 'active'
    works(bench)


def test_nothing_is_published_while_inactive(unconfigured):
    bench = unconfigured
    start(bench)
    works(bench)
    assert bench.change('deactivate')
    old = bench.image(PIXELS)
    bench.click(10, 10)
    answer = bench.segment([(1, 1)])
    assert (answer.success, answer.message) == (
        False, 'the node is not active: ros2 lifecycle set <node> activate'
    )  # fmt: skip
    assert not bench.enable(False).success
    assert not bench.clear().success
    assert bench.change('activate')
    bench.connected()
    works(bench)
    assert old not in [result.header for result in bench.results]
    assert not any(result.gaze.x == 10 for result in bench.results)


def test_deactivated_with_work_waiting(unconfigured):
    """Requests that wait are answered, and the node can go on."""
    bench = unconfigured
    start(bench)
    works(bench)
    request = Segment.Request(points=[bench.point(80, 60)] * 40)
    futures = [bench.call_async(Segment, 'segment', request) for _ in range(3)]
    bench.until(futures[0].done)
    assert bench.change('deactivate')
    answers = [bench.finish(future) for future in futures]
    assert all(len(a.results) == 40 or 'not active' in a.message for a in answers)
    assert bench.change('activate')
    bench.connected()
    works(bench)


BAD_WEIGHTS = {
    'missing.safetensors': 'missing.safetensors',
    'truncated.safetensors': 'truncated.safetensors',
    'foreign.pth': 'foreign.pth.*does not|foreign.pth.*not',
    'text.pth': 'text.pth',
}


def test_failed_configure_says_why_and_can_be_tried_again(unconfigured, folder):
    bench = unconfigured
    for file, words in BAD_WEIGHTS.items():
        line = len(bench.process.lines)
        assert not bench.set(weights=str(folder / file))
        assert not bench.change('configure')
        bench.process.wait_for_log(f'ERROR.*cannot be configured: .*({words})', after=line)
        assert bench.state() == 'unconfigured'
    assert not bench.set(weights='stt-xxl')
    assert not bench.change('configure')
    bench.process.wait_for_log("cannot be configured: no model 'stt-xxl'; there are default")
    bench.until(lambda: not outputs(bench))
    assert not bench.set(weights=str(folder / 'other.safetensors'))
    start(bench)
    works(bench)
    assert 'Traceback' not in bench.process.log()


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device here')
def test_cuda_without_cuda(unconfigured):
    bench = unconfigured
    assert not bench.set(device='cuda')
    assert not bench.change('configure')
    bench.process.wait_for_log(
        "cannot be configured: device 'cuda' was asked for, but .* sees no CUDA device .*'auto'"
    )
    assert not bench.set(device='auto')
    line = len(bench.process.lines)
    assert bench.change('configure')
    bench.process.wait_for_log('model: .* on cpu', after=line)


def test_image_transport_is_taken_at_configure(unconfigured):
    bench = unconfigured
    assert not bench.set(image_transport='compressed')
    start(bench)
    bench.until(lambda: 'image/compressed' in inputs(bench))
    assert 'image' not in inputs(bench)


def test_impossible_transitions_change_nothing(unconfigured):
    bench = unconfigured
    for transition in ('activate', 'deactivate', 'cleanup'):
        assert not bench.change(transition)
        assert bench.state() == 'unconfigured'
    start(bench)
    assert not bench.change('configure')
    works(bench)


def test_shutdown_from_active(unconfigured):
    """The last one of this node: a finalized node cannot be brought back."""
    bench = unconfigured
    start(bench)
    works(bench)
    assert bench.change('shutdown')
    assert bench.state() == 'finalized'
    bench.until(lambda: not inputs(bench) and not outputs(bench))


@pytest.mark.parametrize(
    ('moment', 'number'),
    [
        ('loading', signal.SIGINT),
        ('loading', signal.SIGTERM),
        ('busy', signal.SIGTERM),
        ('twice', signal.SIGINT),
    ],
)
def test_signals_end_the_process_in_order(moment, number):
    with closing(Bench()) as bench:
        if moment == 'loading':
            us = ('stt', bench.namespace)
            bench.until(lambda: us in bench.node.get_node_names_and_namespaces())
        else:
            bench.connected()
        if moment in ('busy', 'twice'):
            bench.show(PIXELS)
            request = Segment.Request(points=[bench.point(80, 60)] * 20)
            for _ in range(3):
                bench.call_async(Segment, 'segment', request)
            for _ in range(5):
                bench.click(80, 60)
                bench.image(PIXELS)
        begin, line = bench.now(), len(bench.process.lines)
        bench.process.signal(number)
        if moment == 'twice':
            bench.process.signal(number)
        assert bench.process.wait() == 0
        assert (bench.now() - begin) / SECOND < 15
        if moment != 'loading':
            assert bench.process.lines[line:] == []


# An exception that is raised while a compiled module starts may abort the process (torch's does).
LOADING = """
import threading
from stt_ros.ros import node

def load(self, state):
    import compiled
    threading.Event().wait()  # for the signal

node.SttNode.on_configure = load
node.main(['--ros-args', '-r', '__ns:=/importing'])
print('in order')
"""
COMPILED = """
import signal
for number in {}:
    signal.raise_signal(number)
print('imported')
"""


@pytest.mark.parametrize('signals', [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_a_signal_waits_for_the_end_of_an_import(signals, tmp_path):
    (tmp_path / 'compiled.py').write_text(COMPILED.format([int(number) for number in signals]))
    command = [sys.executable, '-c', LOADING]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25)
    assert result.returncode == 0, result.stderr
    assert result.stdout == 'imported\nin order\n'
