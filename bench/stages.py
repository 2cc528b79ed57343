# SPDX-License-Identifier: Apache-2.0
"""What each stage from a camera's message to its answer costs, beside the baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import stt_ros
from bench import messages, report, scene, timing
from bench.baseline import Baseline
from bench.network import Network, Watched, load
from stt_ros import zoo
from stt_ros.allocator import keep_memory
from stt_ros.engines import ENGINES, EngineError
from stt_ros.errors import WeightsError
from stt_ros.frame import Frame
from stt_ros.segmenter import Segmenter, look

SIZES = [(640, 480), (854, 480), (1280, 720), (1920, 1080), (3840, 2160)]
PRECISIONS = ('auto', 'fp32')
OWN_PRECISIONS = {'openvino': ('int8',)}

OURS, BASELINE = 'stt_ros', 'baseline'
_ANY = '-'  # stages that do not depend on engine or model

# Our stages, and the baseline's that does the same job.
_PAIRS = {
    'decode raw': 'decode raw',
    'decode JPEG': 'decode JPEG',
    'foveate': 'foveate',
    'upload': None,
    'encoder': 'encoder',
    'decoder': 'decoder',
    'download': None,
    'network': 'network',
    'paint nearest, whole image': 'paint',
    'paint bilinear, whole image': 'paint',
    'paint bilinear, region of the mask': 'paint',
    'publish': 'publish',
    'segment: frame to 3 masks': 'segment',
}

Tasks = dict[tuple[str, str, str, str], Callable[[], object]]  # (who, stage, engine, model)


def measure(
    models: dict[str, str],
    chosen: list[str] | None,
    device: str,
    sizes: list[tuple[int, int]],
    repeats: int,
    threads: int,
) -> dict:
    """Return the figures of all stages with all engines and models at all image sizes (W, H).

    ``models`` has what to load by what to call it; ``chosen`` engines, None for the installed ones.
    Raises ``BenchError`` if weights cannot be loaded or a chosen engine cannot be had.
    """
    keep_memory()  # as the node; else it is chance which task pays for asking for new pages
    networks = _networks(models, chosen, device, threads)
    try:
        baselines = {label: Baseline(zoo.load(name)) for label, name in models.items()}
    except WeightsError as error:
        raise report.BenchError(str(error)) from error
    environment = report.environment(
        engines='; '.join(n.engine.description for n in networks) + '; baseline: eager fp32',
        threads=f'{torch.get_num_threads()} (network)',
        repeats=f'{repeats}, all stages in turn',
        package=str(stt_ros.__path__[0]),
    )
    watched = {(OURS, network.name, network.model): network.run for network in networks}
    for label, baseline in baselines.items():
        run = Watched(baseline.run, baseline.network.image_encoder)
        watched[BASELINE, _ANY, label] = run
    times, memory = [], []
    for size in sizes:
        image, gaze = scene.picture(size)
        frame = image.copy()
        tasks = _common(frame, image, gaze, networks[0], next(iter(baselines.values())))
        for network in networks:
            tasks |= _of_network(frame, gaze, network)
        for label, baseline in baselines.items():
            tasks |= _of_baseline(frame, gaze, label, baseline, watched[BASELINE, _ANY, label])
        # A frame comes from the middleware freshly copied, and so it is then in the caches.
        arrive = partial(np.copyto, frame, image)
        taken = timing.interleaved(tasks, arrive, repeats)
        for (who, engine, model), run in watched.items():
            for stage, measured in run.parts(repeats).items():
                taken[who, stage, engine, model] = measured
        times += _rows(size, taken)
        memory += _memory(size, tasks, networks)
    order = {stage: i for i, stage in enumerate(_PAIRS)}
    # By stage, so that what the size of the image changes is seen at once.
    times.sort(key=lambda row: (order[row['stage']], row['model'], row['engine']))
    for network in networks:
        network.engine.close()
    return {
        'bench': 'stages',
        'environment': environment,
        'tables': {'milliseconds': times, 'peak memory of one segment call, MB': memory},
    }


def _networks(models, chosen: list[str] | None, device: str, threads: int) -> list[Network]:
    """Load every model with every engine, in the engine's own precision and in fp32."""
    found = []
    for label, weights in models.items():
        for engine in chosen or [name for name in ENGINES if name != 'auto']:
            for precision in (*PRECISIONS, *OWN_PRECISIONS.get(engine, ())):
                try:
                    network = load(weights, label, engine, device, precision, threads)
                except WeightsError as error:
                    raise report.BenchError(str(error)) from error
                except EngineError as error:
                    if chosen and precision in PRECISIONS:
                        raise report.BenchError(str(error)) from error
                    print(f'bench: left out: {error}', file=sys.stderr)
                    break
                if network.name not in [n.name for n in found if n.model == label]:
                    found.append(network)
    if not found:
        raise report.BenchError('no engine is installed')
    return found


