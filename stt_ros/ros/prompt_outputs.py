# SPDX-License-Identifier: Apache-2.0
"""Answers to prompts to messages, made only for topics that somebody listens to."""

from __future__ import annotations

from collections.abc import Callable

from sensor_msgs.msg import Image

from stt_ros import visualize
from stt_ros.msg import SegmentationArray
from stt_ros.ros.images import fill_image
from stt_ros.ros.prompt_messages import fill_labels


class PromptOutputs:
    """The publishers of what prompts found; ``make`` makes one of a type and a topic."""

    def __init__(self, node, make: Callable) -> None:
        self._node = node
        self._segmentations = make(SegmentationArray, '~/segmentations')
        self._labels = make(Image, '~/labels')
        self._overlay = make(Image, '~/prompt_overlay')

    def wanted(self) -> bool:
        """Tell whether anybody listens to anything."""
        publishers = (self._segmentations, self._labels, self._overlay)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def publish(self, outcome, to_message: Callable) -> None:
        """Publish an outcome on all topics that have subscribers."""
        if self._segmentations.get_subscription_count():
            self._segmentations.publish(to_message(outcome))
        if self._labels.get_subscription_count():
            image = Image()
            cover = self._node.parameters['label_image'] == 'cover'
            fill_labels(image, outcome.labels(cover), outcome.header)
            self._labels.publish(image)
        if self._overlay.get_subscription_count():
            image, alpha = Image(), self._node.parameters['overlay_alpha']
            picture = visualize.answers(outcome.frame.rgb(), outcome.answers, alpha)
            fill_image(image, picture, 'rgb8', outcome.header)
            self._overlay.publish(image)
