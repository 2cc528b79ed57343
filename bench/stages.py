# SPDX-License-Identifier: Apache-2.0
"""What each stage from frame to masks costs, beside the baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import stt_ros
from bench import report, scene, timing
from bench.baseline import Baseline
from stt_ros import zoo
from stt_ros.allocator import keep_memory
from stt_ros.engines import EngineError
from stt_ros.errors import WeightsError
from stt_ros.segmenter import Segmenter

SIZES = [(640, 480), (854, 480), (1280, 720), (1920, 1080), (3840, 2160)]

OURS, BASELINE = 'stt_ros', 'baseline'

# Our stages, and the baseline's that does the same job.
_PAIRS = {
    'foveate': 'foveate',
    'network': 'network',
    'network fp32': 'network',
    'paint nearest, whole image': 'paint',
    'paint bilinear, whole image': 'paint',
    'paint bilinear, region of the mask': 'paint',
    'segment: frame to 3 masks': 'segment',
}


def measure(
    weights: str, label: str, sizes: list[tuple[int, int]], repeats: int, threads: int
) -> dict:
    """Return the figures of all stages at all image sizes (W, H).

    Raises ``BenchError`` if the weights cannot be loaded.
    """
    keep_memory()  # as the node; else it is chance which task pays for asking for new pages
    try:
        ours = Segmenter.create(weights, device='cpu', threads=threads)
        exact = Segmenter.create(weights, device='cpu', precision='fp32')
        baseline = Baseline(zoo.load(weights))
    except (WeightsError, EngineError) as error:
        raise report.BenchError(str(error)) from error
    environment = report.environment(
        model=f'{label}, {ours.engine.precision}; baseline and "network fp32": fp32',
        threads=f'{torch.get_num_threads()} (network)',
        repeats=f'{repeats}, all stages in turn',
        package=str(stt_ros.__path__[0]),
    )
    times, memory = [], []
    for size in sizes:
        image, gaze = scene.picture(size)
        frame = image.copy()
        tasks = _tasks(frame, gaze, ours, exact, baseline)
        # A frame comes from the middleware freshly copied, and so it is then in the caches.
        arrive = partial(np.copyto, frame, image)
        times.append(_rows(size, timing.interleaved(tasks, arrive, repeats)))
        memory.append(_memory(size, tasks))
    # By stage, so that what the size of the image changes is seen at once.
    ordered = [row for stage in zip(*times, strict=True) for row in stage]
    return {
        'bench': 'stages',
        'environment': environment,
        'tables': {
            'milliseconds': ordered,
            'peak memory of one segment call, MB': memory,
        },
    }


def _tasks(
    image: np.ndarray,
    gaze: tuple[int, int],
    ours: Segmenter,
    exact: Segmenter,
    baseline: Baseline,
) -> dict[tuple[str, str], Callable[[], object]]:
    """Return {(who, stage): call}; each stage gets what the one before it made."""
    pattern, size = ours.pattern, image.shape[:2]
    tokens, valid = (a[None] for a in pattern.foveate(image, gaze))
    logits = ours.engine.run(tokens, valid)[0][0, 0]
    paint = partial(pattern.paint, logits, gaze, size)
    roi = pattern.bounding_roi(logits > 0, gaze, size)
    return {
        (OURS, 'foveate'): partial(pattern.foveate, image, gaze),
        (BASELINE, 'foveate'): partial(baseline.foveate, image, gaze),
        (OURS, 'network'): partial(ours.engine.run, tokens, valid),
        (OURS, 'network fp32'): partial(exact.engine.run, tokens, valid),
        (BASELINE, 'network'): partial(baseline.run, *baseline.foveate(image, gaze)),
        (OURS, 'paint nearest, whole image'): paint,
        (OURS, 'paint bilinear, whole image'): partial(paint, 'bilinear'),
        (OURS, 'paint bilinear, region of the mask'): partial(paint, 'bilinear', roi),
        (BASELINE, 'paint'): partial(baseline.paint, torch.from_numpy(logits), gaze, size),
        (OURS, 'segment: frame to 3 masks'): partial(_segment, ours, image, gaze),
        (BASELINE, 'segment'): partial(baseline.segment, image, gaze),
    }


def _segment(segmenter: Segmenter, image: np.ndarray, gaze: tuple[int, int]) -> list[tuple]:
    """Do all that a message needs: three cropped masks with box, area and stability."""
    [result] = segmenter.segment(image, [gaze])
    return [(h.crop, h.box, h.area_px, h.stability) for h in result.hypotheses]


def _rows(size: tuple[int, int], times: dict[tuple[str, str], np.ndarray]) -> list[dict]:
    rows = []
    for stage, counterpart in _PAIRS.items():
        median, p95 = timing.quantiles(times[OURS, stage])
        base_median, base_p95 = timing.quantiles(times[BASELINE, counterpart])
        rows.append({
            'stage': stage,
            'image': '{}x{}'.format(*size),
            'median': median,
            'p95': p95,
            'baseline median': base_median,
            'baseline p95': base_p95,
            'times faster': round(base_median / median, 2),
        })
    return rows


def _memory(size: tuple[int, int], tasks: dict[tuple[str, str], Callable]) -> dict:
    return {
        'image': '{}x{}'.format(*size),
        OURS: timing.peak_memory(tasks[OURS, 'segment: frame to 3 masks']),
        BASELINE: timing.peak_memory(tasks[BASELINE, 'segment']),
    }
