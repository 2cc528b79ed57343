# SPDX-License-Identifier: Apache-2.0
"""Frames as a camera's messages, and results as messages on their way to the middleware."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np

from bench.report import BenchError
from stt_ros.ros import images

try:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from stt_ros.ros.outputs import to_message

    WITH_ROS = True
except ImportError:
    WITH_ROS = False


def raw(frame: np.ndarray) -> SimpleNamespace:
    """Return a frame (H, W, 3) RGB as a message whose data are the frame's own memory."""
    height, width = frame.shape[:2]
    return SimpleNamespace(
        encoding='rgb8', height=height, width=width, step=3 * width, is_bigendian=0,
        data=memoryview(frame).cast('B'),
    )  # fmt: skip


def jpeg(frame: np.ndarray) -> SimpleNamespace:
    """Return a frame (H, W, 3) RGB as a compressed message, of the quality that ROS defaults to."""
    done, data = cv2.imencode('.jpg', frame[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))
    if not done:
        raise BenchError('OpenCV cannot write JPEG')
    return SimpleNamespace(format='rgb8; jpeg compressed bgr8', data=data.tobytes())


def decoder(message: SimpleNamespace) -> Callable[[], object]:
    """Return the call that turns a message into a frame."""
    return partial(images.to_frame, message)


def publish(result) -> bytes:
    """Make the message of a painted result and serialize it, as publishing does."""
    return serialize_message(to_message(result, Header(), 0, len(result.hypotheses)))


def publish_whole(masks: list[tuple[np.ndarray, float]]) -> list[bytes]:
    """Make whole images of masks (H, W) bool and serialize them."""
    done = []
    for mask, _ in masks:
        message = Image()
        images.fill_image(message, mask.astype(np.uint8) * np.uint8(255), 'mono8', Header())
        done.append(serialize_message(message))
    return done
