# SPDX-License-Identifier: Apache-2.0
"""The subscriptions: images, gaze samples and clicks, handed to the pipeline as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from geometry_msgs.msg import Point, PointStamped, PoseStamped, Vector3Stamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32

from stt_ros.gaze.rays import forward
from stt_ros.gaze.spaces import GazeError, RawGaze
from stt_ros.msg import PromptArray
from stt_ros.ros import dds, serialized
from stt_ros.ros.pipeline import Pipeline, nanoseconds

try:  # boxes of a detector, where its messages are installed
    from vision_msgs.msg import Detection2DArray
except ImportError:
    Detection2DArray = None

# Best effort hears every publisher; of images only the newest matters.
_IMAGES = {'depth': 1, 'reliability': ReliabilityPolicy.BEST_EFFORT}
_SAMPLES = {'depth': 50, 'reliability': ReliabilityPolicy.BEST_EFFORT}
_CLICKS = {'depth': 10, 'reliability': ReliabilityPolicy.RELIABLE}


class Inputs:
    """Connects topics to a pipeline until closed."""

    def __init__(self, node, pipeline: Pipeline) -> None:
        self._node = node
        self._pipeline = pipeline
        self._subscriptions = []
        self._confidence: float | None = None  # the latest of its topic
        try:
            self.image_topic = self._subscribe_all()
        except Exception:  # none rather than some
            self.close()
            raise

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def why_no_image(self) -> str:
        """Say what keeps images from coming, and what to do."""
        publishers = self._node.count_publishers(self.image_topic)
        if not publishers:
            return (
                f"nobody publishes on {self.image_topic}: is the camera running, the topic's name "
                'right (remap image:=...), ROS_DOMAIN_ID the same?'
            )
        if self._pipeline.monitor.has_frames():
            return f'{publishers} publisher(s) on {self.image_topic} have stopped sending'
        cure = dds.CURE.format(profile=dds.profile_path())
        return f'{publishers} publisher(s) on {self.image_topic}, but nothing arrives: {cure}'

    def _subscribe_all(self) -> str:
        node, pipeline = self._node, self._pipeline
        compressed = node.parameters['image_transport'] == 'compressed'
        # The transport's topic belongs to the name that the user gave the image, remapped.
        topic = node.resolve_topic_name('image') + ('/compressed' if compressed else '')
        kind = CompressedImage if compressed else Image
        read = serialized.compressed_image if compressed else serialized.image
        on_image = partial(self._on_image, read)
        image_topic = self._subscribe(kind, topic, on_image, _IMAGES, raw=True)
        self._subscribe(PointStamped, 'gaze', self._on_gaze, _SAMPLES)
        self._subscribe(PoseStamped, 'gaze_pose', self._on_gaze_pose, _SAMPLES)
        self._subscribe(Vector3Stamped, 'gaze_direction', self._on_gaze_direction, _SAMPLES)
        if self._node.parameters['gaze_confidence'] not in ('', 'z'):
            topic = self._node.parameters['gaze_confidence']
            self._subscribe(Float32, topic, self._on_confidence, _SAMPLES)
        self._subscribe(PointStamped, 'clicked_point', self._on_clicked_point, _CLICKS)
        # rqt_image_view names its topic after the image's: people click in the overlay, too.
        for topic in ('mouse_left', '~/overlay_mouse_left'):
            self._subscribe(Point, topic, self._on_mouse_left, _CLICKS)
        self._subscribe(PromptArray, 'prompt', pipeline.prompting.on_prompts, _CLICKS)
        if Detection2DArray is not None:
            self._subscribe(
                Detection2DArray, 'detections', pipeline.prompting.on_detections, _SAMPLES
            )
        return image_topic

    def _subscribe(self, kind, topic: str, callback, qos: dict, raw: bool = False) -> str:
        subscription = self._node.create_subscription(
            kind, topic, callback, QoSProfile(**qos),  # a new one: overrides are written into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies(), raw=raw,
        )  # fmt: skip
        self._subscriptions.append(subscription)
        return subscription.topic_name

    def _on_image(self, read: Callable, buffer: bytes) -> None:
        try:
            msg = read(buffer)
        except ValueError as error:
            self._pipeline.reject('image', error)
            return
        self._pipeline.on_image(msg)

    def _on_gaze(self, msg: PointStamped) -> None:
        self._sample('gaze', _raw(msg), self._node.parameters['gaze_space'], msg.header)

    def _sample(self, source: str, raw: RawGaze, space: str, header) -> None:
        """Hand a gaze sample on, with its confidence if there is one."""
        where, confidence = self._node.parameters['gaze_confidence'], None
        if where == 'z' and source == 'gaze':
            confidence, raw = raw.z, replace(raw, z=0.0)
        elif where not in ('', 'z'):
            confidence = self._confidence
            if confidence is None:
                error = GazeError(f'no confidence has come on {where} yet (gaze_confidence)')
                self._pipeline.reject(source, error)
                return
        self._pipeline.on_gaze(source, raw, space, nanoseconds(header.stamp), confidence)

    def _on_confidence(self, msg: Float32) -> None:
        self._confidence = msg.data

    def _on_gaze_pose(self, msg: PoseStamped) -> None:
        position, q = msg.pose.position, msg.pose.orientation
        try:
            direction = forward((q.x, q.y, q.z, q.w), self._node.parameters['handedness'])
        except GazeError as error:
            self._pipeline.reject('gaze_pose', error)
            return
        frame_id = msg.header.frame_id
        ray = RawGaze(position.x, position.y, position.z, frame_id, tuple(direction))
        self._sample('gaze_pose', ray, 'ray', msg.header)

    def _on_gaze_direction(self, msg: Vector3Stamped) -> None:
        v = msg.vector
        ray = RawGaze(0.0, 0.0, 0.0, msg.header.frame_id, (v.x, v.y, v.z))
        self._sample('gaze_direction', ray, 'ray', msg.header)

    def _on_clicked_point(self, msg: PointStamped) -> None:
        space = self._node.parameters['clicked_point_space']
        self._pipeline.on_click('clicked_point', _raw(msg), space, nanoseconds(msg.header.stamp))

    def _on_mouse_left(self, msg: Point) -> None:
        self._pipeline.on_click('mouse_left', RawGaze(msg.x, msg.y), 'pixel', 0)


def _raw(msg: PointStamped) -> RawGaze:
    return RawGaze(msg.point.x, msg.point.y, msg.point.z, msg.header.frame_id)
