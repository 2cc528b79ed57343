# SPDX-License-Identifier: Apache-2.0
"""The camera's calibration and its depth images: subscribed to when something needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image

from stt_ros.gaze.camera import Camera
from stt_ros.gaze.pairing import SECOND, RecentFrames
from stt_ros.gaze.spaces import GazeError
from stt_ros.gaze.surface import fit
from stt_ros.gaze.transforms import NotYetError
from stt_ros.ros.images import ImageError, depth_in_metres

# Seconds that the stamps of an image and of its depth may differ: cameras of their own clockwork
# at 30 Hz are at most half a period apart.
MAX_DEPTH_OFFSET = 0.02
_NEWEST = {'depth': 2, 'reliability': ReliabilityPolicy.BEST_EFFORT}
_LATCHED = {
    'durability': DurabilityPolicy.TRANSIENT_LOCAL,
    'reliability': ReliabilityPolicy.RELIABLE,
}


class CameraInfos:
    """The latest calibration on the topic ``camera_info``."""

    def __init__(self, node) -> None:
        self._topic = _Topic(node, CameraInfo, 'camera_info', self._take)
        self._latest: CameraInfo | None = None
        self._camera: tuple[CameraInfo, Camera] | None = None

    def need(self) -> None:
        """Subscribe, if not done yet."""
        self._topic.open()
        if self._latest is None:
            self._topic.open_latched()

    def camera(self) -> tuple[Camera, str]:
        """Return the camera and its optical frame. Raises ``NotYetError`` before there is one."""
        self.need()
        info = self._latest
        if info is None:
            raise NotYetError(
                f'no camera_info has been received on {self._topic.name}, which points and rays in '
                'space need (remap camera_info:=...); if they are pixels, set the space parameter '
                'to pixel'
            )
        if self._camera is None or self._camera[0] is not info:
            self._camera = (info, camera_of(info))
        return self._camera[1], info.header.frame_id

    def close(self) -> None:
        """Unsubscribe."""
        self._topic.close()

    def _take(self, info: CameraInfo) -> None:
        self._latest = info


class DepthImages:
    """The last few depth images on the topic ``depth``, aligned to the camera's."""

    def __init__(self, node) -> None:
        self._topic = _Topic(node, Image, 'depth', self._take)
        self._lock = threading.Lock()
        self._images: RecentFrames = RecentFrames()
        self._users: set[str] = set()
        self._read: tuple = (None, None, None)  # message and size of the depth read last
        self.on_arrival: Callable[[], None] = lambda: None

    def need(self, user: str) -> None:
        """Subscribe for a user, if not done yet."""
        self._users.add(user)
        self._topic.open()

    def release(self, user: str) -> None:
        """Unsubscribe if this was the last user."""
        if user in self._users:
            self._users.remove(user)
            if not self._users:
                self.close()

    def expected(self) -> bool:
        """Tell whether there is a depth camera."""
        return self._topic.has_publisher()

    def at(self, stamp: int, size: tuple[int, int]) -> np.ndarray:
        """Return the depth (H, W) float32 in metres, 0 where unknown, for an image.

        ``stamp`` in ns and ``size`` are the image's. Raises ``NotYetError`` when there is none
        within ``MAX_DEPTH_OFFSET``, ``GazeError`` when it is none of depth or of another shape.
        """
        with self._lock:
            latest = self._images.latest()
            found = self._images.nearest(stamp) if stamp else latest and (0, latest)
        if found is None:
            raise NotYetError(f'no depth image has been received on {self._topic.name}')
        offset = abs(found[0] - stamp) / SECOND
        if offset > MAX_DEPTH_OFFSET:
            raise NotYetError(
                f'the nearest depth image is {offset:.3f} s from the image; '
                f'allowed: {MAX_DEPTH_OFFSET:g} s'
            )
        return self._metres(found[1], size)

    def _metres(self, msg: Image, size: tuple[int, int]) -> np.ndarray:
        read, read_size, depth = self._read
        if read is not msg or read_size != size:
            try:
                depth = fit(depth_in_metres(msg), size)
            except ImageError as error:
                raise GazeError(f'depth: {error}') from error
            self._read = (msg, size, depth)
        return depth

    def close(self) -> None:
        """Unsubscribe and forget."""
        self._topic.close()
        self.clear()

    def clear(self) -> None:
        """Forget the images."""
        with self._lock:
            self._images.clear()

    def _take(self, msg: Image) -> None:
        stamp = msg.header.stamp
        with self._lock:
            self._images.add(stamp.sec * SECOND + stamp.nanosec, msg, len(msg.data))
        self.on_arrival()


class _Topic:
    """A subscription that is there only while it is needed."""

    def __init__(self, node, kind, topic: str, callback) -> None:
        self._node, self._kind, self._topic, self._callback = node, kind, topic, callback
        self._subscriptions: list = []
        self._lock = threading.Lock()  # the executor opens it, and the worker
        self.name = node.resolve_topic_name(topic)

    def open(self) -> None:
        with self._lock:
            if not self._subscriptions:
                self._subscribe(
                    QoSProfile(**_NEWEST),
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )

    def open_latched(self) -> None:
        """Hear what was published before, too, where all publishers keep it.

        Asked of others, that would bring a warning into their logs.
        """
        offered = [p.qos_profile for p in self._node.get_publishers_info_by_topic(self.name)]
        kept = [
            {'durability': qos.durability, 'reliability': qos.reliability} == _LATCHED
            for qos in offered
        ]
        with self._lock:
            if kept and all(kept) and len(self._subscriptions) == 1:
                self._subscribe(QoSProfile(depth=1, **_LATCHED))

    def _subscribe(self, profile: QoSProfile, **options) -> None:
        made = self._node.create_subscription(
            self._kind, self._topic, self._callback, profile, **options
        )
        self._subscriptions.append(made)

    def has_publisher(self) -> bool:
        return self._node.count_publishers(self.name) > 0

    def close(self) -> None:
        with self._lock:
            while self._subscriptions:
                self._node.destroy_subscription(self._subscriptions.pop())


def camera_of(info: CameraInfo) -> Camera:
    """Return the camera that a message describes."""
    roi = info.roi
    return Camera(
        info.width,
        info.height,
        info.distortion_model,
        tuple(info.d),
        tuple(map(float, info.k)),
        tuple(map(float, info.r)),
        tuple(map(float, info.p)),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
