# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.everything``: what everything-mode costs, and in which batches it is best.

256 gazes of a VGA picture: all of everything-mode first, then looking alone in batches. Batch sizes
take turns, so that whatever else the machine does falls on all of them alike; the best and the
median of the repeats are printed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from tqdm import tqdm

from bench import scene, timing
from stt_ros import segmenter as segmenters
from stt_ros.prompts import grids
from stt_ros.prompts.base import as_frame
from stt_ros.prompts.everything import Settings, everything
from stt_ros.segmenter import Segmenter

SIZE = (640, 480)
BATCHES = (1, 2, 4, 8, 16, 32)
GOAL = 3.0  # seconds for 256 gazes of the default model on two cores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--weights', default='default', help='model name or file')
    parser.add_argument('--threads', type=int, help='of the network; default: all')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--points-per-side', type=int, default=16)
    arguments = parser.parse_args()
    segmenter = Segmenter.create(arguments.weights, threads=arguments.threads)
    image, _ = scene.picture(SIZE)
    gazes = grids.grid((0, 0, *SIZE), arguments.points_per_side)
    print(f'{segmenter.engine.description}; {len(gazes)} gazes, {SIZE[0]} x {SIZE[1]}', flush=True)
    _whole(segmenter, image, arguments)
    _network(segmenter, image, gazes, arguments.repeats)


def _network(segmenter, image: np.ndarray, gazes: np.ndarray, repeats: int) -> None:
    """Print what looking costs in batches of each size: foveation, network and ranking."""

    def look(batch: int):
        for start in range(0, len(gazes), batch):
            segmenter.segment(image, gazes[start : start + batch])

    batches = [b for b in BATCHES if b <= segmenters.MAX_BATCH]
    tasks = {batch: lambda batch=batch: look(batch) for batch in batches}
    runs = len(tasks) * (repeats + timing.WARM_UP)
    with tqdm(total=runs, unit='run', desc='batches', leave=False) as progress:
        times = timing.interleaved(tasks, progress.update, repeats)
    for batch, ms in times.items():
        print(f'batch {batch:3}: best {ms.min() / 1e3:6.2f} s, median {np.median(ms) / 1e3:6.2f} s')
    start = time.perf_counter()
    frame = as_frame(image)
    segmenters.look(frame, list(gazes), segmenter.pattern, segmenter.scale_for(frame.size))
    print(f'of which foveation: {time.perf_counter() - start:6.2f} s')


def _whole(segmenter, image: np.ndarray, arguments) -> None:
    """Print what everything-mode costs in all."""
    settings = Settings(points_per_side=arguments.points_per_side)
    taken, busy = [], []
    for _ in tqdm(range(arguments.repeats), unit='run', desc='everything', leave=False):
        start, cpu = time.perf_counter(), time.process_time()
        found = everything(segmenter, image, settings)
        taken.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    verdict = 'within' if min(taken) <= GOAL else 'beyond'
    print(
        f'everything: best {min(taken):.2f} s, median {np.median(taken):.2f} s, '
        f'{min(busy):.2f} s of processor time, {len(found)} masks; '
        f'{verdict} the goal of {GOAL:g} s (of 256 gazes on two cores)',
        flush=True,
    )


if __name__ == '__main__':
    main()
