# SPDX-License-Identifier: Apache-2.0
"""Prompts that point: clicks and gaze samples as they come, put into frames of the right time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stt_ros.gaze.attention import Attention, Target
from stt_ros.gaze.pairing import SECOND, Point, RecentFrames, StampWatch
from stt_ros.gaze.spaces import GazeError, RawGaze
from stt_ros.gaze.stream import GazeStream
from stt_ros.gaze.transforms import NotYetError
from stt_ros.ros import images
from stt_ros.ros.scene import Scene

# A gaze that a coming frame may look for is kept when this far (ns) from those that are there.
_BETWEEN_FRAMES = SECOND


@dataclass(frozen=True)
class Pointed:
    """A prompt that has just come: the frame message it looks at, and the target in it."""

    frame: Any
    target: Target
    kind: str  # 'sample' of a gaze stream, 'fixation', or 'click'


class Gazes:
    """Keeps the recent frames and what is being pointed at.

    ``show_aim`` is called with the pixel (x, y), image header and size (H, W) of each prompt.
    Times are ns; 0 is 'no stamp'.
    """

    def __init__(self, node, scene: Scene, show_aim: Callable) -> None:
        self._node = node
        self._parameters = node.parameters
        self._scene = scene
        self._show_aim = show_aim
        self._frames: RecentFrames = RecentFrames()  # of messages with their sizes (H, W)
        self._attention = Attention()
        self._stream = GazeStream(node.parameters)
        self._watch = StampWatch()

    def add_frame(self, msg, size: tuple[int, int]) -> None:
        """Take the newest frame (H, W)."""
        time = nanoseconds(msg.header.stamp)
        self.in_time('image', time)
        self._frames.add(time, (msg, size), len(msg.data))

    def latest(self):
        """Return the latest image message, None before the first."""
        latest = self._frames.latest()
        return None if latest is None else latest[0]

    def stamp(self, time: int) -> int:
        """Return the stamp of a gaze sample in the clock of the images."""
        return time + round(self._parameters['gaze_time_offset'] * SECOND) if time else 0

    def in_time(self, stream: str, time: int) -> bool:
        """Forget what belongs to the time before when stamps go back; False for what still does.

        ``stream`` is 'image' or 'gaze'.
        """
        if not time:
            return True
        found = self._watch.check(stream, time, sure=stream == 'image')
        if found == StampWatch.BACK:
            self._attention.clear_track()
            self._stream.reset()
            self._scene.clear()
            self._node.get_logger().info(
                f'{stream} stamps went back: older frames and gazes forgotten'
            )
        if found == StampWatch.ALONE:
            return True  # and refused with its reason if no image is near
        return found != StampWatch.STALE and not self._watch.waits_for('image')

    def click(self, source: str, raw: RawGaze, space: str, time: int) -> Pointed:
        """Take a click. Raises ``GazeError``, ``NotYetError`` if it may be usable soon."""
        frame, size = self.frame_at(time)
        point = self._place(source, raw, space, frame, size)
        return self._clicked(frame, point, raw, space)

    def sample(
        self, source: str, raw: RawGaze, space: str, time: int, confidence: float | None = None
    ) -> Pointed | None:
        """Take a sample of the gaze stream; None if it is no prompt. Raises as ``click`` does.

        ``confidence`` in [0, 1], None if the source has none.
        """
        frame, size = self.frame_at(time, _BETWEEN_FRAMES if self._follows() else 0)
        # What has no stamp is as old as its arrival.
        seen = time or self._node.get_clock().now().nanoseconds
        if confidence is not None and not confidence >= self._parameters['min_confidence']:
            self._node.monitor.count('gaze samples without confidence')
            self._not_seen(time, seen)
            return None
        try:
            point = self._place(source, raw, space, frame, size)
        except NotYetError:
            raise
        except GazeError:
            self._not_seen(time, seen)
            raise
        return self._looked(frame, size, point, time, seen, raw, space)

    def places(self, msg, reject: Callable[[GazeError], None]) -> dict[int, Point]:
        """Return the pixels (x, y), by id, where clicks in space appear in a frame.

        Those that do not appear in it are told to ``reject``: the camera may look back at them.
        Raises ``NotYetError`` if it may be known soon where they are.
        """
        pixels, targets = {}, self._attention.placed()
        size = targets and images.size(msg)
        for target in targets:
            try:
                pixels[target.id] = self._scene.pixel_of(target.place, msg.header, size)
            except NotYetError:
                raise
            except GazeError as error:
                reject(error)
        return pixels

    def at(self, msg, places: dict[int, Point]) -> list[Target]:
        """Return what was pointed at when a frame was taken; ``places`` are its ``places()``.

        Raises ``GazeError`` if that is not known because the gaze stream has other stamps.
        """
        time, limit = nanoseconds(msg.header.stamp), self._limit()
        targets = self._attention.at(time, limit, self._many())
        offset = self._attention.offset(time) if time and not targets else None
        if offset is not None and abs(offset) > limit:
            side = 'before' if offset > 0 else 'after'
            raise GazeError(
                f'the nearest sample is {abs(offset) / SECOND:.3f} s {side} the image; '
                f'allowed: {limit / SECOND:g} s (max_sync_offset). Has the tracker stopped, or do '
                'the clocks differ (gaze_time_offset)?'
            )
        return [
            target if target.place is None else Target(target.id, places[target.id])
            for target in targets
            if target.place is None or target.id in places
        ]

    def frame_at(self, time: int, least: int = 0):
        """Return the frame nearest in time, the latest for an unstamped prompt, and its size.

        ``least`` (ns) is allowed between them even if max_sync_offset is smaller.
        """
        latest = self._frames.latest()
        if latest is None:
            raise GazeError('no image has been received yet, there is nothing to point at')
        if not time or not nanoseconds(latest[0].header.stamp):
            return latest
        taken, nearest = self._frames.nearest(time)
        limit = max(self._limit(), least)
        if abs(time - taken) > limit:
            side = 'older' if time > taken else 'newer'
            raise GazeError(
                f'the nearest image is {abs(time - taken) / SECOND:.3f} s {side} than the stamp of '
                f'the gaze; allowed: {limit / SECOND:g} s (max_sync_offset). Has the camera '
                'stopped, or do the clocks differ (gaze_time_offset)?'
            )
        return nearest

    def clear(self, target_id: int | None = None) -> bool:
        """Forget the prompt of this id, or all; returns whether there was any."""
        return self._attention.clear(target_id)

    def ids(self) -> list[int]:
        """Return the ids of the prompts in force."""
        return self._attention.ids()

    def _place(self, source: str, raw: RawGaze, space: str, frame, size) -> Point:
        """Return the pixel of a frame that a prompt means."""
        point = self._scene.pixel(source, raw, space, frame.header, size)
        self._show_aim(point, frame.header, size)
        return point

    def _looked(
        self, frame, size, point: Point, time: int, seen: int, raw: RawGaze, space: str
    ) -> Pointed | None:
        """Take a usable sample at a pixel of a frame."""
        mode = self._parameters['gaze_mode']
        scale = None if mode == 'every_sample' else self._scene.pixels_per_degree(size)
        sample = self._stream.add(seen, *point, scale)
        if sample is None:
            self._node.monitor.count('gaze samples overtaken')
            return None
        if mode == 'every_sample':
            at = time or nanoseconds(frame.header.stamp)
            target = self._attention.gaze(
                at, *sample.point, self._many(), stamped=time != 0, limit=self._limit()
            )
            return Pointed(frame, target, 'sample')
        if sample.prompt is None:
            return None
        point = sample.prompt.x, sample.prompt.y
        if mode == 'dwell':
            return self._clicked(frame, point, raw, space)
        return Pointed(frame, self._attention.once(*point), 'fixation')

    def _clicked(self, frame, point: Point, raw: RawGaze, space: str) -> Pointed:
        place = self._scene.place(raw, space, frame.header)
        return Pointed(frame, self._attention.click(*point, self._many(), place), 'click')

    def _not_seen(self, time: int, seen: int) -> None:
        """Hold the gaze during a blink; after that nobody looks."""
        latest = self.latest()
        at = time or (nanoseconds(latest.header.stamp) if latest else 0)
        held = self._stream.held(seen)
        if held is None:
            self._attention.lose(at)
        elif self._attention.looking():
            self._attention.gaze(at, *held, self._many(), stamped=time != 0, limit=self._limit())

    def _follows(self) -> bool:
        """Tell whether frames look for their gaze, and not gazes for their frame."""
        parameters = self._parameters
        return parameters['mode'] == 'continuous' and parameters['gaze_mode'] == 'every_sample'

    def _limit(self) -> int:
        return round(self._parameters['max_sync_offset'] * SECOND)

    def _many(self) -> int:
        return self._parameters['max_gazes'] if self._parameters['multi'] else 1


def nanoseconds(stamp) -> int:
    """Return a stamp as integer nanoseconds; 0 is 'no stamp'. Raises ``GazeError`` below it."""
    if stamp.sec < 0:
        raise GazeError(f'stamp is {stamp.sec} s; expected 0 or more')
    return stamp.sec * SECOND + stamp.nanosec
