# SPDX-License-Identifier: Apache-2.0
"""Small holes filled and small islands taken away, by SAM's rule."""

from __future__ import annotations

import cv2
import numpy as np

from stt_ros.prompts.region import Region


def clean(region: Region, min_area: int) -> Region:
    """Fill holes, then drop islands, smaller than ``min_area`` pixels (8-connected).

    When every island is smaller the largest stays (Kirillov et al., "Segment Anything", 2023).
    """
    mask = np.pad(region.crop, 1)
    if not region.area:
        return region
    count, labels, sizes = _components(~mask)
    small = [k for k in range(1, count) if sizes[k] < min_area and k != labels[0, 0]]
    mask |= np.isin(labels, small)
    count, labels, sizes = _components(mask)
    kept = [k for k in range(1, count) if sizes[k] >= min_area]
    kept = kept or [int(np.argmax(sizes[1:])) + 1]
    mask = np.isin(labels, kept)[1:-1, 1:-1]
    return Region.of_mask(mask, region.box[:2])


def _components(mask: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return count, labels, stats[:, cv2.CC_STAT_AREA]
