# SPDX-License-Identifier: Apache-2.0
"""The installed node in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import stt_ros

TIMEOUT = 40.0  # s; far above what anything takes, for machines with other things to do


def stt_node() -> Path:
    """Return the installed executable of the node."""
    for folder in Path(stt_ros.__file__).absolute().parents:
        if (folder / 'lib' / 'stt_ros' / 'stt_node').is_file():
            return folder / 'lib' / 'stt_ros' / 'stt_node'
    pytest.skip('the node is not installed: run ./stt test', allow_module_level=True)


class NodeProcess:
    """The node as a user starts it; what it logs is kept and can be waited for."""

    def __init__(self, *ros_arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, stt_node(), '--ros-args', *ros_arguments],
            env={**os.environ, 'RCUTILS_COLORIZED_OUTPUT': '0', 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for_log(self, pattern: str, after: int = 0) -> str:
        """Return the first line from number ``after`` on that the pattern is found in."""
        def found() -> str | None:
            return next((line for line in self.lines[after:] if re.search(pattern, line)), None)

        with self._news:
            line = self._news.wait_for(lambda: found() or self._process.poll() is not None, TIMEOUT)
        line = found()
        assert line, f'no {pattern!r} in the log:\n{self.end_of_log()}'
        return line

    def log(self) -> str:
        """Return all that was logged."""
        return ''.join(self.lines)

    def end_of_log(self) -> str:
        """Return the last lines, for messages of failed tests."""
        return ''.join(['...\n', *self.lines[-12:]])

    def running(self) -> bool:
        """Tell whether the process runs."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once it has ended and its whole log was read."""
        code = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code

    def end(self) -> int:
        """Interrupt it, as Ctrl-C does."""
        if self.running():
            self.signal(signal.SIGINT)
        try:
            return self.wait()
        finally:
            self._process.kill()

    def _read(self) -> None:
        with self._process.stderr as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()
