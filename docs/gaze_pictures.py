# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/gaze.md: the running node, and gaze_simulator as its eye tracker.

``python docs/gaze_pictures.py FRAMES MASKS``, folders of JPEG frames and of their PNG masks (those
in the docs are DAVIS' dog), with a Python that has ROS 2 and stt_ros.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

import stt_ros
from stt_ros.gaze.pairing import SECOND
from stt_ros.gaze.simulation import EyeSimulator, waypoints
from stt_ros.gaze.stream import GazeStream
from stt_ros.ros.gaze_simulator import middle

IMAGES = Path(__file__).resolve().parent / 'images'
WIDTH, RATE, SHOWN = 427, 5.0, (12, 30, 48)  # px of each picture; frames a second; of the clip
GREEN, RED, WHITE = (60, 220, 60), (60, 60, 235), (255, 255, 255)


def executable(name: str) -> str:
    """Return the path of an installed executable of the package."""
    folders = Path(stt_ros.__file__).parents
    return str(next(f / 'lib/stt_ros' / name for f in folders if (f / 'lib/stt_ros').is_dir()))


def overlays(frames: list[Path], masks: list[Path]) -> list[np.ndarray]:
    """Play a clip to the node, with a simulated eye on it; return some overlays (BGR)."""
    rclpy.init()
    node = rclpy.create_node('pictures')
    camera = node.create_publisher(CompressedImage, 'image/compressed', qos_profile_sensor_data)
    truth = node.create_publisher(
        CompressedImage, 'ground_truth/mask/compressed', qos_profile_sensor_data
    )
    drawn: dict[int, np.ndarray] = {}

    def keep(msg: Image) -> None:
        pixels = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)
        drawn[int(msg.header.frame_id)] = pixels[..., ::-1]

    node.create_subscription(Image, 'stt/overlay', keep, 5)
    node_arguments = ['--ros-args', '-p', 'image_transport:=compressed']
    processes = [
        subprocess.Popen([sys.executable, executable('stt_node'), *node_arguments]),
        subprocess.Popen([sys.executable, executable('gaze_simulator'), '--seed', '3']),
    ]
    try:
        while not set(SHOWN) <= set(drawn):
            for number, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
                if number in drawn or min(abs(number - n) for n in SHOWN) > 2:
                    continue
                for publisher, path, kind in ((truth, mask, 'png'), (camera, frame, 'jpeg')):
                    msg = CompressedImage(format=kind, data=path.read_bytes())
                    msg.header.stamp = node.get_clock().now().to_msg()
                    msg.header.frame_id = str(number)
                    publisher.publish(msg)
                end = time.monotonic() + 1 / RATE
                while (left := end - time.monotonic()) > 0:
                    rclpy.spin_once(node, timeout_sec=left)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        rclpy.shutdown()
    return [drawn[number] for number in SHOWN]


def scan_path(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw what the simulated eye does in two seconds, and the fixations found in it, in BGR."""
    parameters = {
        'gaze_mode': 'fixations_only', 'gaze_smoothing': 0.0, 'blink_hold': 0.4,
        'fixation_method': 'ivt', 'fixation_min': 0.1, 'fixation_velocity_px': 450.0,
        'fixation_dispersion_px': 20.0,
    }  # fmt: skip
    x, y = middle(mask)
    eye = EyeSimulator(waypoints([(0, x, y), (0.5, x - 150, y - 90), (1, x + 160, y + 60),
                                  (1.5, x + 60, y - 80)]), seed=2)  # fmt: skip
    stream, picture, found, last = GazeStream(parameters), frame // 2, [], None
    for number in range(400):
        sample = eye.sample(number / 200)
        here = round(sample.x), round(sample.y)
        cv2.line(picture, last or here, here, GREEN, 1, cv2.LINE_AA)
        cv2.circle(picture, here, 2, GREEN, -1, cv2.LINE_AA)
        taken = stream.add(number * SECOND // 200, sample.x, sample.y)
        if taken is not None and taken.prompt is not None:
            found.append(taken.prompt)
        last = here
    for number, fixation in enumerate(found, 1):
        at = round(fixation.x), round(fixation.y)
        radius = round(40 * (fixation.duration / SECOND) ** 0.5)
        cv2.circle(picture, at, radius, RED, 2, cv2.LINE_AA)
        text = (at[0] + radius, at[1] - radius)
        cv2.putText(picture, str(number), text, 0, 0.8, WHITE, 2, cv2.LINE_AA)
    return picture


def main() -> int:
    """Write both pictures; returns the exit code."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    frames, masks = sorted(Path(sys.argv[1]).glob('*.jpg')), sorted(Path(sys.argv[2]).glob('*.png'))
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 80]
    middle_one = SHOWN[1]
    picture = scan_path(cv2.imread(str(frames[middle_one])), cv2.imread(str(masks[middle_one]), 0))
    cv2.imwrite(str(IMAGES / 'gaze_fixations.jpg'), picture, jpeg)
    small = [
        cv2.resize(p, (WIDTH, p.shape[0] * WIDTH // p.shape[1]), interpolation=cv2.INTER_AREA)
        for p in overlays(frames, masks)
    ]
    cv2.imwrite(str(IMAGES / 'gaze_simulator.jpg'), np.hstack(small), jpeg)
    return 0


if __name__ == '__main__':
    sys.exit(main())