def _common(frame: np.ndarray, image: np.ndarray, gaze, network: Network, baseline) -> Tasks:
    """Return the tasks in which no network takes part."""
    [result] = Segmenter(network.engine).segment(image, [gaze])
    view, logits = result.view, result.hypotheses[0].logits
    paint = partial(view.paint, logits)
    roi = view.pattern.bounding_roi(logits > 0, view.gaze, view.size)
    jpeg = messages.jpeg(image)
    masks = baseline.segment(image, gaze)
    tasks = {
        (OURS, 'decode raw'): messages.decoder(messages.raw(frame)),
        (BASELINE, 'decode raw'): partial(baseline.decode_raw, frame.data, frame.shape),
        (OURS, 'decode JPEG'): messages.decoder(jpeg),
        (BASELINE, 'decode JPEG'): partial(baseline.decode_jpeg, jpeg.data),
        (OURS, 'foveate'): partial(_look, network, frame, gaze),
        (BASELINE, 'foveate'): partial(baseline.foveate, frame, gaze),
        (OURS, 'paint nearest, whole image'): paint,
        (OURS, 'paint bilinear, whole image'): partial(paint, 'bilinear'),
        (OURS, 'paint bilinear, region of the mask'): partial(paint, 'bilinear', roi),
        (BASELINE, 'paint'): partial(baseline.paint, torch.from_numpy(logits), gaze, view.size),
    }
    if messages.WITH_ROS:
        tasks[OURS, 'publish'] = partial(messages.publish, result)
        tasks[BASELINE, 'publish'] = partial(messages.publish_whole, masks)
    return {(*key, _ANY, _ANY): task for key, task in tasks.items()}


def _of_network(frame: np.ndarray, gaze, network: Network) -> Tasks:
    _, tokens, valid = _look(network, frame, gaze)
    tasks = network.transfers(tokens, network.engine.run(tokens, valid)[0])
    tasks['network'] = partial(network.run, tokens, valid)
    tasks['segment: frame to 3 masks'] = partial(_segment, Segmenter(network.engine), frame, gaze)
    return {(OURS, stage, network.name, network.model): task for stage, task in tasks.items()}


def _of_baseline(frame, gaze, label: str, baseline: Baseline, run: Watched) -> Tasks:
    tasks = {
        'network': partial(run, *baseline.foveate(frame, gaze)),
        'segment': partial(baseline.segment, frame, gaze),
    }
    return {(BASELINE, stage, _ANY, label): task for stage, task in tasks.items()}


def _look(network: Network, frame: np.ndarray, gaze: tuple[int, int]):
    """Read the frame as the node does: a large one as if it were smaller, if the model wants so."""
    pattern = network.engine.pattern
    return look(Frame(frame), [gaze], pattern, pattern.scale_for(frame.shape[:2]))


def _segment(segmenter: Segmenter, image: np.ndarray, gaze: tuple[int, int]) -> list[tuple]:
    """Do all that a message needs: three cropped masks with box, area and stability."""
    [result] = segmenter.segment(Frame(image), [gaze])
    return [(h.crop, h.box, h.area_px, h.stability) for h in result.hypotheses]


def _rows(size: tuple[int, int], times: dict) -> list[dict]:
    rows = []
    for (who, stage, engine, model), measured in times.items():
        if who != OURS:
            continue
        base = times.get((BASELINE, _PAIRS[stage], _ANY, model), np.array([]))
        median, p95 = timing.quantiles(measured)
        base_median, base_p95 = timing.quantiles(base) if len(base) else (None, None)
        rows.append({
            'stage': stage,
            'engine': engine,
            'model': model,
            'image': '{}x{}'.format(*size),
            'median': median,
            'p95': p95,
            'baseline median': base_median,
            'baseline p95': base_p95,
            'times faster': round(base_median / median, 2) if base_median and median else None,
        })
    return rows


def _memory(size: tuple[int, int], tasks: Tasks, networks: list[Network]) -> list[dict]:
    return [
        {
            'engine': network.name,
            'model': network.model,
            'image': '{}x{}'.format(*size),
            OURS: timing.peak_memory(
                tasks[OURS, 'segment: frame to 3 masks', network.name, network.model]
            ),
            BASELINE: timing.peak_memory(tasks[BASELINE, 'segment', _ANY, network.model]),
        }
        for network in networks
    ]
