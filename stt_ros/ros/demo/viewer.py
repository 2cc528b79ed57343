# SPDX-License-Identifier: Apache-2.0
"""demo_viewer: shows in the terminal how the node is doing, and writes what it saw when it ends.

Subscribes to ``image`` (or ``image/compressed``), ``stt/segmentation``, ``stt/segmentations`` and,
for a comparison with human masks, ``ground_truth/mask/compressed``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from stt_ros import pictures
from stt_ros.foveation import FoveationPattern
from stt_ros.msg import Segmentation, SegmentationArray
from stt_ros.ros.demo import report
from stt_ros.ros.demo.record import Progress, Record
from stt_ros.ros.demo.running import BEST_EFFORT, RELIABLE, Stop, spinning
from stt_ros.ros.demo.shots import TRANSPORTS, InputError
from stt_ros.ros.demo.summary import as_text, summarise


class Viewer(Node):
    """Keeps what it receives in ``record``; ``images`` is how it listens to the camera."""

    def __init__(self, transport: str, images: QoSProfile = BEST_EFFORT) -> None:
        super().__init__('viewer')
        self.record = Record()
        kind, name = Image, 'image'
        if transport == 'compressed':
            kind, name = CompressedImage, f'{self.resolve_topic_name("image")}/compressed'
        self.create_subscription(kind, name, self.record.add_image, images)
        self.create_subscription(
            CompressedImage, 'ground_truth/mask/compressed', self.record.add_mask, images
        )
        self.create_subscription(Segmentation, 'stt/segmentation', self._result, RELIABLE)
        self.create_subscription(SegmentationArray, 'stt/segmentations', self._answer, RELIABLE)

    def _result(self, message: Segmentation) -> None:
        self.record.add_result(message, self._now())

    def _answer(self, message: SegmentationArray) -> None:
        self.record.add_answer(message, self._now())

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9


class StatusLine:
    """One line that changes twice a second; where there is no terminal, a new one every 3 s."""

    def __init__(self, stream=None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._changes = self._stream.isatty()
        self._next = 0.0
        self._width = 0

    def show(self, text: str, now: bool = False) -> None:
        """Show a text, unless the last one is too recent."""
        if time.monotonic() < self._next and not now:
            return
        self._next = time.monotonic() + (0.5 if self._changes else 3.0)
        if self._changes:
            self._stream.write(f'\r{text:<{self._width}}')
            self._width = len(text)
        else:
            self._stream.write(f'{text}\n')
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._changes and self._width:
            self._stream.write('\n')
            self._width = 0
            self._stream.flush()


def status(progress: Progress) -> str:
    """Write how the run stands, in one line."""

    def known(value: float, form: str) -> str:
        return format(value, form) if math.isfinite(value) else '-'

    return (
        f'in {progress.images}  out {progress.results}  |  {known(progress.rate, ".1f")} Hz  |  '
        f'latency p50 {known(progress.p50 * 1e3, ".0f")} ms, p95 {known(progress.p95 * 1e3, ".0f")}'
        f' ms  |  predicted IoU {known(progress.predicted_iou, ".2f")}'
    )


def write_all(
    folder: Path,
    record: Record,
    camera: dict | None,
    line: StatusLine,
    weights: str = 'default',
) -> dict:
    """Write video, contact sheet and summary.json into a folder; return the figures."""
    moments = record.moments()
    line.show('computing the figures', now=True)
    figures = summarise(moments, camera)
    files, pattern = {}, FoveationPattern.standard()
    if weights in ('default', 'stt-s'):
        pattern = FoveationPattern.of_default_model()
    steps = partial(report.steps, pattern=pattern)
    total, written = sum(moment.image is not None for _, moment in moments), 0

    def tick() -> None:
        nonlocal written
        written += 1
        line.show(f'writing the video: {written} of {total} pictures')

    video = folder / 'overlay.mp4'
    if report.write_video(video, moments, tick):
        files['video'] = str(video)
    for name, make in (('contact_sheet', report.contact_sheet), ('steps', steps)):
        picture = make(moments)
        if picture is not None:
            files[name] = str(folder / f'{name}.png')
            pictures.write(folder / f'{name}.png', picture)
    figures['files'] = files
    path = folder / 'summary.json'
    path.write_text(json.dumps(figures, indent=2) + '\n')
    line.end()
    print(as_text(figures))
    print('files    ' + '\n         '.join([*files.values(), str(path)]))
    return figures


def make_folder(folder: Path) -> None:
    """Make the folder for the results. Raises ``InputError`` when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / '.writable'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f'cannot write into {folder}: {error.strerror}') from error


def main(argv: Sequence[str] | None = None) -> int:
    """Watch until a signal or the end of the given time, then write; return the exit code."""
    argv = list(sys.argv if argv is None else argv)
    parser = argparse.ArgumentParser(prog='demo_viewer', description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('stt_demo'), help='default: stt_demo')
    parser.add_argument('--transport', choices=TRANSPORTS, default='raw', help='default: raw')
    parser.add_argument('--seconds', type=float, default=math.inf, help='default: until Ctrl-C')
    arguments = parser.parse_args(remove_ros_args(argv)[1:])
    stop, line = Stop(), StatusLine()
    try:
        make_folder(arguments.out)
        with stop.on_signals(), spinning(lambda: Viewer(arguments.transport), argv) as viewer:
            end = time.monotonic() + arguments.seconds
            while time.monotonic() < end and stop.wait_until(time.monotonic() + 0.1):
                line.show(status(viewer.record.progress()))
        line.end()
        write_all(arguments.out, viewer.record, None, line)
    except InputError as error:
        print(f'demo_viewer: error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
