# SPDX-License-Identifier: Apache-2.0
"""Where frames are: the camera's own, those of the parameter static_transform, and tf2's."""

from __future__ import annotations

import time

from rclpy.time import Time

from stt_ros.gaze.spaces import GazeError
from stt_ros.gaze.transforms import (
    NotYetError,
    Rigid,
    StaticTransforms,
    TooOldError,
    parse_static,
)

WITHOUT_TF2 = (
    ': tf2_ros cannot be imported here ({}), so only the frame of the camera itself and '
    'static_transform can be used'
)

_YOUNG = 2.0  # seconds in which a listener that was begun for a prompt knows nothing before it


class Frames:
    """Looks frames up; tf2 is listened to from the first frame on that nothing else explains."""

    def __init__(self, node) -> None:
        self._node = node
        self._static_text: str | None = None
        self._static = StaticTransforms()
        self._tf: TfTransforms | None = None

    def lookup(self, target: str, source: str, stamp: int) -> Rigid:
        """Return what takes coordinates in ``source`` to ``target`` at a time in ns (0: latest).

        Raises ``GazeError`` when that is not known, ``NotYetError`` when it may become known.
        """
        text = self._node.parameters['static_transform']
        if text != self._static_text:
            self._static, self._static_text = StaticTransforms(parse_static(text)), text
        try:
            return self._static.lookup(target, source, stamp)
        except GazeError as error:
            try:
                tf = self.listen()
            except ImportError as reason:
                raise GazeError(str(error) + WITHOUT_TF2.format(reason)) from None
            return tf.lookup(target, source, stamp)

    def listen(self) -> TfTransforms:
        """Begin to listen to tf2, if not done yet. Raises ``ImportError`` without tf2_ros."""
        if self._tf is None:
            self._tf = TfTransforms(self._node)
        return self._tf

    def clear(self) -> None:
        """Forget what moved: the clock went back."""
        if self._tf is not None:
            self._tf.clear()

    def close(self) -> None:
        """End listening."""
        if self._tf is not None:
            self._tf.close()
        self._tf = None


class TfTransforms:
    """tf2_ros, asked without ever waiting: its answers come through the node's own executor."""

    def __init__(self, node) -> None:
        try:
            import tf2_ros
        except Exception as error:  # built for another Python it fails with more than ImportError
            raise ImportError(str(error)) from error
        self._errors = tf2_ros.TransformException
        self._past_or_future = tf2_ros.ExtrapolationException
        self._buffer = tf2_ros.Buffer()
        self._started = time.monotonic()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp: int) -> Rigid:
        """See ``stt_ros.gaze.transforms.Transforms``."""
        # No timeout: waiting would keep the executor from receiving what is waited for.
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp)).transform
        except self._past_or_future as error:
            if 'past' in str(error):
                young = time.monotonic() - self._started < _YOUNG
                raise (TooOldError if young else GazeError)(
                    f"the image is older than tf2's history of '{source}' to '{target}': {error}"
                ) from error
            raise NotYetError(f"tf2 has no '{source}' to '{target}' so new: {error}") from error
        except self._errors as error:
            raise NotYetError(f"tf2 knows no way from '{source}' to '{target}': {error}") from error
        t, q = found.translation, found.rotation
        return Rigid.of((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))

    def clear(self) -> None:
        """Forget what moved."""
        self._buffer.clear()

    def close(self) -> None:
        """End the subscriptions."""
        self._listener.unregister()
