# SPDX-License-Identifier: Apache-2.0
"""The state of a training run and what one step does to it."""

from __future__ import annotations

import json
import math

import torch
import torch.distributed as dist

from stt_ros import zoo
from training.dataset import T
from training.export import weights_of
from training.initial import initialise, start_from
from training.losses import loss

SHARE_EVERY = 5  # steps between averaging the processes' weights


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
            start_from(self.model, weights_of(args.init))
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
            logits.flatten(2).float(),
            ious.float(),
            batch['target'],
            batch['area'],
            (batch['also'], batch['further']),
            self.args.focal,
        )
        self.model.zero_grad(set_to_none=True)
        if self.args.look:
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
