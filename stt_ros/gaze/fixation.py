# SPDX-License-Identifier: Apache-2.0
"""Fixations in a gaze stream, as they happen: by velocity (I-VT) or by dispersion (I-DT).

Both are the algorithms of Salvucci & Goldberg, "Identifying fixations and saccades in eye-tracking
protocols" (ETRA 2000), made to run sample by sample; window and merging of the velocity variant are
those of Olsen, "The Tobii I-VT fixation filter" (2012).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import hypot, inf

from stt_ros.gaze.pairing import SECOND

METHODS = ('ivt', 'idt')

# Olsen 2012: velocity is taken over 20 ms, which averages the jitter of fast trackers; fixations
# that are at most 75 ms apart are one (if they are in the same place, see ``Thresholds``).
_WINDOW = 20 * SECOND // 1000
_MERGE_GAP = 75 * SECOND // 1000


@dataclass(frozen=True)
class Thresholds:
    """What still is a fixation, in pixels: speed (px/s), and extent of its samples (px).

    The extent is (max x - min x) + (max y - min y), as Salvucci & Goldberg define dispersion. Half
    of it is how far apart two fixations may be that a blink or an outlier cuts in two.
    """

    velocity: float
    dispersion: float


@dataclass
class Fixation:
    """A fixation so far: times in ns, the mean of its samples in pixels."""

    start: int
    end: int
    x: float
    y: float
    samples: int = 1

    @property
    def duration(self) -> int:
        """How long it has lasted, in ns."""
        return self.end - self.start

    def extend(self, time: int, x: float, y: float) -> None:
        """Take one more sample in."""
        self.samples += 1
        self.end = time
        self.x += (x - self.x) / self.samples
        self.y += (y - self.y) / self.samples


class FixationDetector:
    """Finds the fixation that each sample belongs to; samples must come in order of time.

    ``method`` is 'ivt' or 'idt'; ``duration`` (ns) the shortest fixation; ``hold`` (ns) the longest
    blink or dropout inside of one.
    """

    def __init__(self, method: str, duration: int, hold: int) -> None:
        self._still = {'ivt': self._slow, 'idt': self._close}[method]
        self._duration = duration
        self._hold = hold
        self._recent: deque[tuple[int, float, float]] = deque()
        self._fixation: Fixation | None = None  # the last one, also when it is over
        self._inside = False
        self._box = _Box()  # of the samples inside, for I-DT

    def add(self, time: int, x: float, y: float, thresholds: Thresholds) -> Fixation | None:
        """Take a sample; returns the fixation that it is part of, once that lasts long enough.

        It is the same object as long as it is the same fixation.
        """
        if self._recent and time - self._recent[-1][0] > _MERGE_GAP:  # a blink or dropout
            self._recent.clear()
            self._inside = False
        self._recent.append((time, x, y))
        if not self._still(thresholds):
            self._inside = False
            return None
        fixation = self._fixation
        if fixation is None or not (self._inside or self._resumes(fixation, thresholds)):
            self._fixation = fixation = self._begin()
        else:
            fixation.extend(time, x, y)
        self._inside = True
        return fixation if fixation.duration >= self._duration else None

    def _begin(self) -> Fixation:
        first, *others = self._recent
        fixation = Fixation(first[0], first[0], first[1], first[2])
        for sample in others:
            fixation.extend(*sample)
        return fixation

    def _resumes(self, fixation: Fixation, thresholds: Thresholds) -> bool:
        """Tell whether what is recent, after an interruption, goes on with a fixation."""
        _, x, y = self._recent[-1]
        gap = self._recent[0][0] - fixation.end
        near = hypot(x - fixation.x, y - fixation.y) <= thresholds.dispersion / 2
        return near and gap <= max(_MERGE_GAP, self._hold)

    def _slow(self, thresholds: Thresholds) -> bool:
        """I-VT: the gaze moves slower than the threshold."""
        self._trim(_WINDOW)
        (t0, x0, y0), (t1, x1, y1) = self._recent[0], self._recent[-1]
        # The first sample has no speed: it counts when the next one is slow.
        return t1 > t0 and hypot(x1 - x0, y1 - y0) * SECOND <= thresholds.velocity * (t1 - t0)

    def _close(self, thresholds: Thresholds) -> bool:
        """I-DT: the samples of the fixation, or of the shortest possible, lie close together."""
        time, x, y = self._recent[-1]
        self._trim(self._duration)
        if self._inside:
            self._box.include(x, y)
            if self._box.extent > thresholds.dispersion:
                self._recent = deque([self._recent[-1]])
                return False
            return True
        self._box = _Box()
        for _, x, y in self._recent:
            self._box.include(x, y)
        long_enough = time - self._recent[0][0] >= self._duration
        return long_enough and self._box.extent <= thresholds.dispersion

    def _trim(self, span: int) -> None:
        """Keep the samples of the last ``span`` ns, and the one before."""
        recent = self._recent
        while len(recent) > 2 and recent[1][0] <= recent[-1][0] - span:
            recent.popleft()


class _Box:
    """The bounding box of points."""

    def __init__(self) -> None:
        self._left = self._top = inf
        self._right = self._bottom = -inf

    def include(self, x: float, y: float) -> None:
        self._left, self._right = min(self._left, x), max(self._right, x)
        self._top, self._bottom = min(self._top, y), max(self._bottom, y)

    @property
    def extent(self) -> float:
        return self._right - self._left + self._bottom - self._top
