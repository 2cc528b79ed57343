# SPDX-License-Identifier: Apache-2.0
"""From messages to results: which frame with which gaze, segmented on one worker thread."""

from __future__ import annotations

import math
from functools import partial

from stt_ros.frame import Frame
from stt_ros.gaze.attention import Attention, Target
from stt_ros.gaze.pairing import SECOND, RecentFrames
from stt_ros.gaze.spaces import GazeError, RawGaze
from stt_ros.gaze.transforms import TooOldError
from stt_ros.msg import Segmentation as SegmentationMsg
from stt_ros.ros import images
from stt_ros.ros.markers import no_markers, to_markers
from stt_ros.ros.objects import Objects
from stt_ros.ros.outputs import to_message
from stt_ros.ros.prompting import Prompting
from stt_ros.ros.scene import Scene
from stt_ros.ros.waiting import Waiting
from stt_ros.ros.worker import Worker


class Pipeline:
    """Pairs frames with prompts and segments them; rejects what cannot be used, and goes on."""

    def __init__(self, node) -> None:
        self._node = node
        self.monitor = node.monitor
        self.enabled = True
        self._frames: RecentFrames = RecentFrames()  # of messages with their sizes (H, W)
        self._attention = Attention()
        self.worker = Worker(partial(self.reject, 'segmentation'))
        self.scene = Scene(node)
        self._waiting = Waiting(node, self.reject)
        self._objects = Objects(node, self.scene, self.worker.post, self.reject)
        self.prompting = Prompting(node, self)

    def close(self) -> None:
        """Answer the requests that wait, and stop working."""
        self._waiting.close()
        self.prompting.close()  # before the worker, which it uses
        self.worker.stop()
        self.scene.close()  # after the worker, which uses it

    def on_image(self, msg) -> None:
        """Take the newest frame."""
        self.monitor.frame()
        if not self.enabled:
            return
        self._objects.update()
        try:
            size = images.size(msg)
        except ValueError as error:
            self.reject('image', error)
            return
        if self._frames.add(nanoseconds(msg.header.stamp), (msg, size)):
            self._attention.clear_track()
            self.scene.clear()
            self._node.get_logger().info('image stamps went back: older frames and gazes forgotten')
        if self._node.parameters['mode'] == 'continuous' and self._prompted():
            self._offer(partial(self._segment_frame, msg))
        self.prompting.on_image(msg)

    def latest(self):
        """Return the latest image message, None before the first."""
        latest = self._frames.latest()
        return None if latest is None else latest[0]

    def on_gaze(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        """Take a sample of a gaze stream; ``time`` in ns, 0 when unstamped."""
        if self.enabled:
            self._waiting.run(source, partial(self._gaze, source, raw, space, time))

    def on_click(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        """Take a click; ``time`` in ns, 0 when unstamped."""
        if self.enabled:
            self._waiting.run(source, partial(self._click, source, raw, space, time))

    def _gaze(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        frame, point = self._place(source, raw, space, time)
        target, jumped = self._attention.gaze(time or nanoseconds(frame.header.stamp), *point)
        if jumped:
            self._node.get_logger().info('gaze stamps went back: older samples forgotten')
        if self._node.parameters['mode'] == 'on_prompt':
            self._offer(partial(self._segment, frame, target))

    def _click(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        try:
            frame, point = self._place(source, raw, space, time)
        except TooOldError:  # a point in space stays where it is: a newer image shows it as well
            newer = nanoseconds(self.latest().header.stamp)
            if newer == time:
                raise
            self._waiting.run(source, partial(self._click, source, raw, space, newer))
            return
        target = self._attention.click(*point)
        if self._node.parameters['mode'] == 'on_prompt':
            if not self.worker.post(partial(self._segment, frame, target)):
                raise GazeError('too many clicks wait to be segmented')
        else:  # at once: the next frame may be long in coming
            self.worker.offer(partial(self._segment_frame, self.latest()))

    def enable(self, enabled: bool) -> None:
        """Go on, or ignore images and prompts until told to go on."""
        self.enabled = enabled
        if not enabled:
            self.worker.withdraw()
            self.prompting.worker.withdraw()

    def clear(self) -> bool:
        """Forget gaze, click and prompts; returns whether there were any."""
        had = self.prompting.clear()
        return self._clear_gaze() or had

    def reject(self, source: str, error: Exception) -> None:
        """Count and log a message that was dropped."""
        reason = str(error) or type(error).__name__
        self.monitor.reject(source, reason)
        self._node.log.warning(source, reason)

    def segment(self, msg, points: list) -> tuple[Frame, list]:
        """Segment a message's picture at points (x, y), with the parameters in force."""
        frame = images.to_frame(msg)
        parameters = self._node.parameters
        return frame, self._node.segmenter.segment(
            frame, points, parameters['interpolation'], parameters['mask_threshold'],
            best_only=parameters['max_hypotheses'] == 1,
        )  # fmt: skip

    def message(self, result, header, gaze_id: int) -> SegmentationMsg:
        """Return the message of a result, stamped with its latency as of now."""
        message = to_message(result, header, gaze_id, self._node.parameters['max_hypotheses'])
        message.latency = self.latency(header)
        return message

    def latency(self, header) -> float:
        """Seconds since an image was taken; NaN when it has no stamp."""
        taken = nanoseconds(header.stamp)
        return (self._node.get_clock().now().nanoseconds - taken) / SECOND if taken else math.nan

    def frame_of(self, header):
        """Return the image message that a prompt's header is about; raises ``GazeError``."""
        return self._frame_at(nanoseconds(header.stamp))[0]

    def _clear_gaze(self) -> bool:
        self.worker.withdraw()
        self._waiting.clear()
        if self._node.outputs.markers.get_subscription_count():
            self._node.outputs.markers.publish(no_markers())
        self.monitor.forget_prompt()
        return self._attention.clear()

    def _place(self, source: str, raw: RawGaze, space: str, time: int):
        """Return the frame that a prompt was looking at and the pixel in it.

        Raises ``GazeError`` for a prompt that cannot be used, ``NotYetError`` if it may be soon.
        """
        self._objects.update()
        frame, size = self._frame_at(time)
        point = self.scene.pixel(source, raw, space, frame.header, size)
        self.monitor.prompt()
        if self._node.outputs.markers.get_subscription_count():
            aim = self.scene.line_of_sight(point, frame.header, size)
            if aim is not None:
                self._node.outputs.markers.publish(to_markers(frame.header, aim))
        return frame, point

    def _frame_at(self, time: int):
        """Return the frame nearest in time, the latest for an unstamped prompt, and its size."""
        latest = self._frames.latest()
        if latest is None:
            raise GazeError('no image has been received yet, there is nothing to point at')
        if not time or not nanoseconds(latest[0].header.stamp):
            return latest
        taken, nearest = self._frames.nearest(time)
        offset, limit = (time - taken) / SECOND, self._node.parameters['max_sync_offset']
        if abs(offset) > limit:
            side = 'older' if offset > 0 else 'newer'
            raise GazeError(
                f'the nearest image is {abs(offset):.3f} s {side} than the stamp of the gaze; '
                f'allowed: {limit:g} s (max_sync_offset). Has the camera stopped, or do the clocks '
                'differ?'
            )
        return nearest

    def _prompted(self) -> bool:
        """Tell whether there is a prompt; forget one that has timed out."""
        age, timeout = self.monitor.prompt_age(), self._node.parameters['prompt_timeout']
        if age is not None and 0 < timeout < age:
            self._clear_gaze()
            return False
        return age is not None

    def _offer(self, job) -> None:
        if self.worker.offer(job):
            self.monitor.count('frames dropped')

    def _segment_frame(self, msg) -> None:
        target = self._attention.at(nanoseconds(msg.header.stamp))
        if target is not None:
            self._segment(msg, target)

    def _segment(self, msg, target: Target) -> None:
        if not self._node.outputs.wanted():
            return
        try:
            frame, [result] = self.segment(msg, [target.point])
        except ValueError as error:
            self.reject('image', error)
            return
        message = self.message(result, msg.header, target.id)
        self._node.outputs.publish(msg.header, frame, message, result)
        if self._objects.wanted:
            self._objects.publish(msg.header, frame, result)
        self.monitor.result(message.latency)


def nanoseconds(stamp) -> int:
    """Return a stamp as integer nanoseconds; 0 is 'no stamp'."""
    return stamp.sec * SECOND + stamp.nanosec
