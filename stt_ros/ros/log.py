# SPDX-License-Identifier: Apache-2.0
"""Log lines that tell each trouble once in a while instead of at frame rate."""

from __future__ import annotations

import re
import time

_NUMBER = re.compile(r'-?\d+(\.\d+)?(e[+-]?\d+)?|nan|inf')


class ThrottledLog:
    """Warnings, at most one per trouble and period; what was held back is counted in the next.

    One trouble is one source and one text, whatever the numbers in it.
    """

    def __init__(self, logger, period: float = 5.0) -> None:
        self._logger = logger
        self._period = period
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def warning(self, source: str, text: str) -> None:
        """Log '<source>: <text>', unless the same trouble was logged less than a period ago."""
        key = (source, _NUMBER.sub('#', text))
        now = time.monotonic()
        if len(self._told) > 200:  # texts with ever new names in them
            self._told.clear()
        last, held_back = self._told.get(key, (-self._period, 0))
        if now - last < self._period:
            self._told[key] = (last, held_back + 1)
            return
        self._told[key] = (now, 0)
        more = f' ({held_back} more like this since the last line)' if held_back else ''
        self._logger.warning(f'{source}: {text}{more}')
