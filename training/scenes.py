# SPDX-License-Identifier: Apache-2.0
"""Scenes that teach what a thing is: drawn ground, things of many textures in one outline, occlusion.

What is asked is always one connected piece of one thing (or, now and then, one of its parts), never the
ground. Things are drawn (:mod:`shapes`), cut out of training photographs, or silhouettes of real things
filled with another surface; the ground is drawn or a photograph whose own objects stay targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from training import augment, real, shapes, textures


@dataclass
class Bank:
    """The training pictures and what was cut out of them: (rgb (h, w, 3), mask (h, w) 0..255)."""

    pictures: list[real.Picture] = field(default_factory=list)
    weights: np.ndarray | None = None
    cutouts: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def photos(self) -> list[np.ndarray]:
        return [p.image for p in self.pictures]


@dataclass
class Scene:
    """An RGB image and what may be asked of it: masks (H, W) uint8 0..255, one connected thing each."""

    image: np.ndarray
    targets: list[np.ndarray]


def make_bank(groups: list[tuple[list[real.Picture], float]], smallest: int = 30) -> Bank:
    """Collect pictures in (group, share) pairs; cut out every object larger than ``smallest`` squared px."""
    bank = Bank()
    weights = []
    for pictures, share in groups:
        bank.pictures += pictures
        weights += [share / len(pictures)] * len(pictures)
        step = max(1, len(pictures) // 90)
        for picture in pictures[::step]:
            bank.cutouts += _cut_out(picture, smallest)
    bank.weights = np.array(weights) / np.sum(weights)
    return bank


def _cut_out(picture: real.Picture, smallest: int) -> list:
    found = []
    for i in range(len(picture.objects)):
        mask = picture.mask(i)
        if cv2.countNonZero(mask) < smallest**2:
            continue
        if not isinstance(picture.objects[i], np.ndarray):
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
        x, y, w, h = cv2.boundingRect(mask)
        found.append(
            (picture.image[y : y + h, x : x + w].copy(), mask[y : y + h, x : x + w].copy())
        )
    return found


def real_scene(rng: np.random.Generator, bank: Bank, count: int) -> Scene:
    """A view of a training picture; up to ``count`` of its objects as targets."""
    picture = bank.pictures[rng.choice(len(bank.pictures), p=bank.weights)]
    image, matrix, size = real.view(rng, picture)
    targets = []
    for i in rng.permutation(len(picture.objects))[: count * 3]:
        mask = picture.mask(i, matrix, size)
        if _askable(rng, mask):
            targets.append(mask)
        if len(targets) == count:
            break
    return Scene(augment.camera(rng, image), targets)


def composed_scene(
    rng: np.random.Generator,
    bank: Bank,
    count: int,
    ground_real: float = 0.5,
    things_real: float = 0.55,
) -> Scene:
    """Things pasted over a ground, in depth order, with shadows; ``count`` of what is seen as targets."""
    if bank.pictures and rng.random() < ground_real:
        picture = bank.pictures[rng.choice(len(bank.pictures), p=bank.weights)]
        image, matrix, size = real.view(rng, picture)
        below = [picture.mask(i, matrix, size) for i in rng.permutation(len(picture.objects))[:4]]
        number = rng.integers(1, 6)
    else:
        image, below = ground(rng, bank), []
        number = rng.integers(3, 11)
    h, w = image.shape[:2]
    label, parts = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    things = _things(rng, bank, number, things_real, image)
    for k, (rgb, part_map, alpha) in enumerate(things, 1):
        _paste(rng, image, label, parts, k, rgb, part_map, alpha)
    targets = _targets(rng, label, parts, below, count)
    return Scene(augment.camera(rng, image), targets)


def ground(rng, bank: Bank) -> np.ndarray:
    """A drawn ground: a surface, often a horizon or several patches; none of it is ever a target."""
    w, h = real.FRAMES[rng.choice(len(real.FRAMES), p=real.FRAME_WEIGHTS)]
    photos = bank.photos if rng.random() < 0.7 else ()
    image = textures.surface(rng, h, w, photos)
    if rng.random() < 0.5:
        horizon = int(h * rng.uniform(0.15, 0.7))
        image[:horizon] = textures.surface(rng, horizon, w, photos)
    for _ in range(rng.integers(0, 4)):
        side = int(rng.uniform(0.3, 1.2) * h)
        outline = cv2.resize(
            shapes.blob(rng, side) if rng.random() < 0.5 else shapes.polygon(rng, side),
            (side, side),
        )
        patch = textures.surface(rng, side, side, photos)
        _blend_in(
            image, patch, outline * 255, rng.integers(-side // 2, w), rng.integers(-side // 2, h)
        )
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 5))
    return image


def _things(rng, bank: Bank, number: int, things_real: float, image: np.ndarray) -> list:
    """A list of (rgb (h, w, 3), part map (h, w), alpha (h, w)); sometimes several alike."""
    things = []
    biggest = min(image.shape[:2]) * 0.95
    while len(things) < number:
        size = 28 * (biggest / 28) ** (rng.random() ** 0.75)
        if bank.cutouts and rng.random() < things_real:
            thing = _real_thing(rng, bank, size)
        else:
            thing = _drawn_thing(rng, bank, size, image)
        alike = rng.integers(2, 5) if rng.random() < 0.12 else 1
        for _ in range(alike):
            things.append(_turned(rng, *thing) if alike > 1 else thing)
    return things[:20]


def _turned(rng, rgb, parts, alpha):
    if rng.random() < 0.5:
        rgb, parts, alpha = (np.ascontiguousarray(a[:, ::-1]) for a in (rgb, parts, alpha))
    scale = np.exp(rng.normal(0, 0.12))
    size = (max(8, int(rgb.shape[1] * scale)), max(8, int(rgb.shape[0] * scale)))
    return (
        cv2.resize(rgb, size),
        cv2.resize(parts, size, interpolation=cv2.INTER_NEAREST),
        cv2.resize(alpha, size),
    )


def _affine_for(rng, h, w, size, most=3.0):
    """A random turn, stretch and mirror that brings the larger side to about ``size`` px."""
    scale = min(size / max(h, w), most)
    angle = rng.normal(0, 0.2) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)
    stretch = np.exp(rng.normal(0, 0.15))
    flip = -1 if rng.random() < 0.5 else 1
    c, s = np.cos(angle), np.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.diag([scale * stretch * flip, scale / stretch])
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]]) @ linear.T
    low, high = corners.min(0) - 2, corners.max(0) + 2
    size = tuple(int(v) for v in np.maximum(high - low, 4))
    return np.concatenate([linear, -low[:, None]], 1), size


def _real_thing(rng, bank: Bank, size: float):
    rgb, mask = bank.cutouts[rng.integers(len(bank.cutouts))]
    matrix, out = _affine_for(rng, *mask.shape, size)
    if (scale := size / max(mask.shape)) < 0.6:
        f = max(scale * 1.3, 0.1)
        rgb, mask = (
            cv2.resize(a, None, fx=f, fy=f, interpolation=cv2.INTER_AREA) for a in (rgb, mask)
        )
        matrix[:, :2] /= f
    rgb = cv2.warpAffine(rgb, matrix, out, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(mask, matrix, out, flags=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        rgb = textures.recolour(rng, rgb)
    return rgb, (mask > 127).astype(np.uint8), mask


def _drawn_thing(rng, bank: Bank, size: float, image: np.ndarray):
    if bank.cutouts and rng.random() < 0.35:
        mask = bank.cutouts[rng.integers(len(bank.cutouts))][1]
        matrix, out = _affine_for(rng, *mask.shape, size)
        parts = (cv2.warpAffine(mask, matrix, out, flags=cv2.INTER_LINEAR) > 127).astype(np.uint8)
    else:
        parts = shapes.draw(rng, int(size))
    parts = np.pad(parts, 2)
    h, w = parts.shape
    photos = bank.photos
    if rng.random() < 0.1:  # camouflage: the ground's own surface, in another light
        rgb = textures.recolour(rng, textures.photo(rng, h, w, [image]))
    else:
        rgb = textures.surface(rng, h, w, photos)
    for part in range(1, int(parts.max()) + 1):
        if rng.random() < 0.4:
            rgb[parts == part] = textures.surface(rng, h, w, photos)[parts == part]
    rgb = _decorate(rng, rgb, parts, photos)
    alpha = (parts > 0).astype(np.uint8) * 255
    if rng.random() < 0.85:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 1.1))
    return rgb, parts, alpha


def _decorate(rng, rgb, parts, photos):
    """Patches, lettering, edges between parts, shading: nothing of it ends the thing."""
    h, w = parts.shape
    for _ in range(rng.integers(0, 4) if rng.random() < 0.5 else 0):
        side = max(6, int(rng.uniform(0.15, 0.6) * max(h, w)))
        _blend_in(
            rgb,
            textures.surface(rng, side, side, photos),
            cv2.resize(shapes.blob(rng, max(side, 16)), (side, side)) * 255,
            rng.integers(-side // 2, w),
            rng.integers(-side // 2, h),
        )
    if rng.random() < 0.1:
        word = ''.join(rng.choice(list('ABCDEFGHKLMNRSTX0123456789'), rng.integers(2, 7)))
        cv2.putText(
            rgb,
            word,
            (int(w * 0.1), int(h * rng.uniform(0.3, 0.8))),
            int(rng.integers(0, 5)),
            max(0.3, w / 150),
            tuple(map(int, textures.colour(rng))),
            max(1, w // 70),
        )
    shade = np.ones((h, w), np.float32)
    if rng.random() < 0.4:
        inner = cv2.distanceTransform((parts > 0).astype(np.uint8), cv2.DIST_L2, 3)
        shade *= rng.uniform(0.3, 0.8) + (1 - rng.uniform(0.3, 0.8)) * np.sqrt(
            np.minimum(inner / max(inner.max(), 1) * 1.5, 1)
        )
    if rng.random() < 0.5:
        angle, y, x = rng.uniform(0, 6.3), *np.ogrid[-0.5 : 0.5 : h * 1j, -0.5 : 0.5 : w * 1j]
        shade = shade * (1 + rng.uniform(0, 0.9) * (np.cos(angle) * x + np.sin(angle) * y)).astype(
            np.float32
        )
    if rng.random() < 0.4 and parts.max() > 1:
        edge = cv2.morphologyEx(parts, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        shade[edge] *= rng.uniform(0.4, 0.9)
    return (rgb * shade[..., None]).clip(0, 255).astype(np.uint8)


def _window(shape, h, w, x, y):
    """Overlap of an (h, w) patch at (x, y) with an image: slices into both."""
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, shape[1]), min(y + h, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _blend_in(image, patch, alpha, x, y):
    window = _window(image.shape, *alpha.shape, int(x), int(y))
    if window is None:
        return None
    here, there = window
    a = alpha[there].astype(np.float32)[..., None] / 255
    image[here] = (image[here] * (1 - a) + patch[there] * a + 0.5).astype(np.uint8)
    return window


def _paste(rng, image, label, parts, k, rgb, part_map, alpha):
    h, w = alpha.shape
    x = int(rng.uniform(-0.3 * w, image.shape[1] - 0.7 * w))
    y = int(rng.uniform(-0.3 * h, image.shape[0] - 0.7 * h))
    if rng.random() < 0.3:
        _shadow(rng, image, alpha, x, y)
    window = _blend_in(image, rgb, alpha, x, y)
    if window:
        here, there = window
        inside = alpha[there] > 127
        label[here][inside] = k
        parts[here][inside] = part_map[there][inside]


def _shadow(rng, image, alpha, x, y):
    h, w = alpha.shape
    soft = cv2.GaussianBlur(alpha, (0, 0), max(1.0, 0.04 * h * rng.uniform(0.3, 2)))
    if rng.random() < 0.5:  # lying on the ground
        soft = (
            np.concatenate([np.zeros((h - h // 4, w), np.uint8), cv2.resize(soft, (w, h // 4))])
            if h >= 8
            else soft
        )
    soft = (soft * rng.uniform(0.3, 0.7)).astype(np.uint8)
    dx, dy = int(rng.normal(0, 0.15) * w), int(rng.uniform(0, 0.15) * h)
    _blend_in(image, np.zeros((h, w, 3), np.uint8), soft, x + dx, y + dy)


def _targets(rng, label, parts, below, count):
    seen = [(k, n) for k, n in enumerate(np.bincount(label.ravel(), minlength=2)) if k and n >= 60]
    covered = label > 0
    under = [np.where(covered, 0, m) for m in below]
    under = [m for m in under if _askable(rng, m)]
    weights = np.array([n**0.5 for _, n in seen] + [(m > 127).sum() ** 0.5 for m in under])
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
