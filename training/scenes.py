# SPDX-License-Identifier: Apache-2.0
"""Scenes that teach what a thing is: many textures in one outline, clutter, occlusion.

What is asked is one connected piece of one thing (or, now and then, one of its parts), and rarely
one piece of a drawn ground. Things are drawn (:mod:`shapes`), cut out of photographs, or
silhouettes of real things filled with another surface; the ground is drawn or a photograph whose
own objects stay targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from stt_ros.masks import iou
from training import augment, real, shapes, textures, things
from training.bank import Bank
from training.compositing import blend_in, paste

ALIKE = 0.8  # IoU of masks that count as one
PARTS_ASKED = 0.3  # of the parts of things in real pictures; the others are learnt beside the whole


@dataclass
class Scene:
    """An RGB image and what is asked of it: masks (H, W) uint8, one thing each."""

    image: np.ndarray
    targets: list[np.ndarray]
    parts: list[np.ndarray] = field(default_factory=list)  # not asked, but a gaze may mean them


def real_scene(rng: np.random.Generator, bank: Bank, count: int) -> Scene:
    """A view of a training picture; up to ``count`` of its objects as targets."""
    picture = bank.pictures[rng.choice(len(bank.pictures), p=bank.weights)]
    image, matrix, size = real.view(rng, picture)
    targets = []
    for i in rng.permutation(len(picture.objects)):
        mask = picture.mask(i, matrix, size)
        if _askable(rng, mask):
            targets.append(mask)
        if len(targets) == count:
            break
    aside = [rng.random() > PARTS_ASKED and _is_part(mask, targets) for mask in targets]
    asked, parts = (
        [mask for mask, is_part in zip(targets, aside, strict=True) if is_part == which]
        for which in (False, True)
    )
    return _taken(rng, image, asked, parts)


def _is_part(mask: np.ndarray, others: list[np.ndarray]) -> bool:
    """Tell whether most of a mask lies in a larger one."""
    mask = mask[::3, ::3] > 127
    area = np.count_nonzero(mask)
    for other in others:
        larger = other[::3, ::3] > 127
        if np.count_nonzero(larger & mask) > 0.85 * area and np.count_nonzero(larger) > 1.3 * area:
            return True
    return False


def composed_scene(
    rng: np.random.Generator,
    bank: Bank,
    count: int,
    ground_real: float = 0.5,
    things_real: float = 0.7,
) -> Scene:
    """Things pasted over a ground, one over the other; ``count`` of what is seen as targets."""
    asked = False
    if bank.pictures and rng.random() < ground_real:
        picture = bank.pictures[rng.choice(len(bank.pictures), p=bank.weights)]
        image, matrix, size = real.view(rng, picture)
        below = [picture.mask(i, matrix, size) for i in rng.permutation(len(picture.objects))[:4]]
        number = rng.integers(1, 6)
        if rng.random() < 0.12:  # the ground out of focus
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 4))
    else:
        asked = rng.random() < 0.1
        (image, regions), below = ground(rng, () if asked else bank.photos), []
        number = rng.integers(3, 11)
    h, w = image.shape[:2]
    label, parts = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    pasted = things.collect(rng, bank, number, things_real, image)
    for k, (rgb, part_map, alpha) in enumerate(pasted, 1):
        paste(rng, image, label, parts, k, rgb, part_map, alpha)
    targets = _targets(rng, label, parts, below, count)
    if asked:
        seen = np.where(label > 0, 0, regions)
        seen = seen == rng.choice(seen[seen > 0]) if seen.any() else seen
        targets += [one_piece(rng, seen)] if np.count_nonzero(seen) > 900 else []
    return _taken(rng, image, targets)


def _taken(rng, image, targets, parts=()) -> Scene:
    """The scene as a camera takes it."""
    masks, asked = [*targets, *parts], len(targets)
    if rng.random() < 0.08:
        image, masks = augment.lens(rng, image, masks)
    targets, parts = (
        [mask for mask in some if cv2.countNonZero(mask) >= 60]
        for some in (masks[:asked], masks[asked:])
    )
    return Scene(augment.camera(rng, image), targets, parts)


def first_scene(rng: np.random.Generator, count: int) -> Scene:
    """A picture-book scene to begin with: few large things, each of one surface, on a plain ground.

    What belongs together here is what looks alike, which a fresh network learns in minutes; from
    photographs alone it takes hours.
    """
    w, h = real.FRAMES[rng.choice(3)]
    image = textures.smooth(rng, h, w)
    label = np.zeros((h, w), np.uint8)
    for k in range(1, rng.integers(2, 6)):
        parts = np.pad(shapes.draw(rng, int(70 * 6 ** rng.random())), 2)
        alpha = cv2.GaussianBlur((parts > 0).astype(np.uint8) * 255, (0, 0), 0.7)
        paste(rng, image, label, label.copy(), k, textures.smooth(rng, *parts.shape), parts, alpha)
    seen = [k for k, n in enumerate(np.bincount(label.ravel())) if k and n >= 400]
    chosen = rng.permutation(seen)[:count]
    return Scene(augment.light(rng, image), [one_piece(rng, label == k) for k in chosen])


def ground(rng, photos) -> tuple[np.ndarray, np.ndarray]:
    """A drawn ground, a surface, often a horizon or several patches; and its regions (H, W)."""
    w, h = real.FRAMES[rng.choice(len(real.FRAMES), p=real.FRAME_WEIGHTS)]
    photos = photos if rng.random() < 0.7 else ()
    regions = np.ones((h, w), np.uint8)
    image = textures.surface(rng, h, w, photos)
    if rng.random() < 0.5:
        horizon = int(h * rng.uniform(0.15, 0.7))
        image[:horizon] = textures.surface(rng, horizon, w, photos)
        regions[:horizon] = 2
    for k in range(3, 3 + rng.integers(0, 4)):
        side = int(rng.uniform(0.3, 1.2) * h)
        outline = cv2.resize(
            shapes.blob(rng, side) if rng.random() < 0.5 else shapes.polygon(rng, side),
            (side, side),
        )
        patch = textures.surface(rng, side, side, photos)
        window = blend_in(
            image, patch, outline * 255, rng.integers(-side // 2, w), rng.integers(-side // 2, h)
        )
        if window:
            regions[window[0]][outline[window[1]] > 0] = k
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 5))
    return image, regions


def _targets(rng, label, parts, below, count):
    seen = [(k, n) for k, n in enumerate(np.bincount(label.ravel(), minlength=2)) if k and n >= 60]
    covered = label > 0
    under = [np.where(covered, 0, m) for m in below]
    under = [m for m in under if _askable(rng, m)]
    weights = np.array([n for _, n in seen] + [cv2.countNonZero(m) for m in under]) ** 0.3
    if not len(weights):
        return []
    targets = []
    for i in rng.choice(
        len(weights), min(count, len(weights)), replace=False, p=weights / weights.sum()
    ):
        if i >= len(seen):
            targets.append(under[i - len(seen)])
            continue
        mask = label == seen[i][0]
        inside = np.unique(parts[mask])
        if len(inside) > 1 and rng.random() < 0.12:
            part = mask & (parts == rng.choice(inside))
            mask = part if part.sum() >= 60 else mask
        targets.append(one_piece(rng, mask))
    return targets


def one_piece(rng, mask: np.ndarray) -> np.ndarray:
    """One connected piece, the more likely the larger: (H, W) uint8 0/255."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    area = stats[1:, cv2.CC_STAT_AREA].astype(float) ** 1.5
    k = 1 + rng.choice(count - 1, p=area / area.sum())
    return (label == k).astype(np.uint8) * 255


