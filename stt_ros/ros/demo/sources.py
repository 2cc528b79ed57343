# SPDX-License-Identifier: Apache-2.0
"""Which input is played: the arguments that choose it, and what they open."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from stt_ros.ros.demo.bags import BagSource
from stt_ros.ros.demo.files import (
    DEFAULT_RATE,
    FolderSource,
    PictureSource,
    VideoSource,
    WebcamSource,
)
from stt_ros.ros.demo.shots import TRANSPORTS, InputError, Source

CLIPS = Path(__file__).resolve().parents[2] / 'clips'
SHIPPED = ('dog', 'blackswan')
DEFAULT_SECONDS = 11.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose the input and how long it is played."""
    group = parser.add_argument_group('input (default: the clips that come with the package)')
    one = group.add_mutually_exclusive_group()
    one.add_argument('--image', type=Path, metavar='FILE', help='a picture, as a camera shows it')
    one.add_argument('--video', type=Path, metavar='FILE', help='a video at its own rate')
    one.add_argument(
        '--webcam', type=int, nargs='?', const=0, metavar='INDEX', help='a camera, default 0'
    )
    one.add_argument('--bag', type=Path, metavar='FOLDER', help='a rosbag2, sqlite3 or mcap')
    one.add_argument(
        '--dir', type=Path, metavar='FOLDER',
        help='pictures of a clip, or frames/ and masks/ with the thing marked by people',
    )  # fmt: skip
    group.add_argument('--topic', help='image topic of the bag (default: the first with colours)')
    group.add_argument('--mask-topic', help='topic of the bag with human masks (PNG)')
    group.add_argument('--rate', type=_positive, metavar='HZ', help='pictures per second')
    group.add_argument('--transport', choices=TRANSPORTS, default='raw', help='default: raw')
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        '--seconds', type=_positive, metavar='S',
        help=f'how long; default: the whole input once, and {DEFAULT_SECONDS:g} s at least',
    )  # fmt: skip
    time.add_argument('--loop', action='store_true', help='until Ctrl-C')


def open_source(arguments: argparse.Namespace) -> Source:
    """Open the input. Raises ``InputError`` when it cannot be read."""
    chosen, transport = arguments, arguments.transport
    if (chosen.topic or chosen.mask_topic) and not chosen.bag:
        raise InputError('--topic and --mask-topic belong to --bag')
    if chosen.rate and (chosen.bag or chosen.webcam is not None):
        raise InputError('--rate: a bag and a webcam have a rate of their own')
    if chosen.video:
        return VideoSource(chosen.video, chosen.rate, transport)
    if chosen.webcam is not None:
        return WebcamSource(chosen.webcam, transport)
    if chosen.bag:
        return BagSource(chosen.bag, transport, chosen.topic, chosen.mask_topic)
    rate = chosen.rate or DEFAULT_RATE
    if chosen.image:
        return PictureSource(chosen.image, rate, transport)
    return FolderSource([chosen.dir] if chosen.dir else shipped_clips(), rate, transport)


def shipped_clips() -> list[Path]:
    """Return the folders of the clips that come with the package (DAVIS 2016, BSD licence)."""
    return [CLIPS / name for name in SHIPPED]


def source_words(arguments: argparse.Namespace) -> list[str]:
    """Write the arguments of `add_arguments` as words again, for another process."""
    words = ['--transport', arguments.transport]
    for name in ('image', 'video', 'webcam', 'bag', 'dir'):
        value = getattr(arguments, name)
        if value is not None:
            words += [f'--{name}', str(value.resolve() if isinstance(value, Path) else value)]
    for name in ('topic', 'mask_topic', 'rate', 'seconds'):
        value = getattr(arguments, name)
        if value is not None:
            words.append(f'--{name.replace("_", "-")}={value}')
    return words + ['--loop'] * arguments.loop


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
    return value
