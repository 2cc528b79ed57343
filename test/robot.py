# SPDX-License-Identifier: Apache-2.0
"""Our node before a real camera, and what its driver and a headset's bridge publish around it."""

from __future__ import annotations

import numpy as np
import realsense
from geometry_msgs.msg import PointStamped, PoseStamped, Vector3Stamped
from realsense import FRAME, SIZE
from ros_helpers import Image
from ros_messages import picture, raw_image
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from stt_ros.ros.images import fill_image

PIXELS = picture(*SIZE)
PERSON, WALL, BOX = (560, 300), (120, 120), (260, 440)  # pixels on things that the camera saw
TARGETS = [PERSON, WALL, BOX]
AT_START = {
    'mode': 'on_prompt', 'gaze_space': 'auto', 'clicked_point_space': 'auto',
    'handedness': 'right', 'ray_depth': 2.0, 'image_rectified': False,
    'static_transform': realsense.STATIC_TRANSFORM,
}  # fmt: skip


class Robot:
    """The node, and what a robot's camera driver and a headset's bridge publish around it."""

    ENCODING = '16UC1'  # of the depth images

    def __init__(self, bench) -> None:
        self.bench = bench
        create = bench.node.create_publisher
        self.info = create(CameraInfo, 'camera_info', 10)
        self.gaze = create(PointStamped, 'gaze', 10)
        self.pose = create(PoseStamped, 'gaze_pose', 10)
        self.direction = create(Vector3Stamped, 'gaze_direction', 10)
        self.click = create(PointStamped, 'clicked_point', 10)
        self.depth = None
        self.changed = {}  # fields of camera_info
        bench.known()
        self.fresh()
        # The node listens to camera_info from the first prompt in space on, which may wait for its
        # discovery in vain.
        self.comes(lambda: self.point(self.click, FRAME, realsense.point_at(*PERSON)), PERSON)

    def fresh(self) -> None:
        """Forget all prompts, go back to the parameters at start, show a new picture."""
        self.bench.clear()
        assert not self.bench.set(**AT_START)
        self.changed.clear()
        self.without_depth()
        self.show()
        del self.bench.results[:]

    def header(self, frame_id: str) -> Header:
        """Return a header of the picture's time, however long ago that was; of now without one."""
        return self.bench.header(self.image_time or None, frame_id)

    def show(self, stamp: int | None = None) -> None:
        """Publish a picture, by default of now, until the node has it."""
        self.image_time = self.bench.now() if stamp is None else stamp
        self.image_header = self.bench.header(self.image_time, FRAME)
        self.bench.take(raw_image(PIXELS, 'rgb8', self.image_header))

    def with_depth(self) -> None:
        if self.depth is None:
            self.depth = self.bench.node.create_publisher(Image, 'depth', 10)
            self.bench.known()

    def without_depth(self) -> None:
        if self.depth is not None:
            self.bench.node.destroy_publisher(self.depth)
            self.bench.known()
            self.depth = None

    def drive(self, depth_stamp: int | None = None) -> None:
        """Publish what the driver does with each image; the stamps of depth are 7 us older."""
        info = CameraInfo(
            header=self.image_header, height=SIZE[0], width=SIZE[1],
            distortion_model=realsense.MODEL, d=realsense.D, k=realsense.K, r=realsense.R,
            p=realsense.P,
        )  # fmt: skip
        for name, value in self.changed.items():
            setattr(info, name, value)
        self.info.publish(info)
        if self.depth is not None:
            before = depth_stamp or self.image_time - 7_000
            self.depth.publish(depth_message(self.bench.header(before, FRAME), self.ENCODING))

    def answer(self, publish, drive=None):
        """Publish something once, drive, and return the next result."""
        publish()
        results = self.bench.results
        again = drive or self.drive
        return self.bench.until(lambda: results and results[-1], again=again, every=0.1)

    def pixel(self, publish) -> np.ndarray:
        result = self.answer(publish)
        assert result.header == self.image_header
        return np.array([result.gaze.x, result.gaze.y])

    def comes(self, publish, target) -> None:
        """Publish and drive until a result at a pixel comes."""
        self.bench.until(
            lambda: any(close((r.gaze.x, r.gaze.y), target) for r in self.bench.results),
            again=lambda: (self.drive(), publish()), every=0.1,
        )  # fmt: skip

    def refused(self, publish, words: str) -> None:
        """Publish and drive until the log has the words."""
        line = len(self.bench.process.lines)
        self.bench.until(
            lambda: any(words in text for text in self.bench.process.lines[line:]),
            again=lambda: (self.drive(), publish()), every=0.2,
        )  # fmt: skip

    # -- what devices publish

    def point(self, publisher, frame: str, xyz) -> None:
        msg = PointStamped(header=self.header(frame))
        msg.point.x, msg.point.y, msg.point.z = map(float, xyz)
        publisher.publish(msg)

    def ray(self, frame: str, xyz, quaternion) -> None:
        msg = PoseStamped(header=self.header(frame))
        position, q = msg.pose.position, msg.pose.orientation
        position.x, position.y, position.z = map(float, xyz)
        q.x, q.y, q.z, q.w = map(float, quaternion)
        self.pose.publish(msg)

    def towards(self, frame: str, xyz) -> None:
        msg = Vector3Stamped(header=self.header(frame))
        msg.vector.x, msg.vector.y, msg.vector.z = map(float, xyz)
        self.direction.publish(msg)


def depth_message(header, encoding: str) -> Image:
    depth = realsense.depth() if encoding == '32FC1' else realsense.DEPTH_MM
    msg = Image()
    fill_image(msg, depth.view(np.uint8).reshape(SIZE[0], -1), encoding, header)
    msg.width = SIZE[1]
    return msg


def turn(start, end) -> np.ndarray:
    """Return the quaternion (x, y, z, w) of the shortest turn from one direction to another."""
    start, end = (np.asarray(v, float) / np.linalg.norm(v) for v in (start, end))
    q = np.array([*np.cross(start, end), 1 + start @ end])
    return q / np.linalg.norm(q)


def close(pixel, target) -> bool:
    """Tell whether two pixels are the same, to within 2."""
    return np.abs(np.subtract(pixel, target)).max() <= 2
