# SPDX-License-Identifier: Apache-2.0
"""Camera messages of pixels, and pixels of image messages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stt_ros.ros.images import fill_image  # noqa: E402


def raw_image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Return an Image message of pixels (H, W) or (H, W, C)."""
    msg = Image()
    fill_image(msg, pixels, encoding, header)
    return msg


def compressed_image(pixels: np.ndarray, file_format: str, header: Header) -> CompressedImage:
    """Return a picture (H, W, 3) RGB as a CompressedImage, 'jpeg' or 'png'."""
    done, data = cv2.imencode(f'.{file_format}', pixels[..., ::-1])
    assert done
    said = f'bgr8; {file_format} compressed bgr8'
    return CompressedImage(header=header, format=said, data=data.tobytes())


def to_array(msg: Image) -> np.ndarray:
    """Return the pixels (H, W) or (H, W, 3) of a mono8 or rgb8 message."""
    pixels = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)
    return pixels if msg.encoding == 'mono8' else pixels.reshape(msg.height, msg.width, 3)


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    """Return a picture (H, W, 3) RGB: a bright disk on a soft coloured ground."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 100 // width, y * 100 // height, (x + y) % 64], axis=2).astype(np.uint8)
    cv2.circle(pixels, (width // 2, height // 2), min(height, width) // 4, (250, 220, 30), -1)
    return pixels
