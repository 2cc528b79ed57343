# SPDX-License-Identifier: Apache-2.0
"""Surfaces: procedural ones and pieces of the training photographs, (h, w, 3) uint8 RGB."""

import cv2
import numpy as np


def colour(rng) -> np.ndarray:
    """A plausible surface colour: mostly muted, sometimes saturated."""
    base = rng.uniform(15, 240)
    return np.clip(base + rng.normal(0, rng.choice([8, 25, 60]), 3), 0, 255)


def _smooth_field(rng, h, w, cells):
    grid = rng.random(
        (max(2, int(cells * h / max(h, w)) + 2), max(2, int(cells * w / max(h, w)) + 2)), np.float32
    )
    return cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)


def _blend(field, a, b):
    lut = (np.linspace(0, 1, 256)[:, None] * (np.asarray(b) - a) + a).clip(0, 255).astype(np.uint8)
    index = np.clip(field * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(cv2.merge([index] * 3), lut[:, None, :])


def fractal(rng, h, w):
    cells = rng.uniform(1, 12)
    field = _smooth_field(rng, h, w, cells)
    for octave in range(1, rng.integers(2, 5)):
        if cells * 2**octave > max(h, w):
            break
        field += _smooth_field(rng, h, w, cells * 2**octave) * 0.6**octave - 0.5 * 0.6**octave
    contrast = rng.uniform(0.7, 4)
    return _blend((field - 0.5) * contrast + 0.5, colour(rng), colour(rng))


def pattern(rng, h, w):
    """Stripes, checks or dots, bent by a smooth field."""
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 60)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period
    v = (-x * np.sin(angle) + y * np.cos(angle)) / period * rng.uniform(0.5, 1.5)
    u += _smooth_field(rng, h, w, 3) * rng.uniform(0, 4)
    kind = rng.integers(3)
    if kind == 0:
        field = np.sin(2 * np.pi * u)
    elif kind == 1:
        field = np.sign(np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v))
    else:
        field = np.sin(2 * np.pi * u) + np.sin(2 * np.pi * v) - rng.uniform(0, 1.5)
    return _blend(np.clip(field * rng.uniform(1, 6) + 0.5, 0, 1), colour(rng), colour(rng))


def plain(rng, h, w):
    a = colour(rng)
    if rng.random() < 0.4:
        return np.broadcast_to(a.astype(np.uint8), (h, w, 3)).copy()
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    field = (x * np.cos(angle) / max(w, 1) + y * np.sin(angle) / max(h, 1)) * 0.5 + 0.5
    return _blend(field, a, a + rng.normal(0, 40, 3))


def recolour(rng, image):
    """Per-channel curves: the same texture in another light or another paint."""
    gain, offset = rng.uniform(0.6, 1.4, 3), rng.normal(0, 15, 3)
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    ramp = np.arange(256)[:, None]
    lut = ((ramp - 128) * gain + 128 + offset).clip(0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), lut[:, None, :])


def photo(rng, h, w, photos):
    """A piece of a photograph, at any scale, turned and recoloured."""
    source = photos[rng.integers(len(photos))]
    scale = np.exp(rng.uniform(np.log(0.3), np.log(2.0)))
    sh, sw = (
        min(source.shape[0], max(4, int(h / scale))),
        min(source.shape[1], max(4, int(w / scale))),
    )
    y, x = rng.integers(source.shape[0] - sh + 1), rng.integers(source.shape[1] - sw + 1)
    piece = source[y : y + sh, x : x + sw]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    piece = cv2.resize(piece, (w, h), interpolation=cv2.INTER_LINEAR)
    return recolour(rng, piece) if rng.random() < 0.7 else piece


def smooth(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """One colour, or one that changes slowly, with some grain."""
    if rng.random() < 0.6:
        image = plain(rng, h, w)
    else:
        a = colour(rng)
        image = _blend(_smooth_field(rng, h, w, rng.uniform(1, 8)), a, a + rng.normal(0, 25, 3))
    grain = rng.normal(0, rng.uniform(0, 8), (h, w, 1)).astype(np.int16)
    return np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)


def surface(rng: np.random.Generator, h: int, w: int, photos=()) -> np.ndarray:
    """Any surface: a piece of a photograph a third of the time (if there are any), else drawn."""
    if len(photos) and rng.random() < 0.35:
        return photo(rng, h, w, photos)
    kind = rng.choice(3, p=[0.35, 0.15, 0.5])
    image = (fractal, pattern, plain)[kind](rng, h, w)
    if rng.random() < 0.5:
        grain = rng.normal(0, rng.uniform(2, 14), (h, w)).astype(np.int16)
        image = np.clip(image.astype(np.int16) + grain[..., None], 0, 255).astype(np.uint8)
    return image
