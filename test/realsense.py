# SPDX-License-Identifier: Apache-2.0
"""A real robot's RealSense D435i: intrinsics, where it is mounted, one aligned depth image."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from stt_ros.gaze.camera import Camera
from stt_ros.gaze.transforms import Rigid

FOLDER = Path(__file__).parent / 'data' / 'openloris'
_INFO = json.loads((FOLDER / 'camera.json').read_text())

FRAME = _INFO['frame_id']
SIZE = (_INFO['height'], _INFO['width'])
MODEL, K, D, R, P = (_INFO[name] for name in ('distortion_model', 'k', 'd', 'r', 'p'))
DEPTH_MM = cv2.imread(str(FOLDER / 'depth.png'), cv2.IMREAD_UNCHANGED)
BASE = _INFO['mount']['frame']  # the robot: x forward, y left, z up
MOUNT = Rigid.of(_INFO['mount']['translation'], _INFO['mount']['quaternion'])
STATIC_TRANSFORM = ' '.join(
    map(str, [*_INFO['mount']['translation'], *_INFO['mount']['quaternion'], BASE, FRAME])
)


def camera(**changed) -> Camera:
    """Return the camera, with some of its fields changed."""
    fields = {'width': SIZE[1], 'height': SIZE[0], 'model': MODEL, 'd': D, 'k': K, 'r': R, 'p': P}
    fields.update(changed)
    return Camera(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def depth() -> np.ndarray:
    """Return the depth (H, W) float32 in metres, 0 where unknown."""
    return DEPTH_MM * np.float32(1e-3)


def point_at(x: int, y: int) -> np.ndarray:
    """Return the point (3,) in the optical frame that a pixel shows, by K and the depth alone."""
    z = DEPTH_MM[y, x] * 1e-3
    assert z > 0, 'no depth was measured there'
    return np.array([(x - K[2]) / K[0] * z, (y - K[5]) / K[4] * z, z])


def to_base(point) -> np.ndarray:
    """Return a point (3,) of the optical frame in the robot's."""
    return MOUNT.point(point)


def to_unity(vector) -> np.ndarray:
    """Return a point or direction (3,) of the robot's frame in the axes of Unity."""
    x, y, z = vector
    return np.array([-y, z, x])
