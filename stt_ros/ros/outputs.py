# SPDX-License-Identifier: Apache-2.0
"""Segmentations to messages, made only for topics that somebody listens to."""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2, RegionOfInterest
from visualization_msgs.msg import MarkerArray

from stt_ros import visualize
from stt_ros.frame import Frame
from stt_ros.msg import MaskHypothesis
from stt_ros.msg import Segmentation as SegmentationMsg
from stt_ros.ros.images import fill_image
from stt_ros.ros.prompt_outputs import PromptOutputs
from stt_ros.segmenter import Hypothesis, Segmentation

# Reliable publishers are heard by every subscriber.
_RESULTS = {
    'depth': 5,
    'reliability': ReliabilityPolicy.RELIABLE,
    'durability': DurabilityPolicy.VOLATILE,
}


class Outputs:
    """The publishers of the results."""

    def __init__(self, node) -> None:
        self._node = node
        self._publishers: list = []
        try:
            self.segmentation = self._publisher(SegmentationMsg, '~/segmentation')
            self.mask = self._publisher(Image, '~/mask')
            self.overlay = self._publisher(Image, '~/overlay')
            self.foveation = self._publisher(Image, '~/foveation')
            self.object_points = self._publisher(PointCloud2, '~/object_points')
            self.object_centroid = self._publisher(PointStamped, '~/object_centroid')
            self._of_gaze = list(self._publishers)
            self.markers = self._publisher(MarkerArray, '~/markers')
            self.prompts = PromptOutputs(node, self._publisher)
        except Exception:  # none rather than some
            self.destroy()
            raise

    def wanted(self) -> bool:
        """Tell whether anybody listens to anything that a gaze or click gives."""
        return any(publisher.get_subscription_count() for publisher in self._of_gaze)

    def destroy(self) -> None:
        """Take the publishers down."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def publish(
        self, header, frame: Frame, messages: list[SegmentationMsg], results: list[Segmentation]
    ) -> None:
        """Publish a frame's results on all topics that have subscribers.

        ``messages``, one per result, are for the first topic. The mask and the overlay show all
        results together, the foveation the last one.
        """
        if self.segmentation.get_subscription_count():
            for message in messages:
                self.segmentation.publish(message)
        if self.mask.get_subscription_count():
            self._publish_image(self.mask, to_mono8(_union(results)), 'mono8', header)
        if self.overlay.get_subscription_count():
            self._publish_image(self.overlay, self._overlay(frame, results), 'rgb8', header)
        if self.foveation.get_subscription_count():
            self._publish_image(self.foveation, results[-1].view.picture(), 'rgb8', header)

    def _overlay(self, frame: Frame, results: list[Segmentation]) -> np.ndarray:
        picture, alpha = frame.rgb(), self._node.parameters['overlay_alpha']
        for result in results:
            best = result.hypotheses[0].mask()
            picture = visualize.overlay(picture, best, result.gaze, alpha=alpha)
        ious = ', '.join(f'{result.hypotheses[0].predicted_iou:.2f}' for result in results)
        visualize.label(picture, [f'predicted IoU {ious}'])
        return picture

    def _publisher(self, kind, topic: str):
        publisher = self._node.create_lifecycle_publisher(
            kind, topic, QoSProfile(**_RESULTS),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        self._publishers.append(publisher)
        return publisher

    @staticmethod
    def _publish_image(publisher, pixels: np.ndarray, encoding: str, header) -> None:
        image = Image()
        fill_image(image, pixels, encoding, header)
        publisher.publish(image)


def to_message(result: Segmentation, header, gaze_id: int, max_hypotheses: int) -> SegmentationMsg:
    """Return the message of a result; its latency is left for the moment of publication."""
    height, width = result.view.size
    x, y = result.gaze
    return SegmentationMsg(
        header=header,
        image_width=width,
        image_height=height,
        gaze=Point(x=float(x), y=float(y), z=0.0),
        gaze_id=gaze_id,
        hypotheses=[_hypothesis(h, header) for h in result.hypotheses[:max_hypotheses]],
        latency=math.nan,
        label_probability=math.nan,
    )


def _union(results: list[Segmentation]) -> np.ndarray:
    """Return the best masks of all results as one (H, W) bool."""
    first, *others = (result.hypotheses[0].mask() for result in results)
    return np.logical_or.reduce([first, *others]) if others else first


def to_mono8(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) bool as 0 and 255."""
    return mask.view(np.uint8) * np.uint8(255)


def _hypothesis(hypothesis: Hypothesis, header) -> MaskHypothesis:
    x, y, width, height = hypothesis.box
    message = MaskHypothesis(
        predicted_iou=hypothesis.predicted_iou,
        stability=hypothesis.stability,
        area_px=hypothesis.area_px,
        roi=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
    )
    fill_image(message.mask, to_mono8(hypothesis.crop), 'mono8', header)
    return message
