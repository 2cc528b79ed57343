# SPDX-License-Identifier: Apache-2.0
"""gaze_player: an eye tracker that looks at the moving thing.

Publishes ``gaze`` (PointStamped, pixels, frame_id of the images) at 60 Hz. The thing is what the
masks on ``ground_truth/mask/compressed`` show; without masks it looks at the middle of the image,
whose size it takes from ``camera_info``, and with ``--point`` at that point.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage

from stt_ros.cli_prompts import point
from stt_ros.ros.demo.eye import Eye
from stt_ros.ros.demo.running import Stop, spinning

RATE = 60.0  # Hz
JITTER = 3.0  # px


class Gaze(Node):
    """The eye tracker."""

    def __init__(self, eye: Eye, point: tuple[float, float] | None) -> None:
        super().__init__('gaze')
        self._eye = eye
        self._frame_id = ''
        self._publisher = self.create_publisher(PointStamped, 'gaze', qos_profile_sensor_data)
        self._latest_mask: CompressedImage | None = None
        if point:
            eye.fixate(point)
            return
        self.create_subscription(
            CompressedImage, 'ground_truth/mask/compressed', self._see, qos_profile_sensor_data
        )
        self.create_subscription(CameraInfo, 'camera_info', self._measure, qos_profile_sensor_data)

    def _see(self, message: CompressedImage) -> None:
        self._latest_mask = message

    def _measure(self, message: CameraInfo) -> None:
        if not self._eye.is_open and not self.count_publishers('ground_truth/mask/compressed'):
            self._eye.fixate((message.width / 2, message.height / 2))
            self._frame_id = message.header.frame_id

    def sample(self) -> None:
        """Publish where the eye looks now, once it has seen something."""
        mask, self._latest_mask = self._latest_mask, None
        if mask is not None:
            pixels = cv2.imdecode(np.frombuffer(mask.data, np.uint8), cv2.IMREAD_GRAYSCALE)
            if pixels is None:
                self.get_logger().warning('a mask does not decode', throttle_duration_sec=5.0)
            else:
                self._eye.see(pixels)
                self._frame_id = mask.header.frame_id
        if not self._eye.is_open:
            return
        message = PointStamped()
        message.header.frame_id = self._frame_id
        message.point.x, message.point.y = self._eye.look()
        message.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(message)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='gaze_player', description=__doc__)
    parser.add_argument(
        '--point', type=point, metavar='X,Y', help='look at this pixel, all the time'
    )
    parser.add_argument(
        '--jitter', type=float, default=JITTER, metavar='PX', help='standard deviation'
    )
    parser.add_argument('--seed', type=int, help='of the noise and the saccades')
    return parser.parse_args(remove_ros_args(argv)[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Publish until a signal comes; return the exit code."""
    argv = list(sys.argv if argv is None else argv)
    arguments = _arguments(argv)
    stop = Stop()
    eye = Eye(arguments.jitter, RATE, arguments.seed)
    with stop.on_signals(), spinning(lambda: Gaze(eye, arguments.point), argv) as node:
        due = time.monotonic()
        while stop.wait_until(due):
            node.sample()
            due = max(due + 1 / RATE, time.monotonic())  # late ones are left out, not sent at once
    return 0


if __name__ == '__main__':
    sys.exit(main())
