# SPDX-License-Identifier: Apache-2.0
"""camera_player: plays a clip, a picture, a video, a bag or a webcam as a live camera.

Publishes ``image`` (or ``image/compressed``), ``camera_info`` and, where people marked the thing to
look at, ``ground_truth/mask/compressed`` (PNG, the image's stamp). Stamps are the time of sending.
When it ends it prints ``{"frames": sent, "seconds": it took}`` on stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stt_ros.ros.demo import sources
from stt_ros.ros.demo.running import RELIABLE, Stop, spinning
from stt_ros.ros.demo.shots import InputError, Shot, Source

# Seconds. A publisher learns that it has a subscriber, but not when that one has learned of it, and
# until then the subscriber hears nothing.
_SETTLING = 0.5
_LAST = 5.0  # seconds that the last pictures may take to arrive
PRELOAD_BYTES = 400_000_000  # an input up to this size is decoded before it starts to play


class Camera(Node):
    """The publishers of a camera."""

    def __init__(self, transport: str, has_masks: bool) -> None:
        super().__init__('camera')
        kind, name = Image, 'image'
        if transport == 'compressed':
            kind, name = CompressedImage, f'{self.resolve_topic_name("image")}/compressed'
        self._image = self.create_publisher(kind, name, RELIABLE)
        self._info = self.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        self._mask = has_masks and self.create_publisher(
            CompressedImage, 'ground_truth/mask/compressed', RELIABLE
        )

    def send(self, shot: Shot) -> None:
        """Publish a picture as one that was taken now."""
        stamp = self.get_clock().now().to_msg()
        shot.image.header.stamp = stamp
        self._image.publish(shot.image)
        shot.info.header.stamp = stamp
        self._info.publish(shot.info)
        if self._mask and shot.mask:
            shot.mask.header.stamp = stamp
            self._mask.publish(shot.mask)

    def await_watchers(self, watchers: int, stop: Stop) -> None:
        """Wait until so many are subscribed to the images, and have had time to know it."""
        if stop.wait_for(lambda: self._image.get_subscription_count() >= watchers) and watchers:
            stop.wait_until(time.monotonic() + _SETTLING)

    def await_arrival(self) -> None:
        """Wait until who asks for all pictures has them: they are gone with this process."""
        for publisher in filter(None, (self._image, self._info, self._mask)):
            publisher.wait_for_all_acked(Duration(seconds=_LAST))


def play(
    camera: Camera,
    source: Source,
    held: list[Shot] | None,
    stop: Stop,
    seconds: float | None = None,
    loop: bool = False,
) -> dict:
    """Send pictures at the times at which they are due; return how many, in how many seconds.

    ``held`` are the pictures if `preload` has them. Without ``seconds`` and ``loop``: the whole
    input once and `sources.DEFAULT_SECONDS` at least.
    A picture that is late because decoding took too long moves all that follow: no bursts.
    """
    least = seconds or sources.DEFAULT_SECONDS
    start = time.monotonic()
    sent, at = 0, 0.0
    for again, due, shot in _passes(source, held):
        at = time.monotonic() - start if due is None else due
        whole = again or seconds or source.live
        if at >= least and whole and not loop:
            break
        if not stop.wait_until(start + at):
            break
        late = time.monotonic() - start - at
        if due is not None and late > source.period:
            start += late
        camera.send(shot)
        sent += 1
    stop.wait_until(start + at)
    return {'frames': sent, 'seconds': round(time.monotonic() - start, 3)}


def _passes(source: Source, held: list[Shot] | None) -> Iterator[tuple[bool, float | None, Shot]]:
    """Yield the pictures of one pass after the other: not the first pass, when due (s), picture."""
    begin = 0.0
    for number in itertools.count():
        due = None
        for shot in source.shots() if held is None else held:
            due = None if shot.due is None else begin + shot.due
            yield number > 0, due, shot
        if due is None:
            raise InputError(f'{source.description}: there are no pictures in it')
        begin = due + source.period


def preload(source: Source) -> list[Shot] | None:
    """Return all pictures of a short input, None for a long or endless one."""
    if source.live:
        return None
    held, size = [], 0
    for shot in source.shots():
        held.append(shot)
        size += shot.nbytes
        if size > PRELOAD_BYTES:
            return None
    return held


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the end or a signal; return the exit code, 2 for input that cannot be read."""
    argv = list(sys.argv if argv is None else argv)
    parser = argparse.ArgumentParser(prog='camera_player', description=__doc__)
    sources.add_arguments(parser)
    parser.add_argument(
        '--wait-for', type=int, default=0, metavar='N', help='start when N subscribe to the images'
    )
    arguments = parser.parse_args(remove_ros_args(argv)[1:])
    stop = Stop()
    try:
        source = sources.open_source(arguments)
        with (
            stop.on_signals(),
            spinning(lambda: Camera(arguments.transport, source.has_masks), argv) as camera,
        ):
            camera.get_logger().info(f'playing {source.description}')
            held = preload(source)
            camera.await_watchers(arguments.wait_for, stop)
            report = play(camera, source, held, stop, arguments.seconds, arguments.loop)
            print(json.dumps(report), flush=True)
            if not stop.is_set():
                camera.await_arrival()
    except InputError as error:
        print(f'camera_player: error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
