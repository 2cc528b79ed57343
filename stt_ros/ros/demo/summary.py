# SPDX-License-Identifier: Apache-2.0
"""The figures of a finished run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from stt_ros.masks import iou
from stt_ros.ros.demo.record import Moment
from stt_ros.ros.images import to_frame


def hypothesis_mask(result, rank: int = 0) -> np.ndarray | None:
    """Return a hypothesis of a Segmentation as a mask (H, W) bool of the full image, None if none.

    Rank 0 is the best one.
    """
    if rank >= len(result.hypotheses):
        return None
    hypothesis = result.hypotheses[rank]
    mask = np.zeros((result.image_height, result.image_width), bool)
    if hypothesis.mask.width and hypothesis.mask.height:
        x, y = hypothesis.roi.x_offset, hypothesis.roi.y_offset
        part = to_frame(hypothesis.mask).pixels > 0
        mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask


def human_mask(moment: Moment) -> np.ndarray | None:
    """Return the mask (H, W) bool that people drew; None where there is none, or nothing on it."""
    if moment.mask is None:
        return None
    content = np.frombuffer(moment.mask.data, np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    return pixels > 127 if pixels is not None and pixels.max() > 127 else None


def scores(moment: Moment) -> list[float]:
    """Return the IoU of each hypothesis with the human mask, best-ranked first; [] without one.

    [] too where many things were found: nobody asked for that one.
    """
    truth = human_mask(moment)
    if truth is None or moment.result is None or (moment.found and moment.found.count > 1):
        return []
    size = (moment.result.image_height, moment.result.image_width)
    if size != truth.shape:
        return []
    return [
        iou(hypothesis_mask(moment.result, rank), truth)
        for rank in range(len(moment.result.hypotheses))
    ]


def summarise(moments: Sequence[tuple[int, Moment]], camera: dict | None = None) -> dict:
    """Return the figures of a run; times in seconds, latencies in milliseconds, NaN is None.

    ``camera`` is what the camera reported when it ended, if it did. Images before the first one
    that got a result are warm-up; every later one without a result was dropped.
    """
    answered = [stamp for stamp, moment in moments if moment.result is not None]
    images = [stamp for stamp, moment in moments if moment.image is not None]
    sent = camera['frames'] if camera else len(images)
    warmup = sum(stamp < answered[0] for stamp in images) if answered else sent
    results = [moment for _, moment in moments if moment.result is not None]
    latencies = [moment.latency * 1e3 for moment in results]
    predicted = [m.result.hypotheses[0].predicted_iou for m in results if m.result.hypotheses]
    counts = [moment.found.count for moment in results if moment.found]
    rated = [found for found in map(scores, results) if found]
    span = (answered[-1] - answered[0]) * 1e-9 if answered else 0.0
    return {
        'frames_sent': sent,
        'frames_received': len(images),
        'frames_segmented': len(results),
        'frames_before_first_result': warmup,
        'frames_dropped': max(0, sent - warmup - len(results)),
        'seconds': camera['seconds'] if camera else _number(span, 3),
        'rate_hz': _number((len(answered) - 1) / span if span else math.nan, 2),
        'latency_ms_p50': _number(_percentile(latencies, 50), 1),
        'latency_ms_p95': _number(_percentile(latencies, 95), 1),
        'masks': _number(_percentile(counts, 50), 0),
        'predicted_iou': _number(_mean(predicted), 4),
        'human_iou': _number(_mean([found[0] for found in rated]), 4),
        'human_iou_best_of_three': _number(_mean([max(found) for found in rated]), 4),
        'frames_with_human_mask': len(rated),
    }


def as_text(figures: dict) -> str:
    """Write the figures as a few lines for people; a figure that is not known is '-'."""
    known = {name: '-' if value is None else value for name, value in figures.items()}
    lines = [
        'frames   {frames_sent} sent, {frames_segmented} segmented, {frames_dropped} dropped '
        '({frames_before_first_result} more before the first result)',
        'rate     {rate_hz} Hz',
        'latency  {latency_ms_p50} ms p50, {latency_ms_p95} ms p95, from image stamp to result '
        'received',
        'IoU      {predicted_iou} as the model predicts it',
    ]
    if figures['frames_with_human_mask']:
        lines[-1] += (
            '; with the human masks {human_iou} (best of the three hypotheses '
            '{human_iou_best_of_three})'
        )
    if (figures['masks'] or 0) > 1:
        lines.append('masks    {masks:.0f} in a picture (median)')
    return '\n'.join(lines).format(**known)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else math.nan


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