def _askable(rng, mask: np.ndarray) -> bool:
    """Large enough to be seen, and not most of the picture; small ones are asked less often."""
    area = cv2.countNonZero(mask)
    if area < 90 or area > 0.8 * mask.size:
        return False
    return rng.random() < np.clip(area**0.5 / 30, 0.3, 1)


def gaze(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    """A point (x, y) on the thing: its most interior one, or anywhere, the interior preferred."""
    x, y, w, h = cv2.boundingRect(mask)
    inside = np.pad((mask[y : y + h, x : x + w] > 127).astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    if rng.random() < 0.35:
        at = np.array(np.unravel_index(np.argmax(depth), depth.shape)) + rng.normal(0, 1.5, 2)
    else:
        rows, cols = np.nonzero(depth >= max(depth.max() * rng.uniform(0, 0.9), 1e-6))
        k = rng.integers(len(rows))
        at = np.array([rows[k], cols[k]])
    return float(np.clip(at[1] + x - 1, 0, mask.shape[1] - 1)), float(
        np.clip(at[0] + y - 1, 0, mask.shape[0] - 1)
    )


def also_at(scene: Scene, mask: np.ndarray, at: tuple[float, float]) -> list[np.ndarray]:
    """Return the other targets that hold a gaze: wholes of a part, parts of a whole."""
    x, y = (int(v) for v in at)
    return [
        other
        for other in scene.targets + scene.parts
        if other is not mask and other[y, x] > 127 and iou(other > 127, mask > 127) < ALIKE
    ]


def aim(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    """A gaze as hands and eyes give it: one in twenty-five is some pixels beside its place."""
    at = np.array(gaze(rng, mask))
    if rng.random() < 0.04:
        at += rng.normal(0, 4, 2)
    return tuple(np.clip(at, 0, (mask.shape[1] - 1, mask.shape[0] - 1)).tolist())
