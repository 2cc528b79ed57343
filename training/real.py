# SPDX-License-Identifier: Apache-2.0
"""Real pictures with object masks: DAVIS-style folders, COCO annotations, polygon packs.

A :class:`Picture` keeps its objects as polygons or masks and hands out augmented views of itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from stt_ros.prompts import rle


class PackedMask:
    """A mask in an eighth of the memory, as a picture has dozens."""

    def __init__(self, mask: np.ndarray) -> None:
        """Take a mask (H, W) uint8: what is above 127."""
        self.shape, self.box = mask.shape, cv2.boundingRect(mask)
        self._bits = np.packbits(mask > 127)

    def unpacked(self) -> np.ndarray:
        """Return it as (H, W) uint8, 0 or 255."""
        count = self.shape[0] * self.shape[1]
        return np.unpackbits(self._bits, count=count).reshape(self.shape) * np.uint8(255)


@dataclass
class Picture:
    """An RGB image (H, W, 3) and its objects: polygons [(n, 2) px, ...] or masks (H, W) uint8.

    The masks are packed.
    """

    image: np.ndarray
    objects: list = field(default_factory=list)
    name: str = ''

    def __post_init__(self) -> None:
        self.objects = [
            PackedMask(thing) if isinstance(thing, np.ndarray) else thing for thing in self.objects
        ]

    def mask(
        self, index: int, matrix: np.ndarray | None = None, size: tuple | None = None
    ) -> np.ndarray:
        """Object ``index`` as (h, w) uint8, under an affine (2, 3) into ``size`` (w, h)."""
        thing = self.objects[index]
        h, w = self.image.shape[:2]
        matrix = np.eye(2, 3) if matrix is None else matrix
        size = size or (w, h)
        if isinstance(thing, PackedMask):
            return cv2.warpAffine(
                thing.unpacked(),
                matrix,
                size,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        canvas = np.zeros((size[1], size[0]), np.uint8)
        rings = [np.rint((p @ matrix[:, :2].T + matrix[:, 2]) * 16).astype(np.int32) for p in thing]
        for ring in rings:
            cv2.fillPoly(canvas, [ring], 255, cv2.LINE_AA, 4)
        return canvas


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as RGB; raises FileNotFoundError naming it when it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f'{path} is not a readable picture')
    return np.ascontiguousarray(image[..., ::-1])


def davis(folder: Path, every: int = 1) -> list[Picture]:
    """A sequence: ``frames/*.jpg`` and ``masks/*.png`` (255 = the object), same stems."""
    pictures = []
    for frame in sorted((folder / 'frames').glob('*.jpg'))[::every]:
        mask = cv2.imread(str(folder / 'masks' / f'{frame.stem}.png'), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise FileNotFoundError(f'no mask for {frame}')
        mask = np.where(mask > 127, 255, 0).astype(np.uint8)
        pictures.append(Picture(read_rgb(frame), [mask], f'{folder.name}/{frame.stem}'))
    return pictures


def pack(folder: Path) -> list[Picture]:
    """A pack: ``images/`` and ``objects.json`` {file: [{category, polygon in [0, 1]}, ...]}."""
    pictures = []
    for name, things in sorted(json.loads((folder / 'objects.json').read_text()).items()):
        image = read_rgb(folder / 'images' / name)
        h, w = image.shape[:2]
        polygons = [[np.asarray(t['polygon'], np.float64).reshape(-1, 2) * (w, h)] for t in things]
        pictures.append(Picture(image, polygons, name))
    return pictures


def coco(images: Path, annotations: Path, limit: int | None = None) -> list[Picture]:
    """COCO-format annotations (COCO, LVIS, ...): polygons or run lengths; no crowds."""
    table = json.loads(annotations.read_text())
    by_image: dict = {}
    for a in table['annotations']:
        if not a.get('iscrowd', 0):
            by_image.setdefault(a['image_id'], []).append(a['segmentation'])
    pictures = []
    for entry in table['images'][:limit]:
        things = [
            _segmentation(s, entry['height'], entry['width']) for s in by_image.get(entry['id'], ())
        ]
        if things:
            pictures.append(
                Picture(read_rgb(images / entry['file_name']), things, entry['file_name'])
            )
    return pictures


def _segmentation(segmentation, height: int, width: int):
    if isinstance(segmentation, list):
        return [np.asarray(p, np.float64).reshape(-1, 2) for p in segmentation]
    mask = rle.decode({'size': [height, width], 'counts': segmentation['counts']})
    return np.ascontiguousarray(mask) * np.uint8(255)


def cutouts(folder: Path, largest: int = 500) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of one thing each with transparency (PNG), below a folder: (rgb, mask 0..255).

    Drawn ones (below a folder ``cartoon``) and mirrored copies are left out. Colours go on
    outside the thing, so that nothing of the transparent ground is mixed in at its edge.
    """
    found = []
    for path in sorted(folder.rglob('*.png')):
        if 'cartoon' in path.parts or re.search('mirror|flip', path.stem):
            continue
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
            continue
        scale = min(1.0, largest / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        mask = np.ascontiguousarray(image[..., 3])
        if cv2.countNonZero(cv2.inRange(mask, 200, 255)) < 900:
            continue
        found.append((_filled(np.ascontiguousarray(image[..., 2::-1]), mask), mask))
    return found


def _filled(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give each transparent pixel the colour of the nearest opaque one."""
    _, nearest = cv2.distanceTransformWithLabels(
        (mask < 240).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    opaque = mask >= 240
    table = np.zeros((nearest.max() + 1, 3), np.uint8)
    table[nearest[opaque]] = rgb[opaque]
    return table[nearest]


FRAMES = ((640, 480), (854, 480), (480, 640), (481, 321), (640, 360), (424, 240), (960, 540))
FRAME_WEIGHTS = (0.3, 0.27, 0.1, 0.08, 0.1, 0.05, 0.1)


def view(
    rng: np.random.Generator, picture: Picture
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """A random view: image (h, w, 3) uint8, the affine (2, 3) that made it, and its size (w, h)."""
    h, w = picture.image.shape[:2]
    frame = FRAMES[rng.choice(len(FRAMES), p=FRAME_WEIGHTS)]
    scale = np.exp(
        rng.normal(0, 0.1) if rng.random() < 0.4 else rng.uniform(np.log(0.45), np.log(2.2))
    )
    scale = float(np.clip(scale, 360 / max(h, w), 2.5))
    stretch = np.exp(rng.normal(0, 0.1)) if rng.random() < 0.5 else 1.0
    sx, sy = scale * stretch, scale / stretch
    size = (min(frame[0], int(w * sx)), min(frame[1], int(h * sy)))
    angle = rng.normal(0, 0.2) if rng.random() < 0.35 else 0.0
    c, s = np.cos(angle), np.sin(angle)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    linear = np.array([[c, -s], [s, c]]) @ np.diag([sx * flip, sy])
    if rng.random() < 0.2:
        linear = linear @ np.array([[1, rng.normal(0, 0.15)], [0, 1]])
    # Where the frame lies: around a random object (so that something is in it), within the picture.
    focus = _focus(rng, picture)
    half = np.array([size[0] / sx, size[1] / sy]) / 2
    centre = focus + rng.uniform(-0.8, 0.8, 2) * half
    centre = np.clip(
        centre,
        np.minimum(half, (w / 2, h / 2)),
        np.maximum(np.array([w, h]) - half, (w / 2, h / 2)),
    )
    matrix = np.concatenate([linear, (np.array(size) / 2 - linear @ centre)[:, None]], 1)
    flags = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
    source, small = picture.image, matrix
    if scale < 0.7:  # warpAffine does not average: halve first
        source, small = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=flags), matrix.copy()
        small[:, :2] *= 2
    image = cv2.warpAffine(
        source, small, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return image, matrix, size


def _focus(rng, picture: Picture) -> np.ndarray:
    h, w = picture.image.shape[:2]
    if not picture.objects or rng.random() < 0.1:
        return rng.uniform(0, 1, 2) * (w, h)
    thing = picture.objects[rng.integers(len(picture.objects))]
    if isinstance(thing, PackedMask):
        x, y, bw, bh = thing.box
        return np.array([x + bw / 2, y + bh / 2])
    points = np.concatenate(thing)
    return (points.min(0) + points.max(0)) / 2
