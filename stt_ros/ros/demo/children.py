# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive their parent, each with its output in a file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from stt_ros.ros.demo.environment import executable

_PR_SET_PDEATHSIG = 1
_PATIENCE = 5.0  # seconds that a child may take to end by itself


class Children:
    """The processes of a demo; leaving the ``with`` block ends all of them."""

    def __init__(self, log_folder: Path) -> None:
        self._folder = log_folder
        self._running: dict[str, subprocess.Popen] = {}
        log_folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_) -> None:
        self.end(*self._running)

    def start(self, name: str, program: str, *words: str) -> None:
        """Start an executable of this package in a process group of its own."""
        with open(self._folder / f'{name}.txt', 'wb') as output:
            self._running[name] = subprocess.Popen(
                [sys.executable, str(executable(program)), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {'PYTHONUNBUFFERED': '1'},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends all in order
                preexec_fn=partial(_die_with_parent, os.getpid()),
            )

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of a child, None while it runs."""
        return self._running[name].poll()

    def output(self, name: str) -> str:
        """Return what a child has written so far, stdout and stderr."""
        return (self._folder / f'{name}.txt').read_text(errors='replace')

    def end(self, *names: str) -> None:
        """Interrupt these children, all at once; kill those that do not end in time."""
        waited_for = [self._running[name] for name in names]
        for process in waited_for:
            _send(process, signal.SIGINT)
        deadline = time.monotonic() + _PATIENCE
        for process in waited_for:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _send(process, signal.SIGKILL)
            process.wait()


def _send(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a child's whole group, which may outlive the child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this process should the parent be killed before it can.

    With SIGTERM: a killed process would leave its shared memory behind.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was killed before that
        os.kill(os.getpid(), signal.SIGTERM)
