# SPDX-License-Identifier: Apache-2.0
"""The running node: a camera, an eye tracker and the node as processes; their results come here.

The camera and the eye tracker are those of the demo, with one picture of the wanted size and rate
and a gaze of 60 Hz.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import stt_ros
from bench import report, scene, timing
from stt_ros import pictures

try:
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo
    from stt_ros.msg import Segmentation

    from stt_ros.ros.demo.children import Children
    from stt_ros.ros.demo.environment import own_network
    from stt_ros.ros.demo.running import Stop, spinning
except ImportError as error:
    raise report.BenchError(
        f'the node needs ROS 2 and the installed package ({error}): run ./stt setup, then '
        '.venv/bin/python -m bench node'
    ) from error

_PATIENCE = 60.0  # seconds that the node may take until its first result
_WARM_UP = 3.0  # seconds from then on that count for nothing
_LAST = 0.5  # seconds for the last results to come
_MINUTE = 60 * 10**9  # ns
_ACTIVE = 'active: images from'  # what the node says when it is
_TICKS = os.sysconf('SC_CLK_TCK')


class Processes(Children):
    """The processes, whose use of the machine can be asked for."""

    def usage(self, name: str) -> tuple[float, float]:
        """Return the seconds of CPU that a process has used, and its memory in MB."""
        process = self._running[name].pid
        stat = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS, timing.memory('VmRSS', process)

    def check(self) -> None:
        """Raise ``BenchError`` with the last words of a process that has ended."""
        for name in self._running:
            code = self.exit_code(name)
            if code is not None:
                words = '\n'.join(self.output(name).splitlines()[-10:])
                raise report.BenchError(f'the {name} process ended with exit code {code}:\n{words}')


class Receiver(Node):
    """Notes what the camera has sent, and when what the node made of it came."""

    def __init__(self) -> None:
        super().__init__('bench')
        self.sent: list[int] = []  # stamps in ns
        self.results: dict[int, tuple[float, float]] = {}  # by stamp: latency here, at the node; s
        # The calibration has the stamp of its image and is small: following it disturbs nothing.
        best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(CameraInfo, 'camera_info', self._on_image, best_effort)
        self.create_subscription(Segmentation, 'stt/segmentation', self._on_result, 100)

    def _on_image(self, message: CameraInfo) -> None:
        self.sent.append(_nanoseconds(message))

    def _on_result(self, message: Segmentation) -> None:
        stamp = _nanoseconds(message)
        latency = (self.get_clock().now().nanoseconds - stamp) * 1e-9
        self.results[stamp] = latency, message.latency


@dataclass(frozen=True)
class Sample:
    """How things stand at one moment."""

    time: int  # of the clock that stamps the images, ns
    cpu: float  # s that the node has used so far
    rss: float  # MB of the node


def measure(
    weights: str,
    label: str,
    sizes: list[tuple[int, int]],
    rates: list[float],
    transport: str,
    seconds: float,
    folder: Path,
) -> dict:
    """Return the figures of the node for every image size (W, H) and camera rate (Hz).

    ``transport`` is 'raw' or 'compressed' (JPEG).
    Raises ``BenchError`` if one of the processes ends, the node gives no results or a signal comes.
    """
    environment = report.environment(
        model=label, duration=f'{seconds:g} s per case', package=str(stt_ros.__path__[0])
    )
    latency, load = [], []
    with Stop().on_signals() as stop, own_network():
        for size in sizes:
            for rate in rates:
                case = {'image': '{}x{}'.format(*size), 'transport': transport}
                case['camera'] = f'{rate:g} Hz'
                print(f'measuring {" ".join(case.values())} ...', file=sys.stderr, flush=True)
                options = ('--rate', str(rate), '--transport', transport)
                receiver, started, samples = _run(weights, size, options, seconds, folder, stop)
                latency.append(case | _timely(receiver, samples))
                load.append(case | {'start-up s': started} | _costs(receiver, samples))
    return {
        'bench': 'node',
        'environment': environment,
        'tables': {
            'results; latency from image stamp to result received, ms': latency,
            'the process of the node; memory in MB': load,
        },
    }


def _run(
    weights: str,
    size: tuple[int, int],
    options: tuple[str, ...],
    seconds: float,
    folder: Path,
    stop: Stop,
) -> tuple[Receiver, float, list[Sample]]:
    """Run one case with a camera's options.

    Returns what was received, the seconds that the node took from its process's start until it was
    active, and a sample per second after the warm-up.
    """
    image, gaze = scene.picture(size)
    pictures.write(folder / 'scene.png', image)
    source = ('--image', str(folder / 'scene.png'), *options, '--loop')
    transport = options[-1]
    with Processes(folder / 'log') as processes, spinning(Receiver) as receiver:
        parameters = (f'weights:={json.dumps(weights)}', f'image_transport:={transport}')
        words = (word for parameter in parameters for word in ('-p', parameter))
        start = time.monotonic()
        processes.start('node', 'stt_node', '--ros-args', *words)
        _wait(stop, processes, _PATIENCE, lambda: _ACTIVE in processes.output('node'), every=0.02)
        started = round(time.monotonic() - start, 2)
        processes.start('gaze', 'gaze_player', '--point={},{}'.format(*gaze))
        processes.start('camera', 'camera_player', *source, '--wait-for', '1')
        # Both: each is heard from when DDS has matched it, in any order.
        _wait(stop, processes, _PATIENCE, lambda: receiver.sent and receiver.results)
        for heard, what in (receiver.sent, 'camera info'), (receiver.results, 'result'):
            if not heard:
                words = processes.output('node')
                raise report.BenchError(
                    f'no {what} within {_PATIENCE:g} s; the node said:\n{words}'
                )
        start = time.monotonic()
        samples: list[Sample] = []
        warm = min(_WARM_UP, seconds)
        for due in np.arange(warm, warm + seconds + 1e-9, min(1.0, seconds)):
            _wait(stop, processes, start + due - time.monotonic())
            usage = processes.usage('node')
            samples.append(Sample(time.time_ns(), *usage))
        _wait(stop, processes, _LAST)
    return receiver, started, samples


def _wait(
    stop: Stop,
    processes: Processes,
    seconds: float,
    until: Callable[[], bool] = lambda: False,
    every: float = 0.1,
) -> None:
    """Wait for some time or until something comes true. Raises ``BenchError``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        if not stop.wait_until(min(end, time.monotonic() + every)):
            raise report.BenchError('interrupted')
        processes.check()


