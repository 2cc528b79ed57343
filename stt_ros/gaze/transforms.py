# SPDX-License-Identifier: Apache-2.0
"""Where frames are relative to each other: rigid transforms and who knows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stt_ros.gaze.spaces import GazeError


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rotation (3, 3) and a translation (3,) in metres: coordinates in one frame to another's."""

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def of(cls, translation: Sequence[float], quaternion: Sequence[float]) -> Rigid:
        """Make one of a translation (x, y, z) and a quaternion (x, y, z, w), as ROS writes them.

        Raises ``GazeError`` for a quaternion that is no rotation.
        """
        return cls(rotation_matrix(quaternion), np.array(translation, float))

    def point(self, point: Sequence[float]) -> np.ndarray:
        """Return where a point (3,) is in the other frame."""
        return self.rotation @ np.asarray(point, float) + self.translation

    def direction(self, direction: Sequence[float]) -> np.ndarray:
        """Return how a direction (3,) is seen from the other frame."""
        return self.rotation @ np.asarray(direction, float)

    def inverse(self) -> Rigid:
        """Return the way back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.translation)


IDENTITY = Rigid(np.eye(3), np.zeros(3))


class NotYetError(GazeError):
    """What a gaze needs is not there yet, but may come: a transform, a calibration, a depth."""


class TooOldError(NotYetError):
    """The image is older than what is known, but newer images will not be."""


class Transforms(Protocol):
    """Somebody who knows where frames are."""

    def lookup(self, target: str, source: str, stamp: int) -> Rigid:
        """Return what takes coordinates in ``source`` to those in ``target`` at a time in ns.

        Raises ``GazeError`` when that is not known, ``NotYetError`` when it may become known.
        """
        ...


class StaticTransforms:
    """Frames that never move, and each frame to itself."""

    def __init__(
        self, entries: Sequence[tuple[str, str, Rigid]] = (), why_no_more: str = ''
    ) -> None:
        """Take the pose of each child in its frame: (frame, child, pose)."""
        self._known: dict[tuple[str, str], Rigid] = {}
        self._why_no_more = why_no_more
        for frame, child, pose in entries:
            self._known[frame, child] = pose
            self._known[child, frame] = pose.inverse()

    def lookup(self, target: str, source: str, stamp: int) -> Rigid:
        """See ``Transforms``; time does not matter."""
        if target == source:
            return IDENTITY
        try:
            return self._known[target, source]
        except KeyError:
            known = ', '.join(f"'{a}' to '{b}'" for a, b in self._known) or 'none'
            raise GazeError(
                f"no transform from frame '{source}' to the camera's '{target}' is known "
                f'(static_transform gives: {known}){self._why_no_more}'
            ) from None


def parse_static(text: str) -> list[tuple[str, str, Rigid]]:
    """Read 'x y z qx qy qz qw frame child', several separated by ';': poses of child in frame.

    The order is that of tf2_ros' static_transform_publisher. Raises ``GazeError`` that says which
    part is wrong.
    """
    entries = []
    for part in filter(None, map(str.strip, text.split(';'))):
        words = part.split()
        try:
            numbers = [float(word) for word in words[:7]]
        except ValueError:
            numbers = []
        if len(words) != 9 or len(numbers) != 7 or not all(map(math.isfinite, numbers)):
            raise GazeError(
                f"'{part}' is no transform; expected 'x y z qx qy qz qw frame child', several "
                "separated by ';'"
            )
        frame, child = (word.lstrip('/') for word in words[7:])
        entries.append((frame, child, Rigid.of(numbers[:3], numbers[3:])))
    return entries


def rotation_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """Return the rotation (3, 3) of a quaternion (x, y, z, w) of about unit length.

    Raises ``GazeError`` for any other length: the message was not filled in.
    """
    x, y, z, w = (float(v) for v in quaternion)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(length - 1) < 0.1:
        raise GazeError(
            f'orientation ({x:g}, {y:g}, {z:g}, {w:g}) is no rotation: its length is {length:g}, '
            'must be 1'
        )
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
