# SPDX-License-Identifier: Apache-2.0
"""The eyes behind a gaze topic: blinks, smoothing and fixations, as the parameters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stt_ros.gaze.fixation import Fixation, FixationDetector, Thresholds
from stt_ros.gaze.pairing import SECOND, Point
from stt_ros.gaze.smoothing import OneEuro

MODES = ('every_sample', 'fixations_only', 'dwell')


@dataclass(frozen=True)
class Sample:
    """A usable sample: the pixel, smoothed, and the fixation that has just become a prompt."""

    point: Point
    prompt: Fixation | None = None


class GazeStream:
    """Makes prompts of a gaze stream. Times are ns; parameters are read at each sample.

    ``parameters`` needs: gaze_mode, gaze_smoothing, gaze_smoothing_beta, blink_hold, dwell_time,
    fixation_method, fixation_min, and fixation_velocity and fixation_dispersion with their _px.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._filter = OneEuro()
        self._chosen: tuple = ()
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._filter.reset()
        self._detector: FixationDetector | None = None
        self._prompted: Fixation | None = None
        self._last: tuple[int, Point] | None = None

    def add(
        self, time: int, x: float, y: float, pixels_per_degree: float | None = None
    ) -> Sample | None:
        """Take a sample; None if it was overtaken by a later one and cannot be used any more.

        ``pixels_per_degree`` is the camera's scale around the sample, None if it is not known.
        """
        parameters = self._parameters
        detecting = parameters['gaze_mode'] != 'every_sample'
        smoothing = parameters['gaze_smoothing']
        self._follow_clock(time)
        late = self._last is not None and time <= self._last[0]
        if late and (detecting or smoothing):
            return None
        if smoothing:
            beta = parameters['gaze_smoothing_beta']
            x, y = self._filter.smooth(time / SECOND, x, y, smoothing, beta)
        if not late:
            self._last = time, (x, y)
        return Sample((x, y), self._detect(time, x, y, pixels_per_degree) if detecting else None)

    def held(self, time: int) -> Point | None:
        """Return the gaze at a time at which the eyes were not seen: the last, during a blink."""
        self._follow_clock(time)
        if self._last is None:
            return None
        then, point = self._last
        if time - then <= self._parameters['blink_hold'] * SECOND:
            return point
        self._filter.reset()  # who opens the eyes again may look elsewhere
        return None

    def _follow_clock(self, time: int) -> None:
        """Start anew when the clock went back (samples without stamps have the node's)."""
        if self._last is not None and time < self._last[0] - SECOND:
            self.reset()

    def _detect(self, time: int, x: float, y: float, scale: float | None) -> Fixation | None:
        parameters = self._parameters
        names = ('fixation_method', 'fixation_min', 'blink_hold')
        chosen = tuple(parameters[name] for name in names)
        if self._detector is None or chosen != self._chosen:
            method, shortest, hold = self._chosen = chosen
            self._detector = FixationDetector(method, int(shortest * SECOND), int(hold * SECOND))
        fixation = self._detector.add(time, x, y, self._thresholds(scale))
        if fixation is None or fixation is self._prompted:
            return None
        if parameters['gaze_mode'] == 'dwell':
            if fixation.duration < parameters['dwell_time'] * SECOND:
                return None
        self._prompted = fixation
        return fixation

    def _thresholds(self, scale: float | None) -> Thresholds:
        parameters = self._parameters
        if scale is None:
            return Thresholds(
                parameters['fixation_velocity_px'], parameters['fixation_dispersion_px']
            )
        velocity, dispersion = parameters['fixation_velocity'], parameters['fixation_dispersion']
        return Thresholds(scale * velocity, scale * dispersion)
