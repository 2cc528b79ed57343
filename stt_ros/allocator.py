# SPDX-License-Identifier: Apache-2.0
"""The memory of frames, kept from one to the next instead of handed back and asked for again."""

from __future__ import annotations

import ctypes

# glibc's malloc.h. Only blocks above the first threshold, at most 32 MB, come from the system
# each by itself; free memory up to the second stays; and all threads share one heap, because the
# heaps that glibc makes for further threads are too small for frames of 4K.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OWN_PAGES, _KEPT, _HEAPS = 2**25, 2**28, 1


def keep_memory() -> bool:
    """Have this process keep up to 256 MB that it frees; call it before other threads start.

    A frame passes through several buffers of its size, in the middleware too. By default every one
    is new memory, which the system clears page by page: most of what receiving a frame costs.
    Returns False, with nothing changed, where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_THRESHOLD, _OWN_PAGES), (_M_TRIM_THRESHOLD, _KEPT), (_M_ARENA_MAX, _HEAPS))
    done = [mallopt(*setting) for setting in settings]
    return all(done)
