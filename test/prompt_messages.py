# SPDX-License-Identifier: Apache-2.0
"""Prompt messages of plain numbers, how to ask with them, and what answers hold."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from geometry_msgs.msg import Point  # noqa: E402
from ros_messages import raw_image, to_array  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stt_ros.msg import Prompt  # noqa: E402
from stt_ros.srv import Segment  # noqa: E402


def prompt(kind: str, points=(), negative=(), box=(0, 0, 0, 0), **fields) -> Prompt:
    """Return a Prompt of a kind by name, points (x, y) and a box (x, y, width, height)."""
    message = Prompt(
        kind=getattr(Prompt, kind),
        points=[Point(x=float(x), y=float(y)) for x, y in points],
        negative_points=[Point(x=float(x), y=float(y)) for x, y in negative],
        **fields,
    )
    message.box.x_offset, message.box.y_offset, message.box.width, message.box.height = box
    return message


def gray(mask: np.ndarray):
    """Return a mask (H, W) as a mono8 message."""
    return raw_image(mask.astype(np.uint8) * 255, 'mono8', Header())


def rgb(pixels: np.ndarray):
    """Return pixels (H, W, 3) as an rgb8 message."""
    return raw_image(pixels, 'rgb8', Header())


def tone(seconds: float = 1.0, loud: float = 0.5, rate: int = 16000) -> dict:
    """Return the fields of sound in a Prompt."""
    time = np.arange(int(seconds * rate)) / rate
    samples = (loud * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    return {'audio': samples.tolist(), 'audio_rate': rate}


def labels_of(image) -> np.ndarray:
    """Return the labels (H, W) of a label image."""
    assert (image.encoding, image.step) == ('mono16', 2 * image.width)
    kind = '>u2' if image.is_bigendian else '<u2'
    return np.frombuffer(image.data, kind).reshape(image.height, image.width)


def mask_of(segmentation):
    """Return the mask (H, W) bool of the whole image."""
    full = np.zeros((segmentation.image_height, segmentation.image_width), bool)
    [hypothesis] = segmentation.hypotheses
    roi = hypothesis.roi
    part = full[roi.y_offset : roi.y_offset + roi.height, roi.x_offset : roi.x_offset + roi.width]
    part[:] = to_array(hypothesis.mask) > 0
    assert hypothesis.area_px == full.sum()
    return full


def ask(bench, *asked, mode=0, image=None):
    """Call ~/segment with prompts."""
    request = Segment.Request(prompts=list(asked), mode=mode, image=image or Image())
    return bench.call(Segment, 'segment', request)


def begin(bench, *asked, **more):
    """Publish a PromptArray and return its first answer."""
    before = max((answer.prompt_id for answer in bench.answers), default=0)
    bench.prompt(*asked, **more)
    return bench.until(lambda: next((a for a in bench.answers if a.prompt_id > before), None))


# The disk of `ros_messages.picture(120, 160)`.
MIDDLE = (80.0, 60.0)
DISK = prompt('BOX', box=(50, 30, 61, 61))
INSIDE = np.hypot(*(np.indices((120, 160)) - np.array([60, 80])[:, None, None])) < 30
