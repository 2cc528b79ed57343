# SPDX-License-Identifier: Apache-2.0
"""What cameras do to a scene: light, lens, sensor, compression. (H, W, 3) uint8 RGB in and out."""

import cv2
import numpy as np

_GRAIN = np.random.default_rng(0).normal(0, 1, (600, 700, 3)).astype(np.float32)


def light(rng, image):
    """Exposure, contrast, gamma, white balance: one table per channel."""
    ramp = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25))
    gain = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.07, 3))
    contrast = np.exp(rng.normal(0, 0.2))
    lut = ((ramp - 0.5) * contrast + 0.5 + rng.normal(0, 0.06)) * gain
    return cv2.LUT(image, (lut * 255).clip(0, 255).astype(np.uint8)[:, None, :])


def saturation(rng, image):
    """Towards grey, all grey, or stronger colours; sometimes a turned hue."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    amount = 0.0 if rng.random() < 0.15 else rng.uniform(0.3, 1.5)
    return cv2.addWeighted(image, amount, grey, 1 - amount, 0)


def blur(rng, image):
    """Out of focus, or moved."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    n = int(rng.integers(3, 10)) | 1
    kernel = np.zeros((n, n), np.float32)
    direction = np.array([np.cos(a := rng.uniform(0, np.pi)), np.sin(a)]) * n
    at = (
        np.rint(n // 2 + np.outer(np.linspace(-0.5, 0.5, 2 * n), direction))
        .clip(0, n - 1)
        .astype(int)
    )
    kernel[at[:, 1], at[:, 0]] = 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noise(rng, image):
    """Sensor noise, sometimes coarse as after demosaicing."""
    h, w = image.shape[:2]
    tile = np.roll(_GRAIN, tuple(rng.integers(0, 600, 2)), (0, 1)) * np.float32(
        rng.uniform(1.5, 10)
    )
    if h > 600 or w > 700 or rng.random() < 0.2:
        tile = cv2.resize(tile, (w, h), interpolation=cv2.INTER_LINEAR)
    return cv2.add(image, tile[:h, :w], dtype=cv2.CV_8U)


def mosaic(rng, image):
    """One colour per pixel, as behind a Bayer filter, noise, and the colours guessed again."""
    raw = np.empty(image.shape[:2], np.uint8)
    for (y, x), channel in zip(((0, 0), (0, 1), (1, 0), (1, 1)), (0, 1, 1, 2), strict=True):
        raw[y::2, x::2] = image[y::2, x::2, channel]
    h, w = raw.shape
    grain = np.resize(_GRAIN[..., 0], (h, w)) * np.float32(rng.uniform(1, 8))
    return cv2.cvtColor(cv2.add(raw, grain, dtype=cv2.CV_8U), cv2.COLOR_BayerBG2RGB)


def lens(rng, image, masks):
    """Barrel or pincushion distortion of an image and its masks (H, W) uint8, at random."""
    h, w = image.shape[:2]
    focal = max(h, w) * rng.uniform(0.7, 1.2)
    camera = np.array([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1]])
    bend = np.array([rng.uniform(-0.3, 0.25), 0, 0, 0])
    maps = cv2.initUndistortRectifyMap(camera, bend, None, camera, (w, h), cv2.CV_16SC2)

    def bent(a):
        return cv2.remap(a, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    return bent(image), [bent(mask) for mask in masks]


def jpeg(rng, image):
    quality = int(rng.integers(25, 92))
    return cv2.imdecode(
        cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def camera(rng: np.random.Generator, image: np.ndarray, clean: float = 0.15) -> np.ndarray:
    """All of the above, each with its probability; ``clean`` is the share left untouched."""
    if rng.random() < clean:
        return image
    for change, probability in (
        (light, 0.7),
        (saturation, 0.35),
        (blur, 0.2),
        (mosaic, 0.1),
        (noise, 0.3),
        (jpeg, 0.2),
    ):
        if rng.random() < probability:
            image = change(rng, image)
    return image
