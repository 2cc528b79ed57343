# SPDX-License-Identifier: Apache-2.0
"""A low-pass filter that follows fast movements: little jitter at rest, little lag in saccades."""

from __future__ import annotations

from math import hypot, pi

# Hz; cutoff of the speed estimate, as in the paper.
_SPEED_CUTOFF = 1.0


class OneEuro:
    """The 1 euro filter of Casiez, Roussel & Vogel (CHI 2012) for points in the plane."""

    def __init__(self) -> None:
        self._last: tuple[float, float, float] | None = None
        self._velocity = (0.0, 0.0)

    def reset(self) -> None:
        """Start anew with the next point."""
        self._last = None

    def smooth(
        self, seconds: float, x: float, y: float, cutoff: float, beta: float
    ) -> tuple[float, float]:
        """Return the smoothed point; ``seconds`` must grow from call to call.

        ``cutoff`` in Hz holds at rest and grows by ``beta`` Hz per pixel/second of speed.
        """
        if self._last is None or seconds <= self._last[0]:
            self._last, self._velocity = (seconds, x, y), (0.0, 0.0)
            return x, y
        then, x0, y0 = self._last
        period = seconds - then
        a = _weight(_SPEED_CUTOFF, period)
        vx, vy = self._velocity
        vx, vy = vx + a * ((x - x0) / period - vx), vy + a * ((y - y0) / period - vy)
        a = _weight(cutoff + beta * hypot(vx, vy), period)
        self._velocity = vx, vy
        self._last = seconds, x0 + a * (x - x0), y0 + a * (y - y0)
        return self._last[1:]


def _weight(cutoff: float, period: float) -> float:
    """Return the share of the new value in a first-order low-pass of this cutoff (Hz)."""
    return 1 / (1 + 1 / (2 * pi * cutoff * period))
