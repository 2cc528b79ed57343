# SPDX-License-Identifier: Apache-2.0
"""Turn a checkpoint of the trainer into the shipped fp16 file, judge that file, write its card.

    python -m training.export CHECKPOINT OUT.safetensors [--clips FOLDER...] [--pack FOLDER...]

With ``--clips`` the written file is evaluated on every frame, and OUT.md (the model card) and the
contact sheet and training curve in training/figures/ are written too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stt_ros import weights_io, zoo
from training import card, data, evaluate, real

FIGURES = Path(__file__).parent / 'figures'


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a trainer checkpoint (their moving average) or in any file."""
    if str(path).endswith('.pt'):
        state = torch.load(path, map_location='cpu', weights_only=True)
        return state.get('average', state)
    return weights_io.read(path)[0]


def load_any(path: Path) -> torch.nn.Module:
    """A model with the weights of a trainer checkpoint (their moving average) or of any file."""
    state = (
        torch.load(path, map_location='cpu', weights_only=True) if str(path).endswith('.pt') else {}
    )
    if 'average' not in state:
        return zoo.load(path=path)
    model = zoo.build(state['name'])
    model.load_state_dict(state['average'])
    return model.eval()


def export(checkpoint: Path, out: Path, stages: list[Path] = ()) -> dict[str, str]:
    """Write the averaged weights as fp16 with their origin as metadata; returns the metadata.

    ``stages`` are what this one was started from, checkpoints or a shipped file, for the sums of
    time and samples.
    """
    states = [read(path) for path in (*stages, checkpoint)]
    revision = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    name = states[-1]['name']
    metadata = {
        'model': name,
        'config': json.dumps(dataclasses.asdict(zoo.CONFIGS[name])),
        'licence': 'Apache-2.0',
        'revision': revision.stdout.strip() or 'unknown',
        'steps': str(sum(s['step'] for s in states)),
        'samples': f'{sum(s["step"] * s["batch"] for s in states):.0f}',
        'minutes': f'{sum(s["spent"] for s in states) / 60:.0f}',
    }
    weights = {key: value.half().contiguous() for key, value in states[-1]['average'].items()}
    save_file(weights, out, metadata)
    out.chmod(0o644)
    return metadata


def read(stage: Path) -> dict:
    """Read a trainer checkpoint; of a shipped file the sums that it has of its stages."""
    if stage.suffix != '.safetensors':
        return torch.load(stage, map_location='cpu', weights_only=True)
    with safe_open(stage, 'pt') as file:
        steps, samples, minutes = (
            int(file.metadata()[name]) for name in ('steps', 'samples', 'minutes')
        )
    return {'step': steps, 'batch': samples / steps, 'spent': 60 * minutes, 'curve': []}


def joined_curve(checkpoints: list[Path]) -> list[dict]:
    """Return the curves of successive stages as one, minutes running on."""
    curve, before = [], 0.0
    for state in map(read, checkpoints):
        curve += [{**point, 'minutes': point['minutes'] + before} for point in state['curve']]
        before += state['spent'] / 60
    return curve


def judge(
    weights: Path, clips: list[Path], packs: list[Path], every: int = 1, scenes: int = 0
) -> dict:
    """Evaluate the written file and draw its contact sheet; returns the table of figures."""
    model = load_any(weights)
    rows, frames = [], {}
    for folder in clips:
        pictures = real.davis(folder, every)
        frames.update((p.name, p) for p in pictures)
        rows += evaluate.judge(model, folder.name, pictures)
    others = evaluate.judge(model, 'held-out objects', data.held_out(packs), smallest=16)
    groups = evaluate.table(rows + others)
    groups |= {kind: evaluate.summary(r) for kind, r in evaluate.judge_drawn(model, scenes).items()}
    groups['all clips'] = evaluate.summary(rows)
    FIGURES.mkdir(exist_ok=True)
    evaluate.contact_sheet(model, rows, frames, FIGURES / 'contact_sheet.png')
    return groups


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--clips', type=Path, nargs='*', default=[])
    parser.add_argument('--pack', type=Path, nargs='*', default=[])
    parser.add_argument('--stages', type=Path, nargs='*', default=[], help='what came before')
    parser.add_argument('--scenes', type=int, default=60, help='unseen drawn scenes of each kind')
    parser.add_argument('--hardware', default='', help='words for the card: what it was trained on')
    args = parser.parse_args()
    metadata = export(args.checkpoint, args.out, args.stages)
    print(metadata)
    if not args.clips:
        return
    groups = judge(args.out, args.clips, args.pack, scenes=args.scenes)
    evaluate.print_table(groups)
    card.draw_curve(joined_curve([*args.stages, args.checkpoint]), FIGURES / 'curve.png')
    args.out.with_suffix('.md').write_text(card.write(args.out, metadata, groups, args.hardware))


if __name__ == '__main__':
    main()
