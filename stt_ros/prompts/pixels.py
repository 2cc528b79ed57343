# SPDX-License-Identifier: Apache-2.0
"""Frames as foundation models want them: resized with antialiasing on the device, normalised.

The models' own image processors want torchvision, Pillow or SciPy, depending on the version.
"""

from __future__ import annotations

import numpy as np

# Mean and standard deviation of R, G, B in [0, 1] that the models were trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def prepare(loader, rgb: np.ndarray, size: tuple[int, int], colours, mode: str = 'bilinear'):
    """Return a tensor (1, 3, h, w) of a picture (H, W, 3) uint8 RGB, squashed to ``size`` (h, w).

    ``colours`` is the mean and standard deviation; ``mode`` 'bilinear' or 'bicubic'.
    """
    import torch
    import torch.nn.functional as F

    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(loader.device)
    pixels = pixels.permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, size, mode=mode, antialias=True, align_corners=False)
    mean, deviation = (torch.tensor(c, device=loader.device).view(1, 3, 1, 1) for c in colours)
    return ((pixels.clamp(0, 1) - mean) / deviation).to(loader.dtype)


def pad_square(rgb: np.ndarray, fill: int = 128) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 as a square one, with gray below it or to its right."""
    height, width = rgb.shape[:2]
    square = np.full((max(height, width),) * 2 + (3,), fill, np.uint8)
    square[:height, :width] = rgb
    return square
