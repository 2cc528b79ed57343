# SPDX-License-Identifier: Apache-2.0
"""A training picture that is drawn: it needs the folder ``training``, which is not installed."""

import cv2
import numpy as np

from training import real


def small_picture() -> real.Picture:
    """A drawn photograph: a green disc on noise, annotated as a polygon."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 80, (300, 400, 3), np.uint8)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([200 + 70 * np.cos(angle), 140 + 70 * np.sin(angle)], 1)
    cv2.fillPoly(image, [ring.astype(np.int32)], (20, 200, 40))
    return real.Picture(image, [[ring]], 'disc')