def _timely(receiver: Receiver, samples: list[Sample]) -> dict:
    """Return what came of the images that were sent after the warm-up, and when."""
    stamps = _sent(receiver, samples)
    answered = [receiver.results[stamp] for stamp in stamps if stamp in receiver.results]
    if len(answered) < 2:
        raise report.BenchError(f'{len(stamps)} images were sent and {len(answered)} segmented')
    here, at_node = np.array(answered).T * 1e3
    (p50, p95), (node_p50, _) = timing.quantiles(here), timing.quantiles(at_node)
    return {
        'sent': len(stamps),
        'segmented': len(answered),
        'dropped': len(stamps) - len(answered),
        'Hz': round(len(answered) / _seconds(samples), 2),
        'p50': p50,
        'p95': p95,
        'max': round(float(here.max()), 1),
        'p50 when published': node_p50,
    }


def _costs(receiver: Receiver, samples: list[Sample]) -> dict:
    """Return what the node has used of the machine."""
    first, last = samples[0], samples[-1]
    cpu = last.cpu - first.cpu
    later = [sample.rss for sample in samples if sample.time - first.time >= _MINUTE]
    return {
        'CPU ms per image': round(cpu / len(_sent(receiver, samples)) * 1e3, 1),
        'cores': round(cpu / _seconds(samples), 2),
        'after warm-up': round(first.rss, 1),
        'at the end': round(last.rss, 1),
        'growth after the first minute': round(max(later) - later[0], 1) if later[1:] else None,
    }


def _sent(receiver: Receiver, samples: list[Sample]) -> list[int]:
    """Return the stamps of the images sent between the first sample and the last."""
    return [stamp for stamp in receiver.sent if samples[0].time <= stamp < samples[-1].time]


def _seconds(samples: list[Sample]) -> float:
    return (samples[-1].time - samples[0].time) * 1e-9


def _nanoseconds(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
