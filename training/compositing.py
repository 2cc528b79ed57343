# SPDX-License-Identifier: Apache-2.0
"""Pasting a thing into an image, with its shadow and its labels."""

from __future__ import annotations

import cv2
import numpy as np


def _window(shape, h, w, x, y):
    """Overlap of an (h, w) patch at (x, y) with an image: slices into both."""
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, shape[1]), min(y + h, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def blend_in(image, patch, alpha, x, y):
    window = _window(image.shape, *alpha.shape, int(x), int(y))
    if window is None:
        return None
    here, there = window
    a = alpha[there].astype(np.float32)[..., None] / 255
    image[here] = (image[here] * (1 - a) + patch[there] * a + 0.5).astype(np.uint8)
    return window


def paste(rng, image, label, parts, k, rgb, part_map, alpha):
    h, w = alpha.shape
    x = int(rng.uniform(-0.3 * w, image.shape[1] - 0.7 * w))
    y = int(rng.uniform(-0.3 * h, image.shape[0] - 0.7 * h))
    if rng.random() < 0.3:
        _shadow(rng, image, alpha, x, y)
    seen = alpha
    if rng.random() < 0.04:  # glass, smoke, a reflection
        seen = (alpha * rng.uniform(0.5, 0.85)).astype(np.uint8)
    elif rng.random() < 0.08:  # out of focus
        blur = rng.uniform(0.8, 3)
        rgb, seen = cv2.GaussianBlur(rgb, (0, 0), blur), cv2.GaussianBlur(alpha, (0, 0), blur)
    window = blend_in(image, rgb, seen, x, y)
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
    blend_in(image, np.zeros((h, w, 3), np.uint8), soft, x + dx, y + dy)
