# SPDX-License-Identifier: Apache-2.0
"""A negative point is never inside an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.prompts.region import Region

REACH = 0.1  # of the answer's size: how far around a negative point at least is cut away


def cut_out(region: Region, negatives: np.ndarray, candidates: Sequence[Region] = ()) -> Region:
    """Return a mask without the negative points (K, 2), x and y in pixels, and their surroundings.

    A disk is taken away around each point that is inside; ``REACH`` of the square root of the
    mask's area wide, at least the point's own pixel.
    """
    inside = negatives[region.contains(negatives)]
    if not len(inside):
        return region
    radius = REACH * np.sqrt(region.area)
    x, y, width, height = region.box
    rows, columns = np.ogrid[y : y + height, x : x + width]
    crop = region.crop.copy()
    for px, py in np.floor(inside):
        crop &= np.hypot(columns - px, rows - py) > radius
    return Region.of_mask(crop, (x, y))
