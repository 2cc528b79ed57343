# SPDX-License-Identifier: Apache-2.0
"""From messages to results: which frame with which gaze, segmented on one worker thread."""

from __future__ import annotations

import math
from functools import partial

from stt_ros.frame import Frame
from stt_ros.gaze.attention import Target
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.spaces import GazeError, RawGaze
from stt_ros.gaze.transforms import TooOldError
from stt_ros.msg import Segmentation as SegmentationMsg
from stt_ros.ros import images
from stt_ros.ros.gazes import Gazes, Pointed, nanoseconds
from stt_ros.ros.markers import no_markers, to_markers
from stt_ros.ros.objects import Objects
from stt_ros.ros.outputs import to_message
from stt_ros.ros.prompting import Prompting
from stt_ros.ros.scene import Scene
from stt_ros.ros.waiting import Waiting
from stt_ros.ros.worker import Worker
from stt_ros.segmenter import Segmenter


class Pipeline:
    """Pairs frames with prompts and segments them; rejects what cannot be used, and goes on."""

    def __init__(self, node) -> None:
        self._node = node
        self.monitor = node.monitor
        self.enabled = True
        self._newest_fixation = 0
        self._last_image = self._last_followed = 0  # counted as they come
        self.worker = Worker(partial(self.reject, 'segmentation'))
        self.scene = Scene(node)
        self._gazes = Gazes(node, self.scene, self._show_aim)
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
        """Take the newest frame; raises ``ValueError`` for one that cannot be used."""
        self.monitor.frame()
        if not self.enabled:
            return
        self._objects.update()
        self._gazes.add_frame(msg, images.size(msg))
        if self._node.parameters['mode'] == 'continuous' and self._prompted():
            self._follow(msg)
        self.prompting.on_image(msg)

    def latest(self):
        """Return the latest image message, None before the first."""
        return self._gazes.latest()

    def on_gaze(
        self, source: str, raw: RawGaze, space: str, time: int, confidence: float | None = None
    ) -> None:
        """Take a sample of a gaze stream; ``time`` in ns, 0 when unstamped."""
        if self.enabled:
            time = self._gazes.stamp(time)
            if self._gazes.in_time('gaze', time):
                job = partial(self._gaze, source, raw, space, time, confidence)
                self._waiting.run(source, job)

    def on_click(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        """Take a click; ``time`` in ns, 0 when unstamped."""
        if self.enabled:
            self._waiting.run(source, partial(self._click, source, raw, space, time))

    def _gaze(self, source: str, raw: RawGaze, space: str, time: int, confidence) -> None:
        pointed = self._gazes.sample(source, raw, space, time, confidence)
        if pointed is None:
            return
        if pointed.kind == 'click':
            self._clicked(pointed)
        elif pointed.kind == 'fixation':
            self._newest_fixation = pointed.target.id
            self.worker.post(partial(self._segment_fixation, pointed))
        else:
            self.monitor.prompt()
            if self._node.parameters['mode'] == 'on_prompt':
                self._offer(partial(self._segment, pointed.frame, [pointed.target]))

    def _click(self, source: str, raw: RawGaze, space: str, time: int) -> None:
        try:
            pointed = self._gazes.click(source, raw, space, time)
        except TooOldError:  # a point in space stays where it is: a newer image shows it as well
            newer = nanoseconds(self.latest().header.stamp)
            if newer == time:
                raise
            self._waiting.run(source, partial(self._click, source, raw, space, newer))
            return
        self._clicked(pointed)

    def _clicked(self, pointed: Pointed) -> None:
        self.monitor.prompt()
        if self._node.parameters['mode'] == 'on_prompt':
            if not self.worker.post(partial(self._segment, pointed.frame, [pointed.target])):
                raise GazeError('too many clicks wait to be segmented')
        else:  # at once: the next frame may be long in coming
            self._follow(self.latest())

    def enable(self, enabled: bool) -> None:
        """Go on, or ignore images and prompts until told to go on."""
        self.enabled = enabled
        if not enabled:
            self._waiting.clear()
            self.worker.withdraw()
            self.prompting.worker.withdraw()

    def clear(self) -> bool:
        """Forget gaze, clicks and prompts; returns whether there were any."""
        had = self.prompting.clear()
        return self.clear_gaze() or had

    def clear_gaze(self, gaze_id: int | None = None) -> bool:
        """Forget the gaze or click of this id, or all; returns whether there was any."""
        found = self._gazes.clear(gaze_id)
        if not self._gazes.ids():
            self.worker.withdraw()
            self._waiting.clear()
            if self._node.outputs.markers.get_subscription_count():
                self._node.outputs.markers.publish(no_markers())
            self.monitor.forget_prompt()
        return found

    def gaze_ids(self) -> list[int]:
        """Return the ids of the gazes and clicks in force."""
        return self._gazes.ids()

    def reject(self, source: str, error: Exception) -> None:
        """Count and log a message that was dropped."""
        if not self._node.context.ok():  # an interrupt took it from what was being done
            return
        reason = str(error) or type(error).__name__
        self.monitor.reject(source, reason)
        self._node.log.warning(source, reason)

    def segment(self, msg, points: list, segmenter: Segmenter | None = None) -> tuple[Frame, list]:
        """Segment a message's picture at points (x, y), with the parameters in force.

        ``segmenter`` is the node's unless another one that shares its network is given.
        """
        frame = images.to_frame(msg)
        parameters = self._node.parameters
        return frame, (segmenter or self._node.segmenter).segment(
            frame, points, parameters['interpolation'], parameters['mask_threshold'],
            best_only=parameters['max_hypotheses'] == 1,
        )  # fmt: skip

    def message(self, result, header, gaze_id: int) -> SegmentationMsg:
        """Return the message of a result, stamped with its latency as of now."""
        message = to_message(result, header, gaze_id, self._node.parameters['max_hypotheses'])
        message.latency = self.latency(header)
        return message

    def latency(self, header) -> float:
        """Seconds since an image was taken; NaN without a stamp, or before simulated time."""
        taken, now = nanoseconds(header.stamp), self._node.get_clock().now().nanoseconds
        return (now - taken) / SECOND if taken and now else math.nan

    def frame_of(self, header):
        """Return the image message that a prompt's header is about; raises ``GazeError``."""
        return self._gazes.frame_at(nanoseconds(header.stamp))[0]

    def _show_aim(self, point, header, size: tuple[int, int]) -> None:
        """Show the line of sight of a prompt at a pixel of an image."""
        self._objects.update()
        if self._node.outputs.markers.get_subscription_count():
            aim = self.scene.line_of_sight(point, header, size)
            if aim is not None:
                self._node.outputs.markers.publish(to_markers(header, aim))

    def _prompted(self) -> bool:
        """Tell whether there is a prompt; forget one that has timed out."""
        age, timeout = self.monitor.prompt_age(), self._node.parameters['prompt_timeout']
        if age is not None and 0 < timeout < age:
            self.clear_gaze()
            return False
        return age is not None

    def _offer(self, job) -> None:
        if self.worker.offer(job):
            self.monitor.count('frames dropped')

    def _follow(self, msg) -> None:
        """Segment a frame at what is followed, once it is known where that appears in it."""
        self._last_image += 1
        self._waiting.run('clicked_point', partial(self._follow_now, self._last_image, msg))

    def _follow_now(self, number: int, msg) -> None:
        if number < self._last_followed:
            return  # overtaken by a frame that did not have to wait
        places = self._gazes.places(msg, partial(self.reject, 'clicked_point'))
        self._last_followed = number
        self._offer(partial(self._segment_frame, msg, places))

    def _segment_frame(self, msg, places: dict) -> None:
        try:
            targets = self._gazes.at(msg, places)
        except GazeError as error:
            self.reject('gaze', error)
            return
        if targets:
            self._segment(msg, targets)

    def _segment_fixation(self, pointed: Pointed) -> None:
        if pointed.target.id == self._newest_fixation:
            self._segment(pointed.frame, [pointed.target])
        else:  # the eyes are elsewhere by now
            self.monitor.count('fixations dropped')

    def _segment(self, msg, targets: list[Target]) -> None:
        if not self._node.outputs.wanted():
            return
        try:
            frame, results = self.segment(msg, [target.point for target in targets])
        except ValueError as error:
            self.reject('image', error)
            return
        messages = [
            self.message(result, msg.header, target.id)
            for result, target in zip(results, targets, strict=True)
        ]
        self._node.outputs.publish(msg.header, frame, messages, results)
        if self._objects.wanted:
            self._objects.publish(msg.header, frame, results[-1])
        self.monitor.result(messages[-1].latency)
