# SPDX-License-Identifier: Apache-2.0
"""How far points reach says how large the thing is: a mask much longer than they is less likely.

Who points several times spreads the points over the thing, so that of the masks that hold them
all the smaller ones are likelier: the "size principle" (Tenenbaum and Griffiths, "Generalization,
similarity, and Bayesian inference", 2001).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.prompts.region import Region

FREE = 2  # a mask may be this many times as long as the points reach
LEAST = 0.25  # of any mask: points may lie close together by chance


def reach(points: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """Return how well each region's length fits points (K, 2) on it: (R,) in [0.25, 1].

    Lengths are those of the boxes along the side that the points reach further in. One pixel
    says nothing: 1.
    """
    pixels = np.unique(np.floor(points), axis=0)
    if len(pixels) < 2:
        return np.ones(len(regions))
    spans = np.ptp(pixels, axis=0) + 1
    side = int(spans.argmax())
    lengths = np.array([max(region.box[2 + side], 1) for region in regions])
    return LEAST + (1 - LEAST) * np.minimum(1, FREE * spans[side] / lengths)
