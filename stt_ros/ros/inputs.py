# SPDX-License-Identifier: Apache-2.0
"""The subscriptions: images, gaze samples and clicks, handed to the pipeline as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from geometry_msgs.msg import Point, PointStamped, PoseStamped, Vector3Stamped
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
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
        publishers = self._node.get_publishers_info_by_topic(self.image_topic)
        if not publishers:
            return (
                f"nobody publishes on {self.image_topic}: is the camera running, the topic's name "
                'right (remap image:=...), ROS_DOMAIN_ID the same?'
            )
        unheard = [reason for reason in map(self._why_unheard, publishers) if reason]
        if len(unheard) == len(publishers):
            return unheard[0]
        heard = f'{len(publishers) - len(unheard)} publisher(s) on {self.image_topic}'
        if self._pipeline.monitor.has_frames():
            return f'{heard} have stopped sending, or the network loses their images'
        cure = dds.CURE.format(profile=dds.profile_path())
        return f'{heard}, but nothing arrives: {cure}'

    def _why_unheard(self, publisher) -> str:
        """Say what keeps a publisher of images from being heard at all; '' if nothing does."""
        name = f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}'
        kind = f'sensor_msgs/msg/{self._image_kind.__name__}'
        if publisher.topic_type != kind:
            return (
                f'{name} publishes {publisher.topic_type} on {self.image_topic}, not {kind}: '
                'remap image:=... to the raw images, and set image_transport to raw or compressed'
            )
        found, reason = qos_check_compatible(publisher.qos_profile, self._image_qos)
        if found != QoSCompatibility.ERROR:
            return ''
        reason = reason.removeprefix('ERROR: ').rstrip(';')
        return (
            f'{name} cannot be heard on {self.image_topic}, its QoS does not fit: {reason}; '
            f'change qos_overrides.{self.image_topic}.subscription.* of this node'
        )

    def _subscribe_all(self) -> str:
        node, pipeline = self._node, self._pipeline
        compressed = node.parameters['image_transport'] == 'compressed'
        # The transport's topic belongs to the name that the user gave the image, remapped.
        topic = node.resolve_topic_name('image') + ('/compressed' if compressed else '')
        kind = CompressedImage if compressed else Image
        read = serialized.compressed_image if compressed else serialized.image
        on_image = partial(self._on_image, read)
        self._image_kind = kind
        image_topic, self._image_qos = self._subscribe(
            kind, topic, on_image, _IMAGES, raw=True, source='image'
        )
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

    def _subscribe(
        self, kind, topic: str, callback, qos: dict, raw: bool = False, source: str = ''
    ) -> tuple[str, QoSProfile]:
        """Subscribe; returns the topic's full name, and the QoS with the user's overrides."""
        profile = QoSProfile(**qos)  # a new one: overrides are written into it
        subscription = self._node.create_subscription(
            kind, topic, partial(self._take, source or topic.rpartition('/')[2], callback), profile,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(), raw=raw,
        )  # fmt: skip
        self._subscriptions.append(subscription)
        return subscription.topic_name, profile

    def _take(self, source: str, callback: Callable, message) -> None:
        """Call back; whatever comes of a message, only that message is lost."""
        try:
            callback(message)
        except Exception as error:
            self._pipeline.reject(source, error)

    def _on_image(self, read: Callable, buffer: bytes) -> None:
        self._pipeline.on_image(read(buffer))

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
                raise GazeError(f'no confidence has come on {where} yet (gaze_confidence)')
        self._pipeline.on_gaze(source, raw, space, nanoseconds(header.stamp), confidence)

    def _on_confidence(self, msg: Float32) -> None:
        self._confidence = msg.data

    def _on_gaze_pose(self, msg: PoseStamped) -> None:
        position, q = msg.pose.position, msg.pose.orientation
        direction = forward((q.x, q.y, q.z, q.w), self._node.parameters['handedness'])
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
