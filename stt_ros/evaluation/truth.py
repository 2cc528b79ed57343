# SPDX-License-Identifier: Apache-2.0
"""Pictures and the true masks of what is in them, from folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stt_ros import pictures

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
MOST_LABELS = 64  # more gray levels than this are a soft border, not labels
SMALLEST = 100  # pixels; smaller things are not asked for


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing in one picture."""

    group: str  # the folder's name
    name: str  # the picture's, with the thing's label if there are several
    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) bool


def samples(folders: Sequence[Path], every: int = 1) -> Iterator[Sample]:
    """Read each ``every``-th picture of the folders with the things in its mask.

    A folder holds ``frames`` (or ``images``) and ``masks`` with files of the same stems, or other
    such folders. In a mask 0 is nothing and each other value or colour one thing. Raises
    ``pictures.PictureError`` for a folder without pictures, a mask that is missing or of another
    size.
    """
    for folder in folders:
        found = sorted(path.parent for path in Path(folder).rglob('masks') if path.is_dir())
        if not found:
            raise pictures.PictureError(
                f'{folder} holds no pictures with masks; expected folders frames and masks in it'
            )
        for place in found:
            for path in _frames(place)[::every]:
                yield from _read(place, path)


def _frames(folder: Path) -> list[Path]:
    for name in ('frames', 'images'):
        if (folder / name).is_dir():
            paths = sorted((folder / name).iterdir())
            return [path for path in paths if path.suffix.lower() in PICTURES]
    raise pictures.PictureError(f'{folder} holds masks, but neither frames nor images')


def _labels(pixels: np.ndarray) -> np.ndarray:
    """Return a number for every gray level or colour (H, W, C): (H, W), black is 0."""
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    return pixels.astype(np.int64) @ (1 << 16 * np.arange(pixels.shape[2]))


def _read(folder: Path, path: Path) -> Iterator[Sample]:
    image = pictures.read(path)
    where = folder / 'masks' / f'{path.stem}.png'
    pixels = cv2.imread(str(where), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise pictures.PictureError(f'{path} has no mask: cannot read {where}')
    pixels = np.atleast_3d(pixels)[..., :3]  # without transparency
    labels = _labels(pixels)
    if labels.shape != image.shape[:2]:
        raise pictures.PictureError(
            f'{where} is {labels.shape[1]} x {labels.shape[0]} pixels, its picture '
            f'{image.shape[1]} x {image.shape[0]}: they must be of one size'
        )
    values = np.unique(labels[labels > 0])
    if len(values) > MOST_LABELS:
        labels, values = (pixels.max(axis=2) > 127).astype(np.uint8), [1]
    for value in values:
        mask = labels == value
        if np.count_nonzero(mask) >= SMALLEST:
            name = path.stem if len(values) == 1 else f'{path.stem}:{value}'
            yield Sample(folder.name, name, image, mask)
