# SPDX-License-Identifier: Apache-2.0
"""The golden vectors, and the recipes of the images and weights that they were computed from."""

import json
import zlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / 'data' / 'golden'


def image(seed, height, width):
    """Return the (H, W, 3) uint8 RGB image of a seed: noisy squares of 16 px."""
    random = np.random.RandomState(seed)
    low = random.randint(0, 256, (height // 16 + 2, width // 16 + 2, 3)).astype(np.float64)
    squares = np.kron(low, np.ones((16, 16, 1)))[:height, :width]
    noise = random.randint(-20, 21, (height, width, 3))
    return np.clip(np.rint(squares + noise), 0, 255).astype(np.uint8)


def weights(key, shape, seed):
    """Return one float32 tensor of a state dict as an array."""
    random = np.random.RandomState((zlib.crc32(key.encode()) ^ seed) & 0xFFFFFFFF)
    x = random.standard_normal(shape)
    if len(shape) == 1 and key.endswith('.weight'):
        x = 1 + 0.1 * x
    elif len(shape) == 1 and key.endswith(('.bias', '.in_proj_bias')):
        x = 0.1 * x
    elif key.endswith(('pos_enc', 'reg_tokens', 'reg_enc', 'mask_tokens', 'iou_token')):
        x = 0.5 * x
    elif 'output_upscaling' in key:
        x = x / np.sqrt(shape[0])
    else:
        x = 0.7 * x / np.sqrt(np.prod(shape[1:]))
    return x.astype(np.float32)


def cases(name):
    """Return the list of cases 'foveation' or 'model', each with its expected arrays in it."""
    stored = np.load(DATA / f'{name}.npz')
    listed = json.loads((DATA / f'{name}.json').read_text())
    for case in listed:
        prefix = case['name'] + '/'
        case['expected'] = {
            key[len(prefix) :]: stored[key] for key in stored if key.startswith(prefix)
        }
    return listed


def state_shapes():
    """Return {model: {key: [shape]}} of the published state dicts."""
    return json.loads((DATA / 'state_shapes.json').read_text())


def unfoveation():
    """Return the arrays 'tokens' (172,1,16,16), 'image_sha256' and some 'rows' of the image."""
    return dict(np.load(DATA / 'unfoveation.npz'))
