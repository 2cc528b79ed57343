# SPDX-License-Identifier: Apache-2.0
"""Rays of sight: how devices write them, and the first surface that they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stt_ros.gaze.camera import Camera
from stt_ros.gaze.spaces import GazeError
from stt_ros.gaze.transforms import Rigid, rotation_matrix

HANDEDNESS = ('right', 'left_unity')
NEAR = 0.05  # metres in front of the camera where a ray begins to be in sight
# How far, in metres and as a share of the depth, a measured surface may be from where a ray
# crosses it: the noise of stereo cameras and the slope of a surface between two samples.
_THICKNESS, _THICKNESS_SHARE = 0.03, 0.03

# Unity: x right, y up, z forward, left-handed. ROS (REP 103): x forward, y left, z up, and in
# optical frames x right, y down, z forward.
_UNITY_TO_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_UNITY_TO_OPTICAL = np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Ray:
    """A line of sight from ``origin`` (3,) metres along ``direction`` (3,), a unit vector."""

    origin: np.ndarray
    direction: np.ndarray

    @classmethod
    def of(cls, origin: Sequence[float], direction: Sequence[float]) -> Ray:
        """Make one of a direction of any length but 0. Raises ``GazeError`` for that one."""
        direction = np.asarray(direction, float)
        length = np.linalg.norm(direction)
        if not length > 0:
            raise GazeError('the direction of the ray is (0, 0, 0)')
        return cls(np.asarray(origin, float), direction / length)

    def at(self, distance: float) -> np.ndarray:
        """Return the point (3,) at a distance in metres."""
        return self.origin + distance * self.direction

    def seen_from(self, transform: Rigid) -> Ray:
        """Return the same ray in another frame."""
        return Ray(transform.point(self.origin), transform.direction(self.direction))


def from_hand(vector: Sequence[float], handedness: str, optical: bool = False) -> np.ndarray:
    """Return a point or direction (3,) of a device in the axes of the ROS frame that it names.

    Those are x forward, y left, z up, or in an ``optical`` frame x right, y down, z forward.
    """
    vector = np.asarray(vector, float)
    if handedness == 'right':
        return vector
    return (_UNITY_TO_OPTICAL if optical else _UNITY_TO_BODY) @ vector


def to_hand(vector: Sequence[float], handedness: str, optical: bool = False) -> np.ndarray:
    """Return a point or direction (3,) of a ROS frame in a device's axes: see ``from_hand``."""
    vector = np.asarray(vector, float)
    if handedness == 'right':
        return vector
    return (_UNITY_TO_OPTICAL if optical else _UNITY_TO_BODY).T @ vector


def forward(quaternion: Sequence[float], handedness: str) -> np.ndarray:
    """Return where an orientation (x, y, z, w) looks: along its x axis, Unity's along its z axis.

    The vector (3,) is in the axes of the device's world, not of ROS; see ``from_hand``.
    """
    return rotation_matrix(quaternion)[:, 2 if handedness == 'left_unity' else 0]


def first_hit(ray: Ray, depth: np.ndarray, camera: Camera, rectified: bool = False) -> np.ndarray:
    """Return the point (3,) where a ray first meets what a depth image shows.

    The ray is in the optical frame; ``depth`` (H, W) is in metres along the axis, 0 where unknown,
    for each pixel of the image. The ray passes unhurt behind things that the camera sees in front
    of it. Raises ``GazeError`` when it meets nothing.
    """
    points = _in_sight(ray, depth, camera, rectified)
    pixels, seen = camera.project(points, depth.shape, rectified)
    column, row = np.rint(np.clip(pixels, -1e6, 1e6)).astype(int).T
    seen &= (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
    surface = np.full(len(points), np.nan)
    surface[seen] = depth[row[seen], column[seen]]
    along = camera.depth(points, rectified)
    behind = along - np.where(surface > 0, surface, np.nan)  # NaN: unknown there
    known = np.nonzero(np.isfinite(behind))[0]
    before, after = known[:-1], known[1:]
    step = np.abs(along[after] - along[before])
    near_enough = behind[after] <= step + _THICKNESS + _THICKNESS_SHARE * along[after]
    hits = np.nonzero((behind[before] < 0) & (behind[after] >= 0) & near_enough)[0]
    if not len(hits):
        raise GazeError(
            'the ray meets no surface in the depth image'
            + ('' if len(known) else ': it runs outside the image, or where no depth was measured')
        )
    i, j = before[hits[0]], after[hits[0]]
    share = behind[i] / (behind[i] - behind[j])
    if behind[j] - behind[i] > 2 * step[hits[0]] + _THICKNESS:
        share = 1.0  # over the edge of a thing and into its side
    return points[i] + share * (points[j] - points[i])


def _in_sight(ray: Ray, depth: np.ndarray, camera: Camera, rectified: bool) -> np.ndarray:
    """Return points (N, 3) along the part of a ray that may be in the image, evenly there."""
    far = float(depth.max()) * 1.05
    if not far > 0:
        raise GazeError('nothing in the depth image was measured: all of it is 0 or not finite')
    (left, top), (right, bottom) = camera.field_of_view(depth.shape, rectified)
    margin = 0.1  # for the rotation of rectified cameras
    planes = np.array(
        [
            (0, 0, 1, -NEAR),
            (0, 0, -1, far),
            (1, 0, margin - left, 0),
            (-1, 0, margin + right, 0),
            (0, 1, margin - top, 0),
            (0, -1, margin + bottom, 0),
        ]
    )
    start, end = _clip(ray, planes)
    spread = np.hypot(*(start[:2] / start[2] - end[:2] / end[2]))
    pixels = spread * camera.focal_length(depth.shape, rectified)
    count = int(np.clip(2 * pixels, 256, 4096))  # more than two per pixel do not find more
    share = np.linspace(0, 1, count)[:, None]
    weights = np.hstack([(1 - share) / start[2], share / end[2]])
    return weights @ np.stack([start, end]) / weights.sum(axis=1, keepdims=True)


def _clip(ray: Ray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (3,) of the part of a ray on the inner sides of planes (N, 4), n.x + d >= 0.

    The planes close: no ray is inside all of them for ever.
    """
    heights = planes[:, :3] @ ray.origin + planes[:, 3]
    slopes = planes[:, :3] @ ray.direction
    first, last = 0.0, np.inf
    for height, slope in zip(heights, slopes, strict=True):
        if slope > 0:
            first = max(first, -height / slope)
        elif slope < 0:
            last = min(last, -height / slope)
        elif height < 0:
            last = -np.inf
    if not first < last:
        raise GazeError('the ray does not pass through what the camera sees')
    return ray.at(first), ray.at(last)
