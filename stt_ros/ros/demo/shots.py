# SPDX-License-Identifier: Apache-2.0
"""What a camera hands out: a picture as messages, its calibration, what people marked in it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stt_ros.ros.images import fill_image

FRAME_ID = 'camera_optical_frame'
TRANSPORTS = ('raw', 'compressed')
JPEG_QUALITY = 92


class InputError(ValueError):
    """Input of the user's that cannot be played; the text names it and the reason."""


@dataclass(frozen=True)
class Shot:
    """One picture of a pass through the input; its messages get their stamp when they are sent."""

    due: float | None  # seconds since the start of the pass; None: now, the camera is a real one
    image: Image | CompressedImage
    info: CameraInfo
    mask: CompressedImage | None = None  # PNG, 255 = the thing that people marked

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.info.width, self.info.height

    @property
    def nbytes(self) -> int:
        """What the messages hold in memory, about."""
        return len(self.image.data)


class Source(Protocol):
    """An input to be played as a camera."""

    description: str
    period: float  # seconds from the last picture of a pass to the first of the next
    live: bool  # a real camera: it sets the pace, and there is no second pass
    has_masks: bool

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures of one pass in their order. Raises ``InputError``."""
        ...


def image_message(pixels: np.ndarray, transport: str) -> Image | CompressedImage:
    """Return pixels (H, W, 3) uint8 BGR as a message for ``image`` or ``image/compressed``."""
    header = Header(frame_id=FRAME_ID)
    if transport == 'compressed':
        _, content = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return compressed_message(content.tobytes(), 'bgr8; jpeg compressed bgr8')
    message = Image()
    fill_image(message, pixels, 'bgr8', header)
    return message


def compressed_message(content: bytes, kind: str) -> CompressedImage:
    """Return the content of a JPEG or PNG file as a message; ``kind`` goes into its format."""
    message = CompressedImage(header=Header(frame_id=FRAME_ID), format=kind)
    message.data = array('B', content)
    return message


def pinhole(width: int, height: int, frame_id: str = FRAME_ID) -> CameraInfo:
    """Return a made-up calibration: no distortion, 53 degrees wide, the axis through the middle."""
    f, cx, cy = float(width), width / 2, height / 2
    info = CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5)
    info.header.frame_id = frame_id
    info.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
