# SPDX-License-Identifier: Apache-2.0
"""Times and memory of calls in this process."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np

WARM_UP = 3  # repeats that are not counted


def interleaved(
    tasks: dict[Hashable, Callable[[], object]], prepare: Callable[[], object], repeats: int
) -> dict[Hashable, np.ndarray]:
    """Run every task once per repeat and return the milliseconds of each.

    Whatever else the machine does then falls on all of them alike, and none finds the caches as
    itself has left them. ``prepare`` is called before every task and is not timed.
    """
    times: dict[Hashable, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for repeat in range(-WARM_UP, repeats):
        for name in names if repeat % 2 else reversed(names):
            prepare()
            start = time.perf_counter()
            tasks[name]()
            if repeat >= 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: np.array(measured) for name, measured in times.items()}


def quantiles(milliseconds: np.ndarray) -> tuple[float, float]:
    """Return median and 95th percentile."""
    median, p95 = np.percentile(milliseconds, (50, 95))
    return round(float(median), 3), round(float(p95), 3)


def peak_memory(task: Callable[[], object]) -> float | None:
    """Return by how many MB the process grows while it runs a task; None where Linux is not."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory that is free but kept would hide the growth
        Path('/proc/self/clear_refs').write_text('5')  # forgets the last peak
        before = memory('VmRSS')
        task()
        return round(memory('VmHWM') - before, 1)
    except (AttributeError, OSError):
        return None


def memory(field: str, process: int | str = 'self') -> float:
    """Return a size from /proc/<process>/status in MB."""
    for line in Path(f'/proc/{process}/status').read_text().splitlines():
        name, _, value = line.partition(':')
        if name == field:
            return int(value.split()[0]) / 1000
    raise OSError(f'no {field} in /proc/{process}/status')
