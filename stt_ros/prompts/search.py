# SPDX-License-Identifier: Apache-2.0
"""Open-vocabulary models: where in a picture is what the words say?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stt_ros.prompts import pixels
from stt_ros.prompts.base import PromptError
from stt_ros.prompts.hub import Loader

MODELS = {
    'owlv2': 'google/owlv2-base-patch16-ensemble',
    'clipseg': 'CIDAS/clipseg-rd64-refined',
    'grounding-dino': 'IDEA-Research/grounding-dino-tiny',
}
CLASSES = {
    'owlv2': 'Owlv2ForObjectDetection',
    'clipseg': 'CLIPSegForImageSegmentation',
    'grounding-dino': 'GroundingDinoForObjectDetection',
}
EXACT = ('grounding-dino',)  # its fusion of text and picture overflows in 16 bits
SHORT_SIDE, LONG_SIDE = 800, 1333  # pixels, of GroundingDINO's input


@dataclass(frozen=True, eq=False)
class Findings:
    """What a model finds for some words: boxes with their similarities, or a heat map."""

    boxes: np.ndarray  # (K, 4) float: x, y, width, height in pixels, in any order
    similarities: np.ndarray  # (K,) in [0, 1]
    threshold: float  # similarity from which the model's authors take it for a yes
    heat: np.ndarray | None = None  # (h, w) in [0, 1], covers the picture evenly


Search = Callable[[np.ndarray, str], Findings]


class WordSearch:
    """Looks for words in pictures (H, W, 3) uint8 RGB with a model of the hub.

    ``model`` is 'owlv2', 'clipseg', 'grounding-dino' or the name or folder of a checkpoint of one
    of these kinds.
    """

    def __init__(self, loader: Loader, model: str = 'owlv2') -> None:
        self.loader = loader
        self.model = MODELS.get(model, model)

    def __call__(self, rgb: np.ndarray, words: str) -> Findings:
        """Return what is found; raises ``PromptError`` for words too long for the model.

        Raises ``PromptModelError`` when the model cannot be had.
        """
        network = self.loader.model(self.model, CLASSES, EXACT)
        kind = network.config.model_type
        with self.loader.running(self.model):
            return _KINDS[kind](self, network, rgb, words)

    def _owlv2(self, network, rgb: np.ndarray, words: str) -> Findings:
        side = network.config.vision_config.image_size
        square = pixels.pad_square(rgb)
        out = network(
            pixel_values=pixels.prepare(self.loader, square, (side, side), pixels.CLIP),
            **self._tokens(words, network.config.text_config.max_position_embeddings),
        )
        boxes = _corner_boxes(_numpy(out.pred_boxes[0]), square.shape[:2])
        return Findings(boxes, _numpy(out.logits[0, :, 0].sigmoid()), 0.1)

    def _clipseg(self, network, rgb: np.ndarray, words: str) -> Findings:
        side = network.config.vision_config.image_size
        out = network(
            pixel_values=pixels.prepare(self.loader, rgb, (side, side), pixels.IMAGENET),
            **self._tokens(words, network.config.text_config.max_position_embeddings),
        )
        heat = _numpy(out.logits.sigmoid()).reshape(side, side)
        return Findings(np.empty((0, 4)), np.empty(0), 0.4, heat)

    def _grounding_dino(self, network, rgb: np.ndarray, words: str) -> Findings:
        size = np.array(rgb.shape[:2])
        size = np.round(size * min(SHORT_SIDE / size.min(), LONG_SIDE / size.max())).astype(int)
        batch = pixels.prepare(self.loader, rgb, tuple(size.tolist()), pixels.IMAGENET)
        # It was trained with phrases in lower case that end with a dot.
        phrase = words.lower().rstrip('. ') + '.'
        tokens = self._tokens(phrase, network.config.max_text_len)
        out = network(pixel_values=batch.float(), **tokens)
        boxes = _corner_boxes(_numpy(out.pred_boxes[0]), rgb.shape[:2])
        return Findings(boxes, _numpy(out.logits[0].sigmoid()).max(axis=1), 0.25)

    def _tokens(self, words: str, limit: int) -> dict:
        tokens = self.loader.tokenizer(self.model)(words, return_tensors='np')
        count = tokens['input_ids'].shape[1]
        if count > limit:
            raise PromptError(
                f'the text {words[:40]!r} ... is {count} tokens long; {self.model} takes {limit}: '
                'name the thing in fewer words'
            )
        return {name: self.loader.tensor(values) for name, values in tokens.items()}


_KINDS = {
    'owlv2': WordSearch._owlv2,
    'clipseg': WordSearch._clipseg,
    'grounding-dino': WordSearch._grounding_dino,
}


def _corner_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return centre boxes (K, 4) in parts of a picture (H, W) as (x, y, width, height), pixels."""
    scale = np.array([size[1], size[0]] * 2, float)
    centres, extents = boxes[:, :2], boxes[:, 2:]
    return np.hstack([centres - extents / 2, extents]) * scale


def _numpy(tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
