# SPDX-License-Identifier: Apache-2.0
"""Memory that is freed stays with the process that has asked for that."""

import os
import subprocess
import sys

import pytest

from stt_ros.allocator import keep_memory

# Twice a block of a 4K frame's size, written to and freed; the faults are those of the second.
SCRIPT = """
import resource, sys, threading
from stt_ros.allocator import keep_memory

if sys.argv[1] == 'kept':
    assert keep_memory()

def work():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(b'x') * 25_000_000
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(faults)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(how):
    """Return how many new pages a thread's second block of 25 MB (6100 pages) takes."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'GLIBC_'))}
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, how],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr('ctypes.CDLL', lambda name: object())
    assert keep_memory() is False


@pytest.mark.skipif(
    'glibc' not in (os.confstr('CS_GNU_LIBC_VERSION') or ''), reason='needs the GNU C library'
)
def test_a_frame_finds_the_memory_of_the_last_one():
    assert faults('new') > 3000
    assert faults('kept') < 100
