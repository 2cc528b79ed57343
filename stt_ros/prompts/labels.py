# SPDX-License-Identifier: Apache-2.0
"""Names for masks: SigLIP compares each with a vocabulary."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stt_ros.engines.cache import root
from stt_ros.frame import Frame
from stt_ros.prompts import pixels
from stt_ros.prompts.base import Answer, PromptError, as_frame
from stt_ros.prompts.hub import Loader
from stt_ros.prompts.region import Region, overlap
from stt_ros.prompts.vocabulary import COCO

SIGLIP = 'google/siglip-base-patch16-224'
OTHERS = 'others'
PHRASE = 'a photo of a {}.'
BATCH = 16
MAX_NAMES = 10000
MARGIN = 0.15  # of the box's longer side, on each side: some of the surroundings tell what it is
FADE = 0.5  # how much of the surroundings becomes gray

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Label:
    """A name from the vocabulary, or 'others', and its probability in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Table:
    """What the words of a vocabulary became."""

    embeddings: np.ndarray  # (K, C) float32, of length 1
    scale: float  # of the similarities, and what is added to them: as trained
    bias: float


class Labeller:
    """Gives masks names from ``vocabulary``, with a SigLIP model taken from ``loader``.

    Names are exclusive, and "none of them" is one too: a probability is the softmax over the
    model's logits and a logit of 0, so with one name it is SigLIP's own sigmoid. Below
    ``threshold`` the name is 'others'.

    The words become a table once, kept in ``cache`` (by default ~/.cache/stt_ros/labels); the
    model's text half is then freed, or not loaded at all when the table is there. Raises
    ``PromptError`` for an empty or repeating vocabulary or a threshold outside [0, 1].
    """

    def __init__(
        self,
        loader: Loader,
        vocabulary: Sequence[str] = COCO,
        *,
        model: str = SIGLIP,
        threshold: float = 0.1,
        cache: str | Path | None = None,
    ) -> None:
        self.vocabulary = _check_vocabulary(vocabulary)
        if not 0 <= threshold <= 1:
            raise PromptError(f'label threshold is {threshold}; expected a number in [0, 1]')
        self.loader = loader
        self.model = model
        self.threshold = threshold
        self._cache = Path(cache) if cache else root() / 'labels'

    def __call__(self, image: np.ndarray | Frame, masks: Sequence[Region]) -> list[Label]:
        """Return a label for each mask of an image (H, W, 3) uint8 RGB; 'others' if it is empty.

        Raises ``PromptModelError`` when the model cannot be had.
        """
        rgb = as_frame(image).rgb()
        seen = [k for k, mask in enumerate(masks) if mask.area]
        labels = [Label(OTHERS, 0.0)] * len(masks)
        for start in range(0, len(seen), BATCH):
            batch = seen[start : start + BATCH]
            rows = self.probabilities(rgb, [masks[k] for k in batch])
            for k, row in zip(batch, rows, strict=True):
                labels[k] = self._choose(row)
        return labels

    def named(self, image: np.ndarray | Frame, answers: Sequence[Answer]) -> list[Answer]:
        """Return the answers with ``label`` and ``label_probability``; a label they have stays."""
        unnamed = [answer for answer in answers if not answer.label]
        labels = iter(self(image, unnamed))
        return [answer if answer.label else _with(answer, next(labels)) for answer in answers]

    def probabilities(self, rgb: np.ndarray, masks: Sequence[Region]) -> np.ndarray:
        """Return how probable each of K names is for each of M masks, not empty: (M, K)."""
        import torch

        table, network = self._ready()
        side = network.config.image_size
        with self.loader.running(self.model):
            crops = [
                pixels.prepare(self.loader, crop(rgb, mask), (side, side), pixels.HALF, 'bicubic')
                for mask in masks
            ]
            seen = network(pixel_values=torch.cat(crops)).pooler_output.float().cpu().numpy()
        seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-9)
        logits = seen @ table.embeddings.T * table.scale + table.bias
        top = np.maximum(logits.max(axis=1, keepdims=True), 0)
        weights = np.exp(logits - top)
        return weights / (weights.sum(axis=1, keepdims=True) + np.exp(-top))

    def _choose(self, row: np.ndarray) -> Label:
        best = int(row.argmax())
        if row[best] < self.threshold:
            return Label(OTHERS, float(max(0.0, 1 - row.sum())))
        return Label(self.vocabulary[best], float(row[best]))

    def _ready(self):
        """Return the table and the image half of the model, both made or loaded once."""
        key = ('labels', self.model, self.vocabulary)
        table = self.loader.once(key, self._table)
        classes = {'siglip': 'SiglipVisionModel'}
        return table, self.loader.once(
            ('siglip vision', self.model),
            lambda: self.loader.place(self.model, self.loader.load(self.model, classes)),
        )

    def _table(self) -> Table:
        path = self._cache / f'{self._fingerprint()}.npz'
        try:
            with np.load(path, allow_pickle=False) as stored:
                table = Table(stored['embeddings'], float(stored['scale']), float(stored['bias']))
            if len(table.embeddings) == len(self.vocabulary):
                return table
        except FileNotFoundError:
            pass
        except Exception as error:  # cut off or damaged: any of zip's and NumPy's errors
            _log.warning('%s cannot be read (%s), it is made again', path, error)
        table = self._embed()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f'.{os.getpid()}.npz')
            np.savez(unfinished, embeddings=table.embeddings, scale=table.scale, bias=table.bias)
            unfinished.replace(path)
        except OSError as error:
            _log.warning('the table of names cannot be kept in %s: %s', path.parent, error)
        return table

    def _embed(self) -> Table:
        """Load the whole model, embed the vocabulary, and free the model again."""
        whole = self.loader.load(self.model, {'siglip': 'SiglipModel'}).eval()
        tokenizer = self.loader.tokenizer(self.model)
        length = whole.config.text_config.max_position_embeddings
        rows = []
        text = whole.text_model.to(self.loader.device)
        with self.loader.running(self.model):
            for start in range(0, len(self.vocabulary), 64):
                phrases = [PHRASE.format(name) for name in self.vocabulary[start : start + 64]]
                # SigLIP was trained with padding and never saw a mask of it.
                tokens = tokenizer(
                    phrases, padding='max_length', truncation=True, max_length=length,
                    return_tensors='np',
                )  # fmt: skip
                ids = self.loader.tensor(tokens['input_ids'])
                rows.append(text(input_ids=ids).pooler_output.float().cpu().numpy())
        rows = np.concatenate(rows)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        scale, bias = whole.logit_scale.detach().exp(), whole.logit_bias.detach()
        return Table(rows, float(scale), float(bias))

    def _fingerprint(self) -> str:
        """Name the table after all that it depends on: weights, phrases."""
        folder = self.loader.folder(self.model)
        weights = sorted(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.iterdir()
            if path.suffix in ('.safetensors', '.bin')
        )
        parts = [str(folder.resolve()), weights, PHRASE, self.vocabulary]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def crop(rgb: np.ndarray, mask: Region) -> np.ndarray:
    """Return the square (S, S, 3) uint8 around a mask that is not empty, its surroundings faded.

    What the square has beyond the picture is gray.
    """
    x, y, width, height = mask.box
    side = max(width, height)
    side += 2 * max(1, round(MARGIN * side))
    left, top = x + (width - side) // 2, y + (height - side) // 2
    seen = overlap((left, top, side, side), (0, 0, rgb.shape[1], rgb.shape[0]))
    square = np.full((side, side, 3), 128, np.uint8)
    rows = slice(seen[1] - top, seen[1] - top + seen[3])
    columns = slice(seen[0] - left, seen[0] - left + seen[2])
    part = rgb[seen[1] : seen[1] + seen[3], seen[0] : seen[0] + seen[2]]
    faded = (part * (1 - FADE) + 128 * FADE).astype(np.uint8)
    square[rows, columns] = np.where(mask.window(seen)[..., None], part, faded)
    return square


def _with(answer: Answer, label: Label) -> Answer:
    return replace(answer, label=label.name, label_probability=label.probability)


def _check_vocabulary(vocabulary: Sequence[str]) -> tuple[str, ...]:
    names = [vocabulary] if isinstance(vocabulary, str) else list(vocabulary)
    if not 1 <= len(names) <= MAX_NAMES:
        raise PromptError(f'the vocabulary has {len(names)} names; allowed: 1 to {MAX_NAMES}')
    for name in names:
        if not isinstance(name, str) or not 0 < len(name.strip()) <= 100:
            raise PromptError(
                f'the vocabulary has the name {str(name)[:120]!r}; expected 1 to 100 characters'
            )
    names = [name.strip() for name in names]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise PromptError(f'the vocabulary has {repeated[0]!r} more than once')
    return tuple(names)
