# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 folder (sqlite3 or mcap) as camera input, read without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stt_ros.ros.demo.shots import InputError, Shot, image_message, pinhole
from stt_ros.ros.images import ImageError, to_frame

IMAGE_TYPES = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
}
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
_DEPTH = ('16UC1', '32FC1')


class BagSource:
    """The images of one topic of a bag, at the times at which they were recorded.

    ``topic`` is a topic of sensor_msgs Image or CompressedImage (default: the first one that is
    not depth), ``mask_topic`` one of PNG masks that have the images' stamps. Raises ``InputError``
    for a bag that cannot be read or lacks the topic.
    """

    live = False

    def __init__(
        self, folder: Path, transport: str, topic: str | None = None, mask_topic: str | None = None
    ) -> None:
        self._folder, self._transport = folder, transport
        with self._opened() as bag:
            images = [c for c in bag.connections if c.msgtype in IMAGE_TYPES]
            self.topic = self._topic(bag, images, topic)
            self.mask_topic = mask_topic and self._topic(bag, images, mask_topic)
            self.has_masks = mask_topic is not None
            count = bag.topics[self.topic].msgcount
            # How long the last picture lasted no bag tells: as long as the others, about.
            self.period = bag.duration * 1e-9 / count
        self.description = f'{folder}, topic {self.topic} ({count} pictures)'

    @contextmanager
    def _opened(self) -> Iterator:
        """Open the bag; what goes wrong with it in the block becomes an ``InputError``."""
        try:
            from rosbags.rosbag2 import Reader
        except ImportError as error:
            raise InputError('--bag needs the package rosbags: pip install rosbags') from error
        if not self._folder.exists():
            raise InputError(f'cannot read bag {self._folder}: there is no such folder')
        if self._folder.is_dir() and not (self._folder / 'metadata.yaml').is_file():
            raise InputError(f'cannot read bag {self._folder}: there is no metadata.yaml in it')
        try:
            with Reader(self._folder) as bag:
                yield bag
        except (InputError, GeneratorExit):
            raise
        except Exception as error:  # damaged bytes surface as many types: struct, sqlite, zstd, ...
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise InputError(f'cannot read bag {self._folder}: {reason[:300]}') from error

    def _topic(self, bag, images: list, wanted: str | None) -> str:
        """Return the wanted topic, or the first one that shows colours, if it has messages."""
        names = [c.topic for c in images if c.msgcount]
        if wanted:
            if wanted not in names:
                raise InputError(
                    f'bag {self._folder} has no images on topic {wanted!r}; '
                    f'image topics: {", ".join(names) or "none"}'
                )
            return wanted
        for connection in images:
            for _, _, raw in bag.messages([connection]):
                message = deserialize_message(raw, IMAGE_TYPES[connection.msgtype])
                if not _is_depth(message):
                    return connection.topic
                break
        topics = ', '.join(c.topic for c in bag.connections)
        raise InputError(f'bag {self._folder} has no topic of colour images; topics: {topics}')

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures, with the calibration nearest before them and their masks."""
        info, masks, first = None, {}, None
        with self._opened() as bag:
            if self.mask_topic:
                masks = _by_stamp(bag, self.mask_topic)
            info_topic = self._info_topic(bag)
            wanted = [c for c in bag.connections if c.topic in (self.topic, info_topic)]
            for connection, time, raw in bag.messages(wanted):
                if connection.topic == info_topic:
                    info = deserialize_message(raw, CameraInfo)
                    continue
                first = time if first is None else first
                message = deserialize_message(raw, IMAGE_TYPES[connection.msgtype])
                mask = masks.get(_stamp(message))
                yield self._shot((time - first) * 1e-9, message, info, mask)

    def _info_topic(self, bag) -> str | None:
        """Return the topic of the calibration that lies beside the image topic."""
        base = self.topic.removesuffix('/compressed').rpartition('/')[0]
        topics = [c.topic for c in bag.connections if c.msgtype == INFO_TYPE]
        return f'{base}/camera_info' if f'{base}/camera_info' in topics else None

    def _shot(self, due: float, message, info: CameraInfo | None, mask) -> Shot:
        as_recorded = isinstance(message, CompressedImage) == (self._transport == 'compressed')
        frame_id = message.header.frame_id
        try:
            if as_recorded and info and isinstance(message, Image):
                return Shot(due, message, info, mask)
            frame = to_frame(message)
        except ImageError as error:
            raise InputError(f'bag {self._folder}, topic {self.topic}: {error}') from error
        if not as_recorded:
            message = image_message(frame.rgb()[..., ::-1], self._transport)
            message.header.frame_id = frame_id
        height, width = frame.size
        return Shot(due, message, info or pinhole(width, height, frame_id), mask)


def _is_depth(message: Image | CompressedImage) -> bool:
    if isinstance(message, Image):
        return message.encoding in _DEPTH
    return 'compressedDepth' in message.format or message.format.startswith(_DEPTH)


def _stamp(message) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _by_stamp(bag, topic: str) -> dict[tuple[int, int], CompressedImage]:
    """Return the compressed images of a topic under their stamps (s, ns)."""
    connections = [c for c in bag.connections if c.topic == topic]
    found = {}
    for connection, _, raw in bag.messages(connections):
        message = deserialize_message(raw, IMAGE_TYPES[connection.msgtype])
        if isinstance(message, CompressedImage):
            found[_stamp(message)] = message
    return found
