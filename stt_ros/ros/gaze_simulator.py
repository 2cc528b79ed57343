# SPDX-License-Identifier: Apache-2.0
"""gaze_simulator: an eye tracker without one.

Looks at what the masks on ``ground_truth/mask/compressed`` show, at the masks of a folder, or at
the points of a waypoint file (lines of seconds,x,y; it starts again at the end), with fixations,
saccades, jitter, blinks and dropouts, and publishes it in the space that you name: on ``gaze``, a
ray on ``gaze_direction``. The same seed gives the same gaze.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from geometry_msgs.msg import Point, PointStamped, Vector3, Vector3Stamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float32

from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.rays import to_hand
from stt_ros.gaze.simulation import EyeSample, EyeSimulator, Habits, Target, to_space, waypoints
from stt_ros.gaze.spaces import FLAT, IN_SPACE, GazeError
from stt_ros.gaze.transforms import IDENTITY, parse_static
from stt_ros.ros.demo.running import Stop, spinning


class Tracker(Node):
    """Publishes the samples of a simulated eye."""

    def __init__(self, arguments: argparse.Namespace, target: Target | None) -> None:
        super().__init__('gaze_simulator')
        self._arguments = arguments
        habits = Habits(
            jitter=arguments.jitter, spread=arguments.spread,
            blinks=arguments.blinks, dropouts=arguments.dropouts,
        )  # fmt: skip
        self._seen: tuple[float, float] | None = None
        self._eye = EyeSimulator(target or (lambda _: self._seen), habits, arguments.seed)
        self._size = arguments.size
        self._frame, self._pose = arguments.frame_id, IDENTITY
        if arguments.static_transform:
            [(self._frame, _, self._pose)] = parse_static(arguments.static_transform)
        kind, topic = PointStamped, 'gaze'
        if arguments.space == 'ray':
            kind, topic = Vector3Stamped, 'gaze_direction'
        self._publisher = self.create_publisher(kind, topic, qos_profile_sensor_data)
        self._confidence = arguments.confidence == 'topic' and self.create_publisher(
            Float32, 'gaze_confidence', qos_profile_sensor_data
        )
        if target is None:
            self.create_subscription(
                CompressedImage, 'ground_truth/mask/compressed', self._see, qos_profile_sensor_data
            )

    def sample(self, elapsed: float) -> None:
        """Publish the sample of a time, in seconds since the start."""
        sample = self._eye.sample(elapsed)
        if sample is None or (not sample.confidence and self._arguments.confidence == 'none'):
            return
        now = self.get_clock().now().nanoseconds
        stamp = now - round(self._arguments.clock_offset * SECOND)
        if self._confidence:
            self._confidence.publish(Float32(data=sample.confidence))
        self._publisher.publish(self._message(sample, stamp))

    def _message(self, sample: EyeSample, stamp: int):
        arguments = self._arguments
        focal = self._size[1] / 2 / math.tan(math.radians(arguments.fov) / 2)
        pixel = sample.x, sample.y
        space = 'camera_3d' if arguments.space == 'world_3d' else arguments.space
        numbers = to_space(pixel, space, self._size, focal, arguments.depth)
        if arguments.space == 'world_3d':
            numbers = self._pose.point(numbers)
        elif arguments.space == 'ray':
            numbers = self._pose.direction(numbers)
        if space in IN_SPACE:
            here = arguments.space == 'camera_3d' or not arguments.static_transform
            numbers = to_hand(numbers, arguments.handedness, optical=here)
        x, y, z = map(float, numbers)
        if arguments.confidence == 'z':
            z = sample.confidence
        if arguments.space == 'ray':
            message = Vector3Stamped(vector=Vector3(x=x, y=y, z=z))
        else:
            message = PointStamped(point=Point(x=x, y=y, z=z))
        message.header.frame_id = self._frame
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
        return message

    def _see(self, message: CompressedImage) -> None:
        mask = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            self.get_logger().warning('a mask does not decode', throttle_duration_sec=5.0)
            return
        self._size = mask.shape
        self._seen = middle(mask) or self._seen


def middle(mask: np.ndarray) -> tuple[float, float] | None:
    """Return the pixel (x, y) deepest inside the thing of a mask (H, W) uint8; None without one."""
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(x), float(y)) if depth[y, x] > 0 else None


def read_waypoints(path: Path) -> Target:
    """Read lines of seconds,x,y. Raises ``ValueError`` with the line that is wrong."""
    points = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        try:
            t, x, y = map(float, line.split(','))
        except ValueError:
            raise ValueError(f"{path}, line {number}: '{line}' is not seconds,x,y") from None
        points.append((t, x, y))
    return waypoints(points)


def read_masks(folder: Path, rate: float) -> tuple[Target, tuple[int, int]]:
    """Read a folder of mask pictures, ``rate`` a second; return the target and their size (H, W).

    Raises ``ValueError`` when there is none.
    """
    masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob('*.png'))]
    masks = [mask for mask in masks if mask is not None]
    if not masks:
        raise ValueError(f'{folder}: there are no PNG masks in it')
    places = [middle(mask) for mask in masks]
    return (lambda t: places[int(t * rate) % len(places)]), masks[0].shape


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(word) for word in text.split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT") from None
    return height, width


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='gaze_simulator', description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--waypoints', type=Path, metavar='FILE', help='lines of seconds,x,y')
    source.add_argument('--masks', type=Path, metavar='FOLDER', help='PNG masks of a clip')
    parser.add_argument('--mask-rate', type=float, default=25.0, metavar='HZ', help='of --masks')
    parser.add_argument('--rate', type=float, default=200.0, metavar='HZ')
    parser.add_argument('--space', default='pixel', choices=(*FLAT, *IN_SPACE))
    parser.add_argument(
        '--size', type=_size, default=(480, 640), metavar='WxH', help='of the image'
    )
    parser.add_argument('--jitter', type=float, default=2.0, metavar='PX', help='of each sample')
    parser.add_argument(
        '--spread', type=float, default=8.0, metavar='PX', help='of fixations around the thing'
    )
    parser.add_argument('--blinks', type=float, default=17.0, metavar='N', help='per minute')
    parser.add_argument('--dropouts', type=float, default=0.0, metavar='SHARE', help='of samples')
    parser.add_argument(
        '--confidence', default='none', choices=('none', 'z', 'topic'),
        help='of each sample: in z, or on gaze_confidence; none: no samples while eyes are closed',
    )  # fmt: skip
    parser.add_argument(
        '--clock-offset', type=float, default=0.0, metavar='S',
        help='how far the clock is behind: what gaze_time_offset should be',
    )  # fmt: skip
    parser.add_argument('--frame-id', default='', help='of the messages')
    parser.add_argument('--fov', type=float, default=69.0, help='degrees across, of spaces in 3-D')
    parser.add_argument('--depth', type=float, default=1.0, help='metres, of points in 3-D')
    parser.add_argument(
        '--static-transform', default='', metavar="'x y z qx qy qz qw frame camera'",
        help='publish world_3d and rays in this frame; the parameter of the node reads the same',
    )  # fmt: skip
    parser.add_argument(
        '--handedness', default='right', choices=('right', 'left_unity'), help='of spaces in 3-D'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seconds', type=float, default=math.inf, help='stop after these')
    return parser.parse_args(remove_ros_args(argv)[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Publish until a signal comes; return the exit code, 2 for input that cannot be used."""
    argv = list(sys.argv if argv is None else argv)
    arguments = _arguments(argv)
    try:
        target = read_waypoints(arguments.waypoints) if arguments.waypoints else None
        if arguments.masks:
            target, arguments.size = read_masks(arguments.masks, arguments.mask_rate)
        parse_static(arguments.static_transform)
        if arguments.confidence == 'z' and arguments.space in IN_SPACE:
            raise ValueError(f'--confidence z needs the z that --space {arguments.space} has')
    except (OSError, ValueError, GazeError) as error:
        print(f'gaze_simulator: error: {error}', file=sys.stderr)
        return 2
    stop = Stop()
    with stop.on_signals(), spinning(lambda: Tracker(arguments, target), argv) as node:
        start = due = time.monotonic()
        while stop.wait_until(due) and due - start < arguments.seconds:
            node.sample(due - start)
            due = max(due + 1 / arguments.rate, time.monotonic())
    return 0


if __name__ == '__main__':
    sys.exit(main())
