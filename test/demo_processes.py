# SPDX-License-Identifier: Apache-2.0
"""The demo's programs as processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

from stt_ros.ros.demo.environment import executable


@contextlib.contextmanager
def started(name, *words, **kwargs):
    """Run an executable of the package; it is gone behind the block."""
    command = [sys.executable, str(executable(name)), *map(str, words)]
    process = subprocess.Popen(command, text=True, start_new_session=True, **kwargs)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def wait_until(true, what, timeout=40.0):
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, f'never happened: {what}'
        pause.wait(0.02)
