# SPDX-License-Identifier: Apache-2.0
"""What the demo's processes share: QoS, a node that spins beside the main thread, exact waiting."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from stt_ros.allocator import keep_memory
from stt_ros.ros import dds

# Messages that wait for a process: two seconds and more, if others keep the processor busy.
_WAITING = 120
# Who asks for all gets them, also those sent before it has learned of the sender, which holds them
# only until then.
RELIABLE = QoSProfile(depth=_WAITING, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=_WAITING, reliability=ReliabilityPolicy.BEST_EFFORT)

AnyNode = TypeVar('AnyNode', bound=Node)


class Stop:
    """Set by SIGINT, SIGTERM or SIGHUP; the main thread waits on it. A second SIGINT interrupts."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.signal: int | None = None

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[Stop]:
        """Catch the signals in the block; leave them as they were behind it."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._caught) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _caught(self, number: int, _frame) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether it is time to stop."""
        return self._event.is_set()

    def wait_until(self, when: float) -> bool:
        """Wait until a time of ``time.monotonic()``; return False when it is time to stop."""
        return not self._event.wait(max(0.0, when - time.monotonic()))

    def wait_for(self, true: Callable[[], bool], every: float = 0.05) -> bool:
        """Wait until something has come true; return False when it is time to stop."""
        while not true():
            if self._event.wait(every):
                return False
        return not self.is_set()


@contextlib.contextmanager
def spinning(make: Callable[[], AnyNode], args: Sequence[str] | None = None) -> Iterator[AnyNode]:
    """Start ROS, make a node and spin it in a thread; take all of it down behind the block.

    Signals stay with the caller, see `Stop`.
    """
    keep_memory()
    dds.use_profile()  # the sender of images needs it most
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        done = threading.Event()
        thread = threading.Thread(target=_spin, args=(executor, done), name='spin')
        thread.start()
        try:
            yield node
        finally:
            # The thread first: before Kilted an executor that is being spun cannot be shut down.
            done.set()
            executor.create_task(lambda: None)
            thread.join(timeout=5.0)
            executor.shutdown(timeout_sec=2.0)
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor, done: threading.Event) -> None:
    with contextlib.suppress(ExternalShutdownException):
        while not done.is_set():
            executor.spin_once()
