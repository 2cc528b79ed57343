# SPDX-License-Identifier: Apache-2.0
"""stt_ros estimate-offset, from a bag and live: what it prints, once set, aligns the gaze."""

import math
import re
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from ros_helpers import SECOND, running_bench
from ros_messages import raw_image

pytest.importorskip('rosbags')
from geometry_msgs.msg import PointStamped  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rosbags.rosbag2 import Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

WIDTH, HEIGHT = 160, 120
START = 1_700_000_000 * SECOND
BEHIND = 0.24  # s, of the tracker's clock
SCENE = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2
)


def place(seconds):
    """Return the pixel of the thing that is looked at while the head turns."""
    x = 80 + 24 * math.sin(4.1 * seconds) * math.cos(1.7 * seconds) + 8 * math.sin(9 * seconds)
    return x, 60 + 18 * math.sin(3.3 * seconds + 1)


def header(seconds, start=START):
    made = Header(frame_id='camera')
    made.stamp.sec, made.stamp.nanosec = divmod(start + round(seconds * SECOND), SECOND)
    return made


def image(seconds, start=START):
    x, y = place(seconds)
    shift = np.array([[1, 0, x - 160], [0, 1, y - 120]], float)
    return raw_image(cv2.warpAffine(SCENE, shift, (WIDTH, HEIGHT)), 'rgb8', header(seconds, start))


def gaze(seconds, start=START):
    """Return the sample taken at a time, with the stamp of the tracker's clock."""
    made = PointStamped(header=header(seconds - BEHIND, start))
    made.point.x, made.point.y = place(seconds)
    return made


def events(length):
    """Return (seconds, topic) of images at 25 Hz and a gaze at 100 Hz."""
    images = ((number / 25, '/image') for number in range(int(25 * length)))
    return sorted([*images, *((number / 100, '/gaze') for number in range(int(100 * length)))])


def command(*words):
    return [sys.executable, '-m', 'stt_ros.cli', 'estimate-offset', *map(str, words)]


def printed(text):
    assert '(good)' in text
    return float(re.search(r'^gaze_time_offset: (\S+)$', text, re.MULTILINE)[1])


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    folder, types = tmp_path_factory.mktemp('bags') / 'bag', get_typestore(Stores.ROS2_HUMBLE)
    kinds = {'/image': 'sensor_msgs/msg/Image', '/gaze': 'geometry_msgs/msg/PointStamped'}
    with Writer(folder, version=9) as writer:
        topics = {t: writer.add_connection(t, kind, typestore=types) for t, kind in kinds.items()}
        for seconds, topic in events(8):
            message = image(seconds) if topic == '/image' else gaze(seconds)
            arrival = START + round(seconds * SECOND)
            writer.write(topics[topic], arrival, serialize_message(message))
    return folder


def test_what_a_bag_gives_aligns_the_node(bag):
    done = subprocess.run(command(bag), capture_output=True, text=True, timeout=100)
    offset = printed(done.stdout)
    assert offset == pytest.approx(BEHIND, abs=0.015)
    with running_bench() as bench:
        assert not bench.set(gaze_time_offset=offset)
        publisher = bench.node.create_publisher(PointStamped, 'gaze', 50)
        bench.until(publisher.get_subscription_count)
        bench.take(image(3.8))
        for number in range(30):
            publisher.publish(gaze(3.8 + number / 100))
        shown = image(4.0)
        result = bench.until(
            lambda: next((r for r in bench.results if r.header == shown.header
                          and math.dist((r.gaze.x, r.gaze.y), place(4.0)) < 2), None),
            again=lambda: bench.publish(shown),
        )  # fmt: skip
    assert math.dist((result.gaze.x, result.gaze.y), place(4.0 + BEHIND)) > 2


def test_live(ros_domain):
    with running_bench() as bench:
        publishers = {
            '/image': bench.node.create_publisher(type(image(0)), '/image', 5),
            '/gaze': bench.node.create_publisher(PointStamped, '/gaze', 50),
        }
        process = subprocess.Popen(command('--seconds', 5), stdout=subprocess.PIPE, text=True)
        bench.until(lambda: all(p.get_subscription_count() for p in publishers.values()))
        began, start = time.monotonic(), bench.now()
        for seconds, topic in events(30):
            while (left := began + seconds - time.monotonic()) > 0:
                bench.spin(left)
            if process.poll() is not None:
                break
            message = image(seconds, start) if topic == '/image' else gaze(seconds, start)
            publishers[topic].publish(message)
        assert printed(process.communicate(timeout=30)[0]) == pytest.approx(BEHIND, abs=0.03)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--gaze', '/eyes'], 'has no /eyes'),
        (['--image', '/camera', '--gaze', '/eyes'], 'has no /camera and no /eyes'),
    ],
)
def test_topics_that_a_bag_lacks(bag, arguments, words):
    done = subprocess.run(command(bag, *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and words in done.stderr


def test_what_is_no_bag_or_a_damaged_one_is_said(bag, tmp_path):
    from stt_ros.ros.estimate_offset import OffsetError, from_bag

    for content in (None, 'rosbag2_bagfile_information: [1', 'a: 1'):
        folder = tmp_path / 'damaged'
        folder.mkdir(exist_ok=True)
        if content:
            (folder / 'metadata.yaml').write_text(content)
        with pytest.raises(OffsetError, match=f'cannot read bag {folder}'):
            list(from_bag(folder, '/gaze', '/image'))


def test_an_image_that_cannot_be_read_is_said():
    from stt_ros.ros.estimate_offset import OffsetError, offset_of

    broken = image(0)
    broken.encoding = 'rainbow'
    with pytest.raises(OffsetError, match='rainbow'):
        offset_of(iter([(0, gaze(0)), (1, broken)]), 'pixel', 1.0)
