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
import math
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
from training.dataset import Mix, Ring, T, draw_forever
from training.initial import initialise
from training.losses import loss

SHARE_EVERY = 5  # steps between averaging the processes' weights


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
    p.add_argument('--ring', type=Path, default=Path('/dev/shm/stt_training_ring'))
    p.add_argument(
        '--also',
        nargs=2,
        metavar=('RING', 'SHARE'),
        help='a second ring, left as it is, and its share of the batches',
    )
    p.add_argument('--slots', type=int, default=30000, help='samples in the ring (181 kB each)')
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
    data.arguments(p)
    return p.parse_args()


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


def optimisers(model, args) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW for the rest; or AdamW for all."""
    names = ('image_encoder.blocks', 'mask_decoder.transformer') if args.muon else ()
    muon = [p for n, p in model.named_parameters() if n.startswith(names or '-') and p.ndim == 2]
    chosen = {id(p) for p in muon}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [
        {'params': [p for p in others if p.ndim > 1], 'weight_decay': args.weight_decay},
        {'params': [p for p in others if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    found = [torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), fused=True)]
    if muon:
        found.append(
            torch.optim.Muon(
                muon,
                lr=args.lr,
                weight_decay=args.weight_decay,
                adjust_lr_fn='match_rms_adamw',
            )
        )
    return found


def quadtree_order(size: int) -> torch.Tensor:
    """Row-major index of each pixel of a (size, size) map in quadtree order: (size * size,)."""
    levels = size.bit_length() - 1
    index = torch.arange(size * size).view([2] * (2 * levels))
    return index.permute([d for k in range(levels) for d in (k, levels + k)]).flatten()


class Trainer:
    """State of a run; everything that a checkpoint holds."""

    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.model = zoo.build(args.model).to(args.device)
        self.average = zoo.build(args.model).to(args.device).requires_grad_(False)
        initialise(self.model)
        if args.init:
            from training.export import load_any

            self.model.load_state_dict(load_any(args.init).state_dict())
        self.average.load_state_dict(self.model.state_dict())
        self.look = torch.nn.Linear(self.model.config.upscaling[-1], 3).to(args.device)
        self.pixels = []
        last = self.model.mask_decoder.output_upscaling[-1]
        last.register_forward_hook(lambda *call: self.pixels.__setitem__(slice(None), call[-1:]))
        self.optimisers = optimisers(self.model, args)
        self.optimisers[0].add_param_group({'params': list(self.look.parameters())})
        self.step, self.spent, self.curve = 0, 0.0, []
        self.file = args.out / 'checkpoint.pt'
        if self.file.exists():
            self._resume()

    def _resume(self):
        state = torch.load(self.file, map_location=self.args.device, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.average.load_state_dict(state['average'])
        for optimiser, saved in zip(self.optimisers, state['optimisers'], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.spent, self.curve = state['step'], state['spent'], state['curve']

    def save(self):
        state = {
            'name': self.args.model,
            'model': self.model.state_dict(),
            'average': self.average.state_dict(),
            'optimisers': [o.state_dict() for o in self.optimisers],
            'step': self.step,
            'spent': self.spent,
            'curve': self.curve,
            'batch': self.args.batch * self.args.processes,
        }
        torch.save(state, self.file.with_suffix('.tmp'))
        self.file.with_suffix('.tmp').replace(self.file)
        (self.args.out / 'curve.json').write_text(json.dumps(self.curve))

    def rate(self) -> float:
        done = min(1.0, self.spent / (self.args.minutes * 60))
        return (
            self.args.lr
            * min(1.0, (self.step + 1) / self.args.warmup)
            * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        )

    def train_step(self, batch: dict) -> dict:
        batch = {k: v.to(self.args.device, non_blocking=True) for k, v in batch.items()}
        for group in [g for o in self.optimisers for g in o.param_groups]:
            group['lr'] = self.rate()
        with torch.autocast(torch.device(self.args.device).type, torch.bfloat16):
            logits, ious = self.model(batch['tokens'], batch['valid'], batch['positions'])
        total, parts = loss(
            logits.flatten(2).float(), ious.float(), batch['target'], batch['area'], self.args.focal
        )
        self.model.zero_grad(set_to_none=True)
        look = self._appearance_loss(batch)
        parts['look'] = float(look.detach())
        total = total + self.args.look * look
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self._share()
        keep = min(self.args.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - keep
            )
        return parts

    def _appearance_loss(self, batch: dict) -> torch.Tensor:
        """How badly each pixel's feature tells its colour (a head that is not kept).

        Without it a fresh network spends most of its time answering with discs of three sizes,
        whatever is in the image, before any appearance reaches the mask.
        """
        told = self.look(self.pixels[0].float())  # (B, n, T*T, 3) in quadtree order
        order = quadtree_order(T).to(told.device)
        colours = batch['tokens'].flatten(3)[..., order].transpose(2, 3)
        return ((told - colours).square().mean((2, 3)) * batch['valid']).sum() / batch[
            'valid'
        ].sum()

    def _share(self):
        """Average weights and the time spent over the processes, every few steps (local SGD)."""
        if not dist.is_initialized() or self.step % SHARE_EVERY:
            return
        weights = [p.data for p in self.model.parameters()]
        flat = torch.cat([w.flatten() for w in weights] + [weights[0].new_tensor([self.spent])])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        self.spent = float(flat[-1])
        for weight, mean in zip(
            weights, flat[:-1].split([w.numel() for w in weights]), strict=True
        ):
            weight.copy_(mean.view_as(weight))

    def done(self) -> bool:
        """Tell whether time is up; all processes agree, as they only look just after sharing it."""
        return self.step % SHARE_EVERY == 0 and self.spent >= self.args.minutes * 60


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
