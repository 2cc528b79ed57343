# SPDX-License-Identifier: Apache-2.0
"""The demo's prompts: words of the command line as one PromptArray."""

from __future__ import annotations

import argparse
from pathlib import Path

from geometry_msgs.msg import Point
from sensor_msgs.msg import RegionOfInterest

from stt_ros.cli_prompts import box, read_strokes
from stt_ros.msg import Prompt, PromptArray
from stt_ros.prompts import PromptError
from stt_ros.ros.demo.shots import InputError

AGAIN = 3.0  # seconds after which a prompt without an answer is sent once more
LOOKING = 1.0  # seconds that the node looks for all things in a picture before it takes a new one
_LEAST = 0, 0, 1, 1  # of a box


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the prompts, which take the place of the gaze."""
    group = parser.add_argument_group(
        'prompts instead of a gaze (any of them together mean one thing)'
    )
    group.add_argument('--box', type=box, metavar='X,Y,W,H', help='box around the thing')
    group.add_argument(
        '--scribble', type=Path, metavar='FILE', help='a stroke over it: a line X,Y per corner'
    )
    group.add_argument('--text', metavar='WORDS', help='what is meant, in words')
    group.add_argument(
        '--everything', action='store_true',
        help=f'all things in the picture, looked for {LOOKING:g} s each time',
    )  # fmt: skip


def to_message(arguments: argparse.Namespace) -> PromptArray | None:
    """Return what the words ask, None without a prompt. Raises ``InputError``."""
    found = []
    if arguments.box:
        if not all(low <= value < 2**31 for value, low in zip(arguments.box, _LEAST, strict=True)):
            said = ','.join(f'{value:g}' for value in arguments.box)
            raise InputError(f'--box {said}: X,Y >= 0 and W,H >= 1 are allowed')
        x, y, width, height = (round(value) for value in arguments.box)
        roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
        found.append(Prompt(kind=Prompt.BOX, box=roi))
    if arguments.scribble:
        try:
            strokes = read_strokes(arguments.scribble)
        except PromptError as error:
            raise InputError(f'--scribble: {error}') from error
        for stroke in strokes:
            corners = [Point(x=x, y=y) for x, y in stroke]
            found.append(Prompt(kind=Prompt.SCRIBBLE, points=corners))
    if arguments.text is not None:
        if not arguments.text.strip():
            raise InputError(
                f'--text {arguments.text[:40]!r}: words that name a thing are expected'
            )
        found.append(Prompt(kind=Prompt.TEXT, text=arguments.text))
    mode = PromptArray.ONE_OBJECT
    if arguments.everything:
        found.append(Prompt(kind=Prompt.EVERYTHING))
        mode = PromptArray.ALL_INSTANCES
    if found and arguments.point:
        raise InputError('--point is a gaze; the prompts take its place')
    return PromptArray(prompts=found, mode=mode) if found else None
