# SPDX-License-Identifier: Apache-2.0
"""Turn a checkpoint of the trainer into the shipped fp16 file, and read either.

python -m training.export CHECKPOINT OUT.safetensors
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stt_ros import zoo


def load_any(path: Path) -> torch.nn.Module:
    """A model with the weights of a trainer checkpoint (its moving average) or of a .safetensors file."""
    path = Path(path)
    if path.suffix == '.pt':
        state = torch.load(path, map_location='cpu', weights_only=True)
        name, weights = state['name'], state['average']
    else:
        with safe_open(path, 'pt') as file:
            name = (file.metadata() or {}).get('model', zoo.DEFAULT)
            weights = {key: file.get_tensor(key).float() for key in file.keys()}
    model = zoo.build(name)
    model.load_state_dict(weights)
    return model.eval()


def export(checkpoint: Path, out: Path) -> dict:
    """Write the averaged weights as fp16 with their origin as metadata; returns the metadata."""
    state = torch.load(checkpoint, map_location='cpu', weights_only=True)
    revision = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    metadata = {
        'model': state['name'],
        'config': str(zoo.CONFIGS[state['name']]),
        'licence': 'Apache-2.0',
        'revision': revision.stdout.strip() or 'unknown',
        'steps': str(state['step']),
        'samples': str(state['step'] * state['batch']),
        'minutes': f'{state["spent"] / 60:.0f}',
    }
    weights = {key: value.half().contiguous() for key, value in state['average'].items()}
    save_file(weights, out, metadata)
    return metadata


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    print(export(args.checkpoint, args.out))


if __name__ == '__main__':
    main()
