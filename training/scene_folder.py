# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes as a folder of pictures and masks, for ``stt_ros eval``.

    python -m training.scene_folder FOLDER [--count 40] [--seed 0]

Nothing is drawn that a training run has drawn: its seeds are others. One thing is asked per scene.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stt_ros import pictures
from training import scenes
from training.bank import Bank

OFFSET = 10**9  # far from the seeds of training runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--count', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    for name in ('frames', 'masks'):
        (arguments.folder / name).mkdir(parents=True, exist_ok=True)
    written = number = 0
    while written < arguments.count:
        rng = np.random.default_rng([OFFSET, arguments.seed, number])
        number += 1
        scene = scenes.composed_scene(rng, Bank(), 1)
        if scene.targets:
            name = f'{written:05d}.png'
            pictures.write(arguments.folder / 'frames' / name, scene.image)
            mask = (scene.targets[0] > 127).astype(np.uint8) * 255
            pictures.write(arguments.folder / 'masks' / name, mask)
            written += 1


if __name__ == '__main__':
    main()
