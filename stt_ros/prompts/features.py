# SPDX-License-Identifier: Apache-2.0
"""Features of every patch of a picture, from DINOv2 or DINOv3."""

from __future__ import annotations

import numpy as np

from stt_ros.prompts import pixels
from stt_ros.prompts.hub import Loader

DINOV2 = 'facebook/dinov2-small'
CLASSES = {
    'dinov2': 'Dinov2Model',
    'dinov2_with_registers': 'Dinov2WithRegistersModel',
    'dinov3_vit': 'DINOv3ViTModel',
}


class PatchFeatures:
    """Turns a picture (H, W, 3) uint8 RGB into features (h, w, C) float32 that cover it evenly.

    ``side`` is about how many pixels the longer side is resized to: cost grows with its square.
    """

    def __init__(self, loader: Loader, model: str = DINOV2, side: int = 448) -> None:
        self.loader = loader
        self.model = model
        self.side = side

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """Return the features; raises ``PromptModelError`` when the model cannot be had."""
        network = self.loader.model(self.model, CLASSES)
        patch = network.config.patch_size
        scale = self.side / max(rgb.shape[:2])
        rows, columns = (max(1, round(side * scale / patch)) for side in rgb.shape[:2])
        with self.loader.running(self.model):
            batch = pixels.prepare(
                self.loader, rgb, (rows * patch, columns * patch), pixels.IMAGENET, 'bicubic'
            )
            tokens = network(pixel_values=batch).last_hidden_state[0]
        # Before the patches come a class token and perhaps registers.
        patches = tokens[-rows * columns :].float().cpu().numpy()
        return patches.reshape(rows, columns, -1)
