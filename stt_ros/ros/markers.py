# SPDX-License-Identifier: Apache-2.0
"""The line of sight and where it ends, for rviz."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from stt_ros.ros.scene import Aim

_RAY = ColorRGBA(r=1.0, g=0.8, b=0.1, a=0.8)
_HIT = ColorRGBA(r=1.0, g=0.2, b=0.2, a=1.0)
_RAY_WIDTH, _HIT_SIZE = 0.005, 0.04  # metres


def to_markers(header, aim: Aim) -> MarkerArray:
    """Return a line (namespace 'ray') and a ball at its end ('hit'), in the optical frame."""
    ray = Marker(header=header, ns='ray', type=Marker.LINE_STRIP, action=Marker.ADD, color=_RAY)
    ray.scale.x = _RAY_WIDTH
    ray.points = [_point(aim.origin), _point(aim.hit)]
    hit = Marker(header=header, ns='hit', type=Marker.SPHERE, action=Marker.ADD, color=_HIT)
    hit.scale.x = hit.scale.y = hit.scale.z = _HIT_SIZE
    hit.pose.position = _point(aim.hit)
    for marker in (ray, hit):
        marker.pose.orientation.w = 1.0
    return MarkerArray(markers=[ray, hit])


def no_markers() -> MarkerArray:
    """Return what takes the markers away."""
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _point(xyz: np.ndarray) -> Point:
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)
