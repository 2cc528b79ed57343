# SPDX-License-Identifier: Apache-2.0
"""The demo: camera, eye tracker and node as three processes over DDS, watched by a viewer."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState

from stt_ros.cli_prompts import attach_points, point
from stt_ros.msg import PromptArray
from stt_ros.ros.demo import prompts, sources
from stt_ros.ros.demo.children import Children
from stt_ros.ros.demo.environment import own_network
from stt_ros.ros.demo.running import RELIABLE, Stop, spinning
from stt_ros.ros.demo.shots import InputError, Source
from stt_ros.ros.demo.viewer import StatusLine, Viewer, make_folder, status, write_all

# Seconds without a result after the camera's end: the last one has come.
_QUIET, _QUIET_PROMPTS = 0.6, 3.0
_LAST_LINES = 12
_LOG_PREFIX = re.compile(r'^\[\w+\] \[[\d.]+\] \[[\w./]+\]: ')


class ChildError(RuntimeError):
    """A process of the demo ended, or could not do its work; the text has its last lines."""


class Watcher(Viewer):
    """A viewer that also asks the node how it is."""

    def __init__(self, transport: str) -> None:
        super().__init__(transport, RELIABLE)  # the camera is our own
        self._client = self.create_client(GetState, 'stt/get_state')
        self._state = None
        self._prompt = self.create_publisher(PromptArray, 'prompt', 1)
        self._prompted = -math.inf
        self._unconfigured_since: float | None = None

    def node_failed(self) -> bool:
        """Tell whether the node has been unconfigured for 2 s: it starts by configuring itself."""
        if self._state is None:
            if self._client.service_is_ready():
                self._state = self._client.call_async(GetState.Request())
        elif self._state.done():
            state = self._state.result().current_state.id
            self._state = None
            if state != State.PRIMARY_STATE_UNCONFIGURED:
                self._unconfigured_since = None
            elif self._unconfigured_since is None:
                self._unconfigured_since = time.monotonic()
        since = self._unconfigured_since
        return since is not None and time.monotonic() - since > 2.0

    def prompt(self, message: PromptArray) -> None:
        """Send prompts once there are images, and again until there is an answer."""
        progress, now = self.record.progress(), time.monotonic()
        waiting = progress.images and not progress.results and self._prompt.get_subscription_count()
        if waiting and now - self._prompted > prompts.AGAIN:
            self._prompted = now
            self._prompt.publish(message)


class Demo:
    """One run: starts the processes, follows them to the end."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        children: Children,
        watcher: Watcher,
        asked: PromptArray | None = None,
    ) -> None:
        self._asked = asked  # instead of a gaze
        self._arguments = arguments
        self._children = children
        self._watcher = watcher
        self._line = StatusLine()

    def run(self, stop: Stop) -> None:
        """Play until the camera ends or a signal comes. Raises ``ChildError``."""
        try:
            self._start()
            while self._check() is None and stop.wait_until(time.monotonic() + 0.1):
                self._line.show(self._status())
                if self._asked:
                    self._watcher.prompt(self._asked)
            if not stop.is_set():
                self._await_last_results(stop)
                self._check_answers()
            self._line.show(status(self._watcher.record.progress()), now=True)
        finally:
            self._line.end()

    def camera_report(self) -> dict | None:
        """Return what the camera printed when it ended."""
        for line in reversed(self._children.output('camera').splitlines()):
            if line.startswith('{'):
                return json.loads(line)
        return None

    def _start(self) -> None:
        chosen = self._arguments
        parameters = {
            'weights': chosen.weights,
            'device': chosen.device,
            'mode': 'continuous',
            'image_transport': chosen.transport,
            'everything_budget': prompts.LOOKING,
        }
        words = [
            word
            for name, value in parameters.items()
            for word in ('-p', f'{name}:={json.dumps(value)}')
        ]
        self._children.start('node', 'stt_node', '--ros-args', *words)
        looked_at = ['--point={},{}'.format(*chosen.point), '--jitter=0'] if chosen.point else []
        if not self._asked:
            self._children.start('gaze', 'gaze_player', *looked_at)
        # Node and viewer: nothing is played before both can see it.
        self._children.start(
            'camera', 'camera_player', '--wait-for', '2', *sources.source_words(chosen)
        )

    def _check(self) -> int | None:
        """Return the camera's exit code, None while it plays. Raises ``ChildError``."""
        for name in self._names():
            code = self._children.exit_code(name)
            if code is not None and (code or name != 'camera'):
                raise ChildError(
                    f'the {name} process ended with exit code {code}:\n{self._tail(name)}'
                )
        if self._watcher.node_failed():
            raise ChildError(f'the node could not be configured:\n{self._tail("node")}')
        return self._children.exit_code('camera')

    def _check_answers(self) -> None:
        """Raise ``ChildError`` with what the node said when it answered no picture at all."""
        progress = self._watcher.record.progress()
        if progress.images and not progress.results:
            raise ChildError(
                f'none of the {progress.images} pictures was answered:\n{self._tail("node")}'
            )

    def _names(self) -> tuple[str, ...]:
        return ('node', 'camera') if self._asked else ('node', 'gaze', 'camera')

    def _tail(self, name: str) -> str:
        lines = self._children.output(name).splitlines()[-_LAST_LINES:]
        return '\n'.join(f'  {line}' for line in lines) or '  (it wrote nothing)'

    def _status(self) -> str:
        progress = self._watcher.record.progress()
        if progress.images:
            return status(progress)
        lines = self._children.output('node').replace('\r', '\n').splitlines()
        said = _LOG_PREFIX.sub('', lines[-1]) if lines else 'it is starting'
        return f'waiting for the node: {said}'[:150]

    def _await_last_results(self, stop: Stop) -> None:
        """Wait until every image has its result, or no more come."""
        record = self._watcher.record
        before = record.progress().results
        quiet = _QUIET_PROMPTS if self._asked else _QUIET
        due = time.monotonic() + quiet
        while time.monotonic() < due and stop.wait_until(time.monotonic() + 0.05):
            progress = record.progress()
            if progress.results >= progress.images:
                return
            if progress.results > before:
                before, due = progress.results, time.monotonic() + quiet


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code.

    0: ran to its end; 1: a process of it failed; 2: input that cannot be read; 128 + n: signal n.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(attach_points(list(words)))
    stop = Stop()
    try:
        source = sources.open_source(arguments)
        _check_point(arguments.point, source)
        asked = prompts.to_message(arguments)
        make_folder(arguments.out)
        with stop.on_signals(), own_network():
            print(f'camera   {source.description}')
            print(_describe_prompt(arguments.point, source, asked))
            print(f'network  ROS_DOMAIN_ID={os.environ["ROS_DOMAIN_ID"]}', flush=True)
            return _run(arguments, stop, asked)
    except InputError as error:
        print(f'stt_ros demo: error: {error}', file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace, stop: Stop, asked: PromptArray | None) -> int:
    failure = None
    with (
        Children(arguments.out / 'log') as children,
        spinning(lambda: Watcher(arguments.transport)) as watcher,
    ):
        demo = Demo(arguments, children, watcher, asked)
        try:
            demo.run(stop)
        except ChildError as error:
            failure = error
        children.end(*(['camera', 'node'] if asked else ['camera', 'gaze', 'node']))
        report = demo.camera_report()
    if watcher.record.progress().images:
        # The processes are gone: the processor is free for the pictures now.
        write_all(arguments.out, watcher.record, report, StatusLine(), arguments.weights)
    elif failure is None:
        print('stt_ros demo: stopped before the first picture', file=sys.stderr)
    if failure is not None:
        print(f'stt_ros demo: error: {failure}', file=sys.stderr)
        return 1
    return 128 + stop.signal if stop.signal else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='stt_ros demo', description=__doc__)
    sources.add_arguments(parser)
    prompts.add_arguments(parser)
    parser.add_argument(
        '--point', type=point, metavar='X,Y',
        help='look at this pixel (default: at the thing in the human masks, or at the middle)',
    )  # fmt: skip
    parser.add_argument('--weights', default='default', help='model name or file (stt_ros models)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--out', type=Path, default=Path('stt_demo'), metavar='FOLDER',
        help='for the video, the contact sheet, summary.json and logs (default: stt_demo)',
    )  # fmt: skip
    return parser


def _check_point(place: tuple[float, float] | None, source: Source) -> None:
    """Raise ``InputError`` when the point is not on the first picture, or that cannot be read."""
    width, height = next(iter(source.shots())).size
    if place and not (0 <= place[0] < width and 0 <= place[1] < height):
        raise InputError(
            f'--point {place[0]:g},{place[1]:g} is not on the {width}x{height} picture'
        )


def _describe_prompt(place, source: Source, asked: PromptArray | None) -> str:
    if asked is None:
        return f'gaze     {_describe_gaze(place, source)}'
    return f'prompts  {len(asked.prompts)} instead of a gaze, applied to every picture'


def _describe_gaze(place: tuple[float, float] | None, source: Source) -> str:
    if place:
        return f'fixed at {place[0]:g},{place[1]:g}'
    if source.has_masks:
        return "follows the thing in the human masks, with an eye tracker's noise"
    return 'at the middle of the picture: no human masks here, another place with --point X,Y'


if __name__ == '__main__':
    sys.exit(main())
