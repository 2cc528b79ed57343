# SPDX-License-Identifier: Apache-2.0
"""Our node in this process, to look into it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from rclpy.executors import SingleThreadedExecutor  # noqa: E402


def override(topic, value, namespace='/life'):
    """Return arguments that set the reliability of a topic."""
    return '-p', f'qos_overrides.{namespace}/{topic}.reliability:={value}'


@contextlib.contextmanager
def node_here(*ros_arguments: str) -> Iterator[tuple]:
    """Make our node, unconfigured, in this process, to look into it; yields it and an executor."""
    from stt_ros.ros.node import SttNode

    context = rclpy.Context()
    rclpy.init(context=context)
    node = SttNode(context=context, cli_args=['--ros-args', *ros_arguments])
    executor = SingleThreadedExecutor(context=context)
    try:
        executor.add_node(node)
        yield node, executor
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
