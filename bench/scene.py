# SPDX-License-Identifier: Apache-2.0
"""What is looked at, and with which weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

import stt_ros
from bench.report import BenchError
from stt_ros import masks, pictures, weights_io, zoo
from stt_ros.errors import WeightsError

_CLIP = Path(stt_ros.__file__).parent / 'clips' / 'dog'


def picture(size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a real picture (H, W, 3) uint8 RGB of a size (W, H), and a pixel (x, y) of a thing."""
    image = cv2.resize(pictures.read(_CLIP / 'frames' / '00000.jpg'), size)
    thing = cv2.resize(pictures.read(_CLIP / 'masks' / '00000.png')[..., 0], size)
    return image, masks.interior_point(thing > 127)


def weights(name: str, random: bool, folder: Path) -> tuple[str, str]:
    """Return the weights to be loaded, a name or a path, and what to call them.

    Random ones are written to the folder. Raises ``BenchError`` if there are no such weights.
    """
    embedded = zoo.EMBEDDED[zoo.DEFAULT].is_file()
    if not random and (name != 'default' or embedded):
        return name, f'{zoo.DEFAULT} (default)' if name == 'default' else name
    name = zoo.DEFAULT if name == 'default' else name
    torch.manual_seed(0)
    try:
        model = zoo.build(name)
    except WeightsError as error:
        raise BenchError(str(error)) from error
    path = folder / f'{name}.safetensors'
    weights_io.save(model, path, name)
    return str(path), f'{name} with random weights'
