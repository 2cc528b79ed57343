# SPDX-License-Identifier: Apache-2.0
"""What gazes and masks in space cost: projecting, rays through depth, the object's cloud."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

import stt_ros
from bench import report, timing
from stt_ros.frame import Frame
from stt_ros.gaze.camera import Camera
from stt_ros.gaze.rays import Ray, first_hit
from stt_ros.gaze.surface import object_pixels

SIZES = [(848, 480)]


def measure(sizes: list[tuple[int, int]], repeats: int) -> dict:
    """Return the figures at image sizes (W, H), for a mask of a tenth of the image."""
    rows = []
    for size in sizes:
        for stage, times in timing.interleaved(_tasks(size), lambda: None, repeats).items():
            median, p95 = timing.quantiles(times)
            best = round(float(times.min()), 3)
            image = '{}x{}'.format(*size)
            rows.append(
                {'stage': stage, 'image': image, 'best': best, 'median': median, 'p95': p95}
            )
    return {
        'bench': 'space',
        'environment': report.environment(
            repeats=f'{repeats}, all stages in turn', package=str(stt_ros.__path__[0])
        ),
        'tables': {'milliseconds': rows},
    }


def _tasks(size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from stt_ros.ros.images import depth_in_metres, fill_image
    from stt_ros.ros.objects import colours, to_cloud

    width, height = size
    lens = _lens(width, height)
    millimetres = _room(width, height)
    message = Image()
    fill_image(message, millimetres.view(np.uint8), '16UC1', Header())
    message.width = width
    depth = depth_in_metres(message)
    corner, crop = _tenth(width, height)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    frame = Frame(pixels, 'bgr')
    aimed = lens.direction((width // 3, height // 3), (height, width)) * 1.8
    origin = np.array([0.5, -0.2, -0.3])

    def cloud() -> None:
        metres = depth_in_metres(message)
        kept = object_pixels(crop, corner, metres)
        points = lens.to_points(metres.ravel()[kept], kept, (height, width))
        to_cloud(Header(), points, colours(frame, kept))
        np.median(points, axis=0)

    return {
        'point to pixel': partial(lens.pixel, aimed, (height, width)),
        'ray to first surface': partial(first_hit, Ray.of(origin, aimed - origin), depth, lens),
        'object_points and object_centroid': cloud,
    }


def _lens(width: int, height: int) -> Camera:
    f = 0.72 * width
    k = (f, 0.0, width / 2, 0.0, f, height / 2, 0.0, 0.0, 1.0)
    p = (*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0)
    d = (-0.05, 0.06, 0.001, -0.001, -0.02)
    return Camera(width, height, 'plumb_bob', d, k, tuple(np.eye(3).ravel()), p)


def _room(width: int, height: int) -> np.ndarray:
    """Return a depth image (H, W) uint16 in mm: a noisy wall at 4 m, a ball at 1.5 m."""
    room = np.random.default_rng(1).normal(4000, 20, (height, width)).astype(np.uint16)
    cv2.circle(room, (width // 2, height // 2), height // 3, 1500, -1)
    return room


def _tenth(width: int, height: int) -> tuple[tuple[int, int], np.ndarray]:
    """Return corner (x, y) and crop (h, w) bool of a disk that covers a tenth of the image."""
    mask = np.zeros((height, width), np.uint8)
    radius = round((0.1 * width * height / np.pi) ** 0.5)
    cv2.circle(mask, (width // 2, height // 2), radius, 1, -1)
    x, y, w, h = cv2.boundingRect(mask)
    return (x, y), mask[y : y + h, x : x + w].astype(bool)
