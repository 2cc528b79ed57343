# SPDX-License-Identifier: Apache-2.0
"""The mask in space: its points with colours, and its middle, made of the depth image."""

from __future__ import annotations

import sys
import threading
from array import array
from functools import partial

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import PointCloud2, PointField

from stt_ros.frame import Frame
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.surface import object_pixels
from stt_ros.gaze.transforms import NotYetError
from stt_ros.ros.scene import Scene
from stt_ros.segmenter import Segmentation

try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except Exception:  # not installed, or built against another NumPy
    create_cloud = None

_FIELDS = [
    PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
    for i, name in enumerate(('x', 'y', 'z', 'rgb'))
]


class Objects:
    """Publishes object_points and object_centroid of results, as soon as their depth is there."""

    def __init__(self, node, scene: Scene, post, reject) -> None:
        self._node, self._scene = node, scene
        self._post, self._reject = post, reject
        self._lock = threading.Lock()
        self.wanted = False
        self._waiting: tuple | None = None  # the last result, while its depth image is not here
        scene.depths.on_arrival = self._on_depth

    def update(self) -> None:
        """See whether anybody listens, and subscribe to what that takes only as long."""
        outputs = self._node.outputs
        self.wanted = any(
            publisher.get_subscription_count()
            for publisher in (outputs.object_points, outputs.object_centroid)
        )
        if self.wanted:
            self._scene.infos.need()
            self._scene.depths.need('objects')
        else:
            self._scene.depths.release('objects')

    def publish(self, header, frame: Frame, result: Segmentation) -> None:
        """Publish the points of a result's best mask, or keep it until its depth image comes."""
        outputs = self._node.outputs
        hypothesis = result.hypotheses[0]
        stamp = header.stamp.sec * SECOND + header.stamp.nanosec
        try:
            points, rgb = self._points(frame, hypothesis, stamp)
        except NotYetError as error:
            self._keep((header, frame, result), error)
            return
        except ValueError as error:
            self._reject('depth', error)
            return
        if outputs.object_points.get_subscription_count():
            outputs.object_points.publish(to_cloud(header, points, rgb))
        if outputs.object_centroid.get_subscription_count() and len(points):
            x, y, z = map(float, np.median(points, axis=0))
            outputs.object_centroid.publish(PointStamped(header=header, point=Point(x=x, y=y, z=z)))

    def _points(self, frame: Frame, hypothesis, stamp: int) -> tuple[np.ndarray, np.ndarray]:
        """Return points (N, 3) float32 and their colours (N, 3) uint8 RGB."""
        camera, _ = self._scene.infos.camera()
        depth = self._scene.depths.at(stamp, frame.size)
        x, y, _, _ = hypothesis.box
        kept = object_pixels(hypothesis.crop, (x, y), depth)
        rectified = self._node.parameters['image_rectified']
        points = camera.to_points(depth.ravel()[kept], kept, frame.size, rectified)
        return points, colours(frame, kept)

    def _keep(self, what: tuple, reason: Exception) -> None:
        with self._lock:
            replaced, self._waiting = self._waiting, what
        if replaced is not None:
            self._reject('depth', reason)

    def _on_depth(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._post(partial(self.publish, *waiting))


def colours(frame: Frame, index: np.ndarray) -> np.ndarray:
    """Return the colours (N, 3) uint8 RGB of pixels (N,), counted row by row."""
    if not len(index):
        return np.empty((0, 3), np.uint8)
    pixels = frame.pixels.reshape(frame.size[0] * frame.size[1], -1).take(index, axis=0)
    pixels = pixels[None, :, 0] if frame.order == 'mono' else pixels[None]
    return Frame(pixels, frame.order).rgb()[0]


def to_cloud(header, points: np.ndarray, rgb: np.ndarray) -> PointCloud2:
    """Return a cloud of points (N, 3) float32 in metres and colours (N, 3) uint8 RGB.

    Fields x, y, z, rgb (float32; rgb holds the bytes 0, r, g, b as rviz and PCL expect them), one
    row. Made by sensor_msgs_py where it is installed, byte for byte the same without.
    """
    values = np.empty((len(points), 4), np.float32)
    values[:, :3] = points
    red, green, blue = rgb.astype(np.uint32).T
    values[:, 3] = (red << 16 | green << 8 | blue).view(np.float32)
    if create_cloud is not None and len(values):  # it cannot make empty ones
        return create_cloud(header, _FIELDS, values)
    cloud = PointCloud2(header=header, height=1, width=len(points), fields=_FIELDS)
    cloud.is_bigendian = sys.byteorder == 'big'
    cloud.point_step = 16
    cloud.row_step = 16 * len(points)
    cloud.is_dense = False
    data = array('B')
    data.frombytes(values.view(np.uint8).data)
    cloud.data = data
    return cloud
