# SPDX-License-Identifier: Apache-2.0
"""From what a source says to a pixel of an image, with whatever that takes of the robot."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import numpy as np

from stt_ros.gaze import spaces
from stt_ros.gaze.camera import Camera
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.rays import Ray, first_hit, from_hand
from stt_ros.gaze.spaces import GazeError, RawGaze
from stt_ros.ros.calibration import CameraInfos, DepthImages
from stt_ros.ros.frames import Frames

_RIGHT_HANDED = ('clicked_point',)  # rviz publishes nothing else, whatever the eye tracker does


@dataclass(frozen=True, eq=False)
class Aim:
    """A line of sight that ended somewhere, both (3,) in metres in the camera's optical frame."""

    origin: np.ndarray
    hit: np.ndarray


class Scene:
    """Finds the pixel that a prompt means; subscribes to what that needs when it is needed."""

    def __init__(self, node) -> None:
        self._node = node
        self.infos = CameraInfos(node)
        self.depths = DepthImages(node)
        self.frames = Frames(node)
        self._told: set = set()
        self.aim: Aim | None = None  # of the last prompt in space
        self._prepare({node.parameters[f'{name}_space'] for name in _SOURCES})

    def pixel(
        self, source: str, gaze: RawGaze, space: str, header, size: tuple[int, int]
    ) -> tuple[float, float]:
        """Return the pixel (x, y) that a prompt points at in the image with this header and size.

        Raises ``GazeError`` for what cannot be used, ``NotYetError`` when it may be soon.
        """
        meant = spaces.meaning(gaze, space, header.frame_id)
        if (source, gaze.frame_id, space, meant) not in self._told:
            self._tell(source, gaze.frame_id, space, meant)
        if meant in spaces.FLAT:
            self.aim = None
            return spaces.to_pixel(gaze, meant, size)
        spaces.check_finite(gaze)
        camera, optical_frame = self.infos.camera()
        optical_frame = header.frame_id or optical_frame
        stamp = _nanoseconds(header.stamp)
        hand = 'right' if source in _RIGHT_HANDED else self._node.parameters['handedness']
        if meant == 'ray':
            ray = self._ray(gaze, hand, optical_frame, stamp)
            aim = Aim(ray.origin, self._end(ray, camera, size, stamp))
        else:
            aim = Aim(np.zeros(3), self._point(gaze, meant, hand, optical_frame, stamp))
        pixel = camera.pixel(aim.hit, size, self._rectified)
        pixel = _check_in_view(pixel, aim.hit, size)
        self.aim = aim
        return pixel

    def place(self, gaze: RawGaze, space: str, header) -> RawGaze | None:
        """Return where the last prompt ended, in its own frame; None if it moves with the camera.

        The prompt's pixel must have been found in the image with this header.
        """
        meant = spaces.meaning(gaze, space, header.frame_id)
        optical_frame = header.frame_id or self.infos.camera()[1]
        if meant not in ('world_3d', 'ray') or gaze.frame_id.lstrip('/') == optical_frame:
            return None
        to_camera = self._transform(gaze, optical_frame, _nanoseconds(header.stamp))
        return RawGaze(*map(float, to_camera.inverse().point(self.aim.hit)), gaze.frame_id)

    def pixel_of(self, place: RawGaze, header, size: tuple[int, int]) -> tuple[float, float]:
        """Return the pixel (x, y) where a place appears in an image. Raises as ``pixel`` does."""
        camera, optical_frame = self.infos.camera()
        optical_frame = header.frame_id or optical_frame
        to_camera = self._transform(place, optical_frame, _nanoseconds(header.stamp))
        point = to_camera.point(place.xyz)
        return _check_in_view(camera.pixel(point, size, self._rectified), point, size)

    def pixels_per_degree(self, size: tuple[int, int]) -> float | None:
        """Return the scale at the middle of an image (H, W); None without camera_info."""
        try:
            camera, _ = self.infos.camera()
            return math.radians(camera.focal_length(size, self._rectified))
        except GazeError:
            return None

    def line_of_sight(self, pixel, header, size: tuple[int, int]) -> Aim | None:
        """Return the line to what the last prompt's pixel (x, y) shows; None if not known yet.

        A prompt in the picture has one, too: from the camera, to the depth there or ray_depth.
        """
        if self.aim is not None:
            return self.aim
        try:
            camera, _ = self.infos.camera()
            direction = camera.direction(pixel, size, self._rectified)
            distance = self._node.parameters['ray_depth']
            if self.depths.expected():
                self.depths.need('rays')
                depth = self.depths.at(_nanoseconds(header.stamp), size)
                z = float(depth[int(pixel[1]), int(pixel[0])])
                distance = z / direction[2] if z > 0 else distance
        except GazeError:
            return None
        return Aim(np.zeros(3), distance * direction)

    def clear(self) -> None:
        """Forget what belongs to a time that is over: the clock went back."""
        self.frames.clear()
        self.depths.clear()
        self.aim = None

    def close(self) -> None:
        """End all subscriptions."""
        for part in (self.infos, self.depths, self.frames):
            part.close()

    def _prepare(self, said: set[str]) -> None:
        """Subscribe at once to what the spaces that were set will need."""
        if said & set(spaces.IN_SPACE):
            self.infos.need()
        if 'ray' in said:
            self.depths.need('rays')
        if said & {'world_3d', 'ray'} and not self._node.parameters['static_transform']:
            with contextlib.suppress(ImportError):  # said when a prompt needs it
                self.frames.listen()

    @property
    def _rectified(self) -> bool:
        return self._node.parameters['image_rectified']

    def _point(self, gaze, meant: str, hand: str, optical_frame: str, stamp: int) -> np.ndarray:
        """Return a gaze's point (3,) in the optical frame."""
        if meant == 'camera_3d':
            return from_hand(gaze.xyz, hand, optical=True)
        here = gaze.frame_id == optical_frame
        point = from_hand(gaze.xyz, hand, optical=here)
        return self._transform(gaze, optical_frame, stamp).point(point)

    def _ray(self, gaze: RawGaze, hand: str, optical_frame: str, stamp: int) -> Ray:
        """Return a gaze's ray in the optical frame."""
        # Three numbers alone are a direction from where their frame is.
        origin = gaze.xyz if gaze.direction is not None else (0.0, 0.0, 0.0)
        direction = gaze.direction if gaze.direction is not None else gaze.xyz
        here = gaze.frame_id == optical_frame
        ray = Ray.of(from_hand(origin, hand, here), from_hand(direction, hand, here))
        return ray.seen_from(self._transform(gaze, optical_frame, stamp))

    def _transform(self, gaze: RawGaze, optical_frame: str, stamp: int):
        frame = gaze.frame_id.lstrip('/')
        if not frame:
            raise GazeError(
                'a point or ray in space needs the frame that it is in, but frame_id is empty; for '
                "points in the camera's own frame set the space parameter to camera_3d"
            )
        return self.frames.lookup(optical_frame, frame, stamp)

    def _end(self, ray: Ray, camera: Camera, size: tuple[int, int], stamp: int) -> np.ndarray:
        """Return where a ray ends: at the first surface, without depth after ray_depth metres."""
        if not self.depths.expected():
            return ray.at(self._node.parameters['ray_depth'])
        self.depths.need('rays')
        return first_hit(ray, self.depths.at(stamp, size), camera, self._rectified)

    def _tell(self, source: str, frame_id: str, space: str, meant: str) -> None:
        """Say once per source what its numbers are taken for."""
        if len(self._told) > 100:  # sources with ever new frames
            self._told.clear()
        self._told.add((source, frame_id, space, meant))
        if space == 'auto':
            words = {'pixel': 'pixels', 'world_3d': 'points in metres', 'ray': 'rays'}[meant]
            self._node.get_logger().info(
                f"{source}: messages with frame_id '{frame_id}' are taken for {words}; if they are "
                f'something else, set {_parameter(source)}'
            )


_SOURCES = ('gaze', 'clicked_point')


def _parameter(source: str) -> str:
    return f'{source if source in _SOURCES else "gaze"}_space'


def _nanoseconds(stamp) -> int:
    return stamp.sec * SECOND + stamp.nanosec


def _check_in_view(pixel, point: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    (x, y), (height, width) = pixel, size
    if not (0 <= x < width and 0 <= y < height):
        at = ', '.join(f'{v:.3f}' for v in point)
        raise GazeError(
            f'point ({at}) m of the camera appears at pixel ({x:.1f}, {y:.1f}), outside the image '
            f'of {width} x {height} pixels'
        )
    return x, y
