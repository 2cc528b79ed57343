# SPDX-License-Identifier: Apache-2.0
"""stt_ros estimate-offset: by how much the stamps of a gaze topic differ from the camera's.

Reads a bag, or listens to the live topics for a while, compares how the gaze moves with how the
images move, and prints the parameter to set. Look at things that move, or turn your head while you
keep looking at something.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from stt_ros.gaze.offset import Flow, estimate
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.spaces import FLAT, RawGaze, to_pixel
from stt_ros.ros.images import ImageError, to_frame

SURE = 0.15  # of confidence, from which on the result is worth setting


class OffsetError(Exception):
    """Data from which no offset can be told."""


def from_bag(folder: Path, gaze: str, image: str) -> Iterator[tuple[int, object]]:
    """Yield (time of recording in ns, message) of two topics of a bag."""
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise OffsetError('a bag needs the package rosbags: pip install rosbags') from error
    kinds = {f'{k.__module__.split(".")[0]}/msg/{k.__name__}': k
             for k in (PointStamped, Image, CompressedImage)}  # fmt: skip
    try:
        with Reader(folder) as bag:
            chosen = [c for c in bag.connections if c.topic in (gaze, image) and c.msgtype in kinds]
            missing = {gaze, image} - {c.topic for c in chosen}
            if missing:
                raise OffsetError(f'{folder} has no {" and no ".join(sorted(missing))}')
            for connection, stamp, data in bag.messages(chosen):
                yield stamp, deserialize_message(data, kinds[connection.msgtype])
    except (OffsetError, GeneratorExit):
        raise
    except Exception as error:  # damaged bytes surface as many types: struct, sqlite, zstd, ...
        raise OffsetError(f'cannot read bag {folder}: {" ".join(str(error).split())}') from error


def from_topics(gaze: str, image: str, seconds: float) -> Iterator[tuple[int, object]]:
    """Yield (time of arrival in ns, message) of two live topics for so many seconds."""
    context, heard = rclpy.Context(), []
    rclpy.init(context=context)
    node = rclpy.create_node('estimate_offset', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    kind = CompressedImage if image.endswith('/compressed') else Image
    for topic, of in ((gaze, PointStamped), (image, kind)):
        node.create_subscription(
            of, topic, lambda msg: heard.append((time.time_ns(), msg)), qos_profile_sensor_data
        )
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
            yield from heard
            heard.clear()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def offset_of(messages: Iterator[tuple[int, object]], space: str, span: float):
    """Return the `Estimate` of messages of a gaze and an image topic. Raises ``OffsetError``."""
    flow, size = Flow(), None
    samples, delays = [], {PointStamped: [], Image: []}
    for arrived, msg in messages:
        stamp = msg.header.stamp.sec * SECOND + msg.header.stamp.nanosec
        if not stamp:
            raise OffsetError('messages without stamps have no clock')
        is_gaze = isinstance(msg, PointStamped)
        delays[PointStamped if is_gaze else Image].append(arrived - stamp)
        if is_gaze:
            samples.append((stamp, msg.point.x, msg.point.y))
            continue
        try:
            picture = to_frame(msg).rgb()
        except ImageError as error:
            raise OffsetError(f'an image cannot be read: {error}') from error
        size = picture.shape[:2]
        flow.add(stamp / SECOND, picture)
    if not samples or size is None:
        raise OffsetError(f'{len(samples)} gaze samples and {"no" if size is None else "some"} '
                          'images came: are the topics right?')  # fmt: skip
    # Clocks that count from different days: when messages come tells the offset roughly.
    around = float(np.median(delays[PointStamped]) - np.median(delays[Image])) / SECOND
    times, points = _in_image(samples, space, size)
    try:
        return estimate(times, points, flow, around, span)
    except ValueError as error:
        raise OffsetError(str(error)) from error


def _in_image(samples: list, space: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return times (N,) in s and gazes (N, 2) in shares of the image, of those inside of it."""
    times, points = [], []
    for stamp, x, y in samples:
        try:
            x, y = to_pixel(RawGaze(x, y), space, size)
        except ValueError:
            continue
        times.append(stamp / SECOND)
        points.append((x / size[1], y / size[0]))
    return np.array(times), np.array(points).reshape(-1, 2)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the offset; return the exit code, 2 for data from which none can be told."""
    parser = argparse.ArgumentParser(prog='stt_ros estimate-offset', description=__doc__)
    parser.add_argument('bag', type=Path, nargs='?', help='a bag; without: the live topics')
    parser.add_argument('--gaze', default='/gaze', help='topic of geometry_msgs/PointStamped')
    parser.add_argument('--image', default='/image', help='topic of images; …/compressed works too')
    parser.add_argument('--space', default='pixel', choices=FLAT, help='of the gaze')
    parser.add_argument('--seconds', type=float, default=20.0, help='how long to listen')
    parser.add_argument('--span', type=float, default=1.0, help='seconds around the first guess')
    arguments = parser.parse_args(remove_ros_args(['', *(argv or [])])[1:])
    topics = arguments.gaze, arguments.image
    if arguments.bag:
        messages = from_bag(arguments.bag, *topics)
    else:
        print(f'listening to {topics[0]} and {topics[1]} for {arguments.seconds:g} s', flush=True)
        messages = from_topics(*topics, arguments.seconds)
    try:
        found = offset_of(messages, arguments.space, arguments.span)
    except OffsetError as error:
        print(f'stt_ros: error: {error}', file=sys.stderr)
        return 2
    print(f'gaze_time_offset: {found.offset:.3f}')
    print(f'correlation {found.correlation:.2f}, confidence {found.confidence:.2f}', end=' ')
    print('(good)' if found.confidence >= SURE else '(too little: record more movement)')
    return 0
