# SPDX-License-Identifier: Apache-2.0
"""A test bench: the installed node in a process of its own, and this process around it over DDS."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import Point, PointStamped  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from node_process import TIMEOUT, NodeProcess  # noqa: E402
from rcl_interfaces.srv import GetParameters, SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter, parameter_value_to_python  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from ros_messages import raw_image  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from stt_ros.msg import PromptArray, Segmentation, SegmentationArray  # noqa: E402
from stt_ros.srv import Segment  # noqa: E402

SECOND = 1_000_000_000
_bench_numbers = itertools.count(1)


class Bench:
    """Our node in a namespace of its own, and publishers, subscriptions and clients around it."""

    def __init__(self, *ros_arguments: str, namespace: str = '') -> None:
        self.namespace = namespace or f'/bench{next(_bench_numbers)}'
        self.process = NodeProcess('-r', f'__ns:={self.namespace}', *ros_arguments)
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('bench', namespace=self.namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict = {}
        self._latest: Image | CompressedImage | None = None
        self._images = self._publisher(Image, 'image')
        self._compressed = self._publisher(CompressedImage, 'image/compressed')
        self._gaze = self._publisher(PointStamped, 'gaze')
        self._clicked = self._publisher(PointStamped, 'clicked_point')
        self._mouse = self._publisher(Point, 'mouse_left')
        self._overlay_mouse = self._publisher(Point, 'stt/overlay_mouse_left')
        self.results: list[Segmentation] = self.collect(Segmentation, 'stt/segmentation')
        self._prompts = self._publisher(PromptArray, 'prompt')
        self.answers: list[SegmentationArray] = self.collect(SegmentationArray, 'stt/segmentations')
        self._statuses: list = []
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def close(self) -> None:
        """End the node and everything around it; fails if the node complained at its end."""
        try:
            code = self.process.end()
        finally:
            self._executor.shutdown()
            self.node.destroy_node()
            rclpy.shutdown(context=self._context)
        assert code == 0, self.process.log()
        assert 'Traceback' not in self.process.log(), self.process.log()

    # -- what comes back

    def collect(self, kind, topic: str) -> list:
        """Return a list that all messages of a topic will be appended to."""
        messages: list = []
        self.node.create_subscription(kind, topic, messages.append, 50)
        return messages

    @contextlib.contextmanager
    def watching(self, kind, *topics: str) -> Iterator[list[list]]:
        """Subscribe for a while; yields the list of messages of each topic."""
        lists = [[] for _ in topics]
        subscriptions = [
            self.node.create_subscription(kind, topic, messages.append, 50)
            for topic, messages in zip(topics, lists, strict=True)
        ]
        yield lists
        for subscription in subscriptions:
            self.node.destroy_subscription(subscription)

    def until(self, condition: Callable, again: Callable | None = None, every: float = 0.5):
        """Spin until a condition holds and return its value; ``again`` is called every so often."""
        end, next_try = time.monotonic() + TIMEOUT, 0.0
        while not (value := condition()):
            now = time.monotonic()
            assert now < end, f'waited in vain; the log of the node:\n{self.process.end_of_log()}'
            assert self.process.running(), f'the node has ended:\n{self.process.end_of_log()}'
            if again and now >= next_try:
                again()
                next_try = now + every
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def spin(self, seconds: float) -> None:
        """Take what has come, for up to so many seconds if nothing has."""
        self._executor.spin_once(timeout_sec=seconds)

    def result_of(self, header: Header, results: list | None = None):
        """Wait for the (first) result of an image and return it."""
        found = self.results if results is None else results
        return self.until(lambda: next((r for r in found if r.header == header), None))

    def diagnostics(self, condition: Callable[[dict], bool] = lambda values: True) -> dict:
        """Wait for the node's next diagnostics that fulfil a condition; 'level', 'message' too."""
        self.state()  # what the node sent before this answer is not its next
        start = len(self._statuses)
        return self.until(lambda: next((s for s in self._statuses[start:] if condition(s)), None))

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.startswith(self.namespace.lstrip('/')):
                values = {value.key: value.value for value in status.values}
                values.update(level=status.level, message=status.message)
                self._statuses.append(values)

    # -- what goes in

    def now(self) -> int:
        """Return the time in ns."""
        return self.node.get_clock().now().nanoseconds

    def header(self, stamp: int | None = None, frame_id: str = 'camera') -> Header:
        """Return a header with a stamp in ns, by default now."""
        header = Header(frame_id=frame_id)
        stamp = self.now() if stamp is None else stamp
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, SECOND)
        return header

    def image(self, pixels: np.ndarray, stamp: int | None = None, encoding: str = 'rgb8') -> Header:
        """Publish a raw image; returns its header."""
        header = self.header(stamp)
        self.publish(raw_image(pixels, encoding, header))
        return header

    def gaze(self, x: float, y: float, stamp=None, frame_id: str = '', z: float = 0.0) -> None:
        """Publish a sample of a gaze stream; stamp 0 for none."""
        self._gaze.publish(self._stamped(x, y, stamp, frame_id, z))

    def clicked_point(self, x: float, y: float, stamp=None, frame_id='', z: float = 0.0) -> None:
        """Publish what rviz' tool does."""
        self._clicked.publish(self._stamped(x, y, stamp, frame_id, z))

    def click(self, x: float, y: float) -> None:
        """Publish what a click in rqt_image_view does."""
        self._mouse.publish(self.point(x, y))

    def click_overlay(self, x: float, y: float) -> None:
        """Publish what a click in rqt_image_view does when it shows the overlay."""
        self._overlay_mouse.publish(self.point(x, y))

    def prompt(self, *prompts, mode: int = 0, stamp: int = 0) -> None:
        """Publish a PromptArray; stamp 0 for none."""
        self._prompts.publish(
            PromptArray(header=self.header(stamp), prompts=list(prompts), mode=mode)
        )

    @staticmethod
    def point(x: float, y: float, z: float = 0.0) -> Point:
        """Return a Point of any numbers."""
        return Point(x=float(x), y=float(y), z=float(z))

    def publish(self, msg) -> None:
        """Publish an Image or a CompressedImage on the camera's topic."""
        (self._compressed if isinstance(msg, CompressedImage) else self._images).publish(msg)

    def take(self, msg) -> Header:
        """Publish a camera message until the node has it as its latest image."""

        def is_latest() -> bool:
            answer = self.segment([(0, 0)])
            return answer.success and answer.results[0].header == msg.header

        self.until(is_latest, again=lambda: self.publish(msg))
        self._latest = msg
        return msg.header

    def show(self, pixels: np.ndarray, stamp: int | None = None) -> Header:
        """Publish a raw image until the node has it as its latest."""
        return self.take(raw_image(pixels, 'rgb8', self.header(stamp)))

    def look_at(self, x: float, y: float) -> None:
        """Click at a pixel of the latest image until a result of it comes."""
        start = len(self.results)

        def point():
            self.click(x, y)
            self.publish(self._latest)

        self.until(
            lambda: any((r.gaze.x, r.gaze.y) == (x, y) for r in self.results[start:]), again=point
        )

    # -- services

    def call(self, kind, name: str, request=None):
        """Call a service below the node's name and return the response."""
        return self.finish(self.call_async(kind, name, request or kind.Request()))

    def call_async(self, kind, name: str, request):
        """Call a service below the node's name; returns the future."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f'stt/{name}')
        client = self._clients[name]
        self.until(client.service_is_ready)
        return client.call_async(request)

    def finish(self, future):
        """Wait for a response."""
        self.until(future.done)
        return future.result()

    def segment(self, points: list, image: Image | None = None):
        """Call ~/segment with points (x, y)."""
        request = Segment.Request(points=[self.point(x, y) for x, y in points])
        request.image = image or Image()
        return self.call(Segment, 'segment', request)

    def enable(self, on: bool):
        """Call ~/enable."""
        return self.call(SetBool, 'enable', SetBool.Request(data=on))

    def clear(self):
        """Call ~/clear."""
        return self.call(Trigger, 'clear')

    def set(self, **values) -> str:
        """Set parameters one by one; returns the reasons of refusals, '' if all were taken."""
        request = SetParameters.Request()
        request.parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        results = self.call(SetParameters, 'set_parameters', request).results
        return '; '.join(r.reason or 'no reason given' for r in results if not r.successful)

    def get(self, *names: str) -> list:
        """Return the values of parameters."""
        request = GetParameters.Request(names=list(names))
        values = self.call(GetParameters, 'get_parameters', request).values
        return [parameter_value_to_python(value) for value in values]

    def state(self) -> str:
        """Return the lifecycle state's name."""
        return self.call(GetState, 'get_state').current_state.label

    def change(self, label: str) -> bool:
        """Ask for a lifecycle transition by name; returns whether it succeeded."""
        request = ChangeState.Request(transition=Transition(label=label))
        return self.call(ChangeState, 'change_state', request).success

    def connected(self) -> None:
        """Wait until all topics are connected in both directions."""
        publishers = (self._gaze, self._clicked, self._mouse, self._overlay_mouse, self._prompts)
        self.until(lambda: all(p.get_subscription_count() for p in publishers))
        images = (self._images, self._compressed)
        self.until(lambda: any(p.get_subscription_count() for p in images))
        outputs = ('stt/segmentation', 'stt/segmentations')
        self.until(lambda: all(self.node.count_publishers(topic) for topic in outputs))
        self.known()

    def known(self) -> None:
        """Wait until the node knows of all that was made, or destroyed, here before.

        It hears nothing from what it does not know of yet. It learns in the order in which things
        are made here, and what a new client asks comes last.
        """
        if 'get_state' in self._clients:
            self.node.destroy_client(self._clients.pop('get_state'))
        self.state()

    def _publisher(self, kind, topic: str):
        qos = qos_profile_sensor_data if 'image' in topic else 10
        return self.node.create_publisher(kind, topic, qos)

    def _stamped(self, x: float, y: float, stamp: int | None, frame_id: str, z: float):
        msg = PointStamped(header=self.header(stamp, frame_id))
        msg.point = self.point(x, y, z)
        return msg


@contextlib.contextmanager
def running_bench(*ros_arguments: str, namespace: str = '') -> Iterator[Bench]:
    """Run our node, active and connected, until the end of the block."""
    with closing(Bench(*ros_arguments, namespace=namespace)) as bench:
        bench.connected()
        yield bench
