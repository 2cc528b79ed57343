# SPDX-License-Identifier: Apache-2.0
"""What a gaze sample costs: finding its time and its frame, smoothing, fixations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import stt_ros
from bench import report, timing
from stt_ros.gaze.attention import Attention
from stt_ros.gaze.pairing import SECOND, StampWatch
from stt_ros.gaze.simulation import EyeSimulator, waypoints
from stt_ros.gaze.stream import GazeStream

RATE, IMAGE_RATE, SAMPLES = 250, 30, 1000
_PARAMETERS = {
    'gaze_mode': 'fixations_only', 'gaze_smoothing_beta': 0.007, 'fixation_min': 0.1,
    'blink_hold': 0.4, 'dwell_time': 0.8, 'fixation_velocity': 30.0, 'fixation_dispersion': 1.0,
    'fixation_velocity_px': 450.0, 'fixation_dispersion_px': 20.0,
}  # fmt: skip


def measure(repeats: int) -> dict:
    """Return the figures, of a gaze at 250 Hz that wanders between three things."""
    eye = EyeSimulator(waypoints([(0, 100, 100), (1, 400, 300), (2, 200, 350)]))
    at = [number / RATE for number in range(SAMPLES)]
    samples = [(round(t * SECOND), eye.sample(t)) for t in at]
    tasks: dict[str, Callable[[], object]] = {
        f'pairing, images at {IMAGE_RATE} Hz': partial(_pair, samples)
    }
    for method in ('ivt', 'idt'):
        for smoothing in (0.0, 1.0):
            parameters = {**_PARAMETERS, 'fixation_method': method, 'gaze_smoothing': smoothing}
            name = f'fixations, {method}' + (', 1 euro filter' if smoothing else '')
            tasks[name] = partial(_detect, samples, parameters)
    rows = []
    for stage, times in timing.interleaved(tasks, lambda: None, repeats).items():
        each = times * 1e3 / SAMPLES
        median, p95 = timing.quantiles(each)
        rows.append(
            {'stage': stage, 'best': round(float(each.min()), 3), 'median': median, 'p95': p95}
        )
    return {
        'bench': 'gaze',
        'environment': report.environment(
            repeats=f'{repeats}, {SAMPLES} samples each, all stages in turn',
            package=str(stt_ros.__path__[0]),
        ),
        'tables': {'microseconds per sample': rows},
    }


def _pair(samples: list) -> None:
    """Take samples in, and look up the gaze of each image that comes in between."""
    watch, attention, due = StampWatch(), Attention(), 0
    for time, sample in samples:
        if time >= due:
            watch.check('image', due)
            attention.at(due, SECOND // 2)
            due += SECOND // IMAGE_RATE
        watch.check('gaze', time, sure=False)
        attention.gaze(time, sample.x, sample.y)


def _detect(samples: list, parameters: dict) -> None:
    stream = GazeStream(parameters)
    for time, sample in samples:
        stream.add(time, sample.x, sample.y, 15.0)
