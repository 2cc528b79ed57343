# SPDX-License-Identifier: Apache-2.0
"""Train a small STT: one command, resumable, on a CPU or a CUDA device.

    python -m training.train OUT --davis FOLDER --pack FOLDER --clips FOLDER... --minutes 75

Drawing runs in worker processes of its own (``--workers``) and fills a ring in shared memory.
Checkpoints (weights, their moving average, optimiser, curve) are written to OUT every
``--save-minutes``; the same command continues from the last one. Time, not steps, sets the
learning rate's cosine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from stt_ros import zoo
from training import batches, data, evaluate, real
from training.dataset import Mix, Ring, draw_forever
from training.trainer import Trainer


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        'out', type=Path, help='folder for checkpoints and the log; continues when it has some'
    )
    p.add_argument('--model', default=zoo.DEFAULT)
    p.add_argument(
        '--init', type=Path, help='start from these weights (a checkpoint or .safetensors)'
    )
    p.add_argument('--minutes', type=float, default=75)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--lr', type=float, default=1e-3)
    p.add_argument('--muon', action='store_true', help='Muon for the transformer matrices')
    p.add_argument('--focal', type=float, default=20, help='weight of focal against dice')
    p.add_argument('--look', type=float, default=1.0, help='weight of the appearance loss')
    p.add_argument('--warmup', type=int, default=300, help='steps')
    p.add_argument('--weight-decay', type=float, default=0.05)
    p.add_argument('--ema', type=float, default=0.998)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument(
        '--processes',
        type=int,
        default=1,
        help='training processes, each with its own batches; on a CPU one '
        'single-threaded process per core is faster, and does not stall on a busy machine',
    )
    p.add_argument('--threads', type=int, default=1, help='threads per process')
    _data_arguments(p)
    data.arguments(p)
    return p.parse_args()


def _data_arguments(p: argparse.ArgumentParser):
    p.add_argument('--ring', type=Path, default=Path('/dev/shm/stt_training_ring'))
    p.add_argument(
        '--also',
        nargs=2,
        metavar=('RING', 'SHARE'),
        help='a second ring, left as it is, and its share of the batches',
    )
    p.add_argument('--slots', type=int, default=30000, help='samples in the ring (269 kB each)')
    p.add_argument(
        '--workers', type=int, default=1, help='drawing processes; 0 = use the ring as it is'
    )
    p.add_argument(
        '--pause', type=float, default=1.0, help='idle time of a drawing worker per time drawn'
    )
    p.add_argument('--real', type=float, default=Mix.real, help='share of views of real pictures')
    p.add_argument('--first', type=float, default=0, help='share of picture-book scenes')
    p.add_argument('--save-minutes', type=float, default=5)
    p.add_argument(
        '--clips',
        type=Path,
        nargs='*',
        default=[],
        help='validation sequences, looked at on the way',
    )


def start_workers(args, bank) -> list[mp.Process]:
    mix = Mix(first=args.first, real=args.real)
    jobs = [
        mp.get_context('fork').Process(
            target=draw_forever,
            daemon=True,
            args=(args.ring, bank, mix, i, args.workers, args.seed, args.pause, os.getpid()),
        )
        for i in range(args.workers)
    ]
    for job in jobs:
        job.start()
    return jobs


def validate(trainer: Trainer, sets: dict) -> dict:
    """Best of three and top-ranked on every validation set, with the averaged weights."""
    model = trainer.average.to('cpu').eval()
    result = {}
    for name, pictures in sets.items():
        s = evaluate.summary(evaluate.judge(model, name, pictures, smallest=16))
        result[name] = [
            round(s['best_of_three'], 3),
            round(s['top_ranked'], 3),
            round(s['pearson_r'], 2),
        ]
    trainer.average.to(trainer.args.device)
    return result


def run(trainer: Trainer, ring: Ring, sets: dict, rank: int = 0):
    args = trainer.args
    rng = np.random.default_rng([args.seed, trainer.step, rank])
    rings, shares = [ring], [1.0]
    if args.also:
        rings.append(Ring(Path(args.also[0])))
        shares = [1 - float(args.also[1]), float(args.also[1])]
    orders = [batches.pick(rng, r, args.batch) for r in rings]
    bar = tqdm(
        total=round(args.minutes * 60),
        initial=int(trainer.spent),
        unit='s',
        mininterval=10,
        disable=rank > 0,
    )
    mean, saved = {}, trainer.spent
    while not trainer.done():
        start = time.perf_counter()
        which = rng.choice(len(rings), p=shares)
        chosen = next(orders[which])
        if chosen is None:
            time.sleep(1)  # the workers are drawing the first samples
            continue
        parts = trainer.train_step(batches.collate(rng, rings[which].slots[chosen]))
        mean = {k: 0.99 * mean.get(k, v) + 0.01 * v for k, v in parts.items()}
        took = time.perf_counter() - start
        trainer.spent += took
        bar.update(int(trainer.spent) - bar.n)
        bar.set_postfix(
            step=trainer.step,
            rate=f'{args.batch / took:.0f}/s',
            **{k: f'{v:.3f}' for k, v in mean.items()},
            refresh=False,
        )
        if trainer.spent - saved > args.save_minutes * 60:
            saved = trainer.spent
            if rank == 0:
                checkpoint(trainer, mean, sets)
    if rank == 0:
        checkpoint(trainer, mean, sets)


def checkpoint(trainer: Trainer, mean: dict, sets: dict):
    trainer.curve.append(
        {'step': trainer.step, 'minutes': trainer.spent / 60, **mean, **validate(trainer, sets)}
    )
    trainer.save()
    print('\n' + json.dumps(trainer.curve[-1]), flush=True)


def process(rank: int, args):
    """One training process; the first also validates and saves."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    if args.processes > 1:
        dist.init_process_group(
            'gloo', init_method=f'file://{args.meeting}', rank=rank, world_size=args.processes
        )
    sets = {}
    if rank == 0:
        sets = {folder.name: real.davis(folder, 6) for folder in args.clips}
        if args.pack:
            sets['held-out objects'] = data.held_out(args.pack)
    # The fused attention kernel's backward pass is several times slower than plain products here.
    with sdpa_kernel(SDPBackend.MATH) if args.device == 'cpu' else contextlib.nullcontext():
        run(Trainer(args), Ring(args.ring), sets, rank)


def main():
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    args.meeting = Path(tempfile.mkdtemp()) / 'meeting'
    cv2.setNumThreads(1)
    Ring(args.ring, args.slots)
    workers = start_workers(args, data.training_bank(args)) if args.workers else []
    try:
        if args.processes > 1:
            mp.spawn(process, (args,), args.processes)
        else:
            process(0, args)
    finally:
        for worker in workers:
            worker.terminate()


if __name__ == '__main__':
    main()
