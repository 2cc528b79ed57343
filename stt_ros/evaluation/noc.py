# SPDX-License-Identifier: Apache-2.0
"""How many clicks until the mask is good: the number-of-clicks protocol (NoC).

Up to 20 clicks; the first at the peak of the distance transform of the true mask, each further one
at that of the error. The kind of error (missed or too much) with the larger total area decides the
sign, as in SEEM; RITM and SimpleClick compare the two peaks instead. Pixels already clicked do not
count as errors. NoC of a threshold is the number of the first click whose mask reaches it, 20 if
none does.
"""

from __future__ import annotations

import numpy as np

from stt_ros import masks

CLICKS = 20
THRESHOLDS = (0.85, 0.90)

Click = tuple[int, int]


def next_click(truth: np.ndarray, mask: np.ndarray, clicked: list[Click]) -> tuple[Click, bool]:
    """Return the next click (x, y) and whether it is positive; masks are (H, W) bool.

    Raises ``ValueError`` when there is no error left to click on.
    """
    missed, extra = truth & ~mask, mask & ~truth
    for x, y in clicked:
        missed[y, x] = extra[y, x] = False
    positive = bool(np.count_nonzero(missed) >= np.count_nonzero(extra))
    return masks.interior_point(missed if positive else extra), positive


def clicks_needed(ious: np.ndarray, threshold: float) -> int:
    """Return the number of the first click with at least this IoU, all of them when none has."""
    reached = np.flatnonzero(np.asarray(ious) >= threshold)
    return int(reached[0]) + 1 if len(reached) else len(ious)
