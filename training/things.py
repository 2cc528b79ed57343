# SPDX-License-Identifier: Apache-2.0
"""Things to paste: cut out of photographs, drawn, or real silhouettes with another surface.

A thing is (rgb (h, w, 3), part map (h, w), alpha (h, w)), all uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

from training import shapes, textures
from training.bank import Bank
from training.compositing import blend_in


def collect(rng, bank: Bank, number: int, things_real: float, image: np.ndarray) -> list:
    """A list of (rgb (h, w, 3), part map (h, w), alpha (h, w)); sometimes several alike."""
    things = []
    biggest = min(image.shape[:2]) * 0.95
    while len(things) < number:
        size = 28 * (biggest / 28) ** (rng.random() ** 0.75)
        if (bank.cutouts or bank.others) and rng.random() < things_real:
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


def _affine_for(rng, h, w, size, most=2.2):
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
    rgb, mask = bank.thing(rng)
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
    if (bank.cutouts or bank.others) and rng.random() < 0.35:
        mask = bank.thing(rng)[1]
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
        blend_in(
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
