# SPDX-License-Identifier: Apache-2.0
"""Every device that sends two numbers: its exact message, over DDS, ends at the intended pixel.

Devices that send points or rays in space are in test_node_space.py.
"""

import math
import subprocess
import sys
from contextlib import contextmanager

import pytest
from geometry_msgs.msg import Point, PointStamped
from node_process import stt_node
from ros_helpers import running_bench
from ros_messages import picture

WIDTH, HEIGHT = 400, 300
PIXELS = picture(HEIGHT, WIDTH)
MEANT = (240.0, 90.0)  # the pixel that somebody looks at
NORMALIZED, BOTTOM_LEFT = (0.6, 0.3), (0.6, 0.7)

# device: topic of the node, type, numbers, frame_id, stamp ('image': that of the image, 'now': of
# sending, 0: none), parameters
DEVICES = {
    'rqt_image_view': ('mouse_left', Point, MEANT, None, None, {}),
    'rqt_image_view on the overlay': ('stt/overlay_mouse_left', Point, MEANT, None, None, {}),
    'Isaac ROS point': ('mouse_left', Point, MEANT, None, None, {}),
    'jsk image_view2 screenpoint': ('clicked_point', PointStamped, MEANT, 'camera', 'image', {}),
    'RViz (ROS 1) mouse_click': ('clicked_point', PointStamped, MEANT, 'camera', 'image', {}),
    'Pupil Labs Neon': ('gaze', PointStamped, MEANT, '', 'image', {}),
    'Pupil Labs Neon, older': ('mouse_left', Point, MEANT, None, None, {}),
    'Pupil Invisible': ('gaze', PointStamped, MEANT, 'scene', 'now', {'gaze_space': 'pixel'}),
    'Pupil Core': (
        'gaze', PointStamped, BOTTOM_LEFT, '', 'now', {'gaze_space': 'normalized_bottom_left'},
    ),
    'Tobii Pro Glasses 2': (
        'gaze', PointStamped, NORMALIZED, 'tobii_glasses_frame', 'now',
        {'gaze_space': 'normalized'},
    ),
    'Tobii Pro Glasses 3': ('gaze', PointStamped, NORMALIZED, '', 0, {'gaze_space': 'normalized'}),
    'Meta Aria relay': ('gaze', PointStamped, NORMALIZED, '', 'now', {'gaze_space': 'normalized'}),
}  # fmt: skip


@pytest.fixture(scope='module')
def bench():
    with running_bench() as bench:
        yield bench


@pytest.mark.parametrize('device', DEVICES)
def test_the_pixel_that_is_meant(bench, device):
    topic, kind, (x, y), frame_id, stamp, parameters = DEVICES[device]
    assert not bench.set(**{'gaze_space': 'auto', 'mode': 'on_prompt', **parameters})
    bench.clear()
    header = bench.show(PIXELS)
    del bench.results[:]
    publisher = bench.node.create_publisher(kind, topic, 10)
    bench.until(publisher.get_subscription_count)
    message = Point(x=x, y=y)
    if kind is PointStamped:
        message = PointStamped(point=message)
        times = {'image': None, 'now': bench.now(), 0: 0}
        message.header = bench.header(times[stamp], frame_id)
        if stamp == 'image':
            message.header.stamp = header.stamp
    result = bench.until(lambda: bench.results, again=lambda: publisher.publish(message))[0]
    assert math.dist((result.gaze.x, result.gaze.y), MEANT) <= 2
    assert result.header == header
    bench.node.destroy_publisher(publisher)


@contextmanager
def simulator(bench, folder, *arguments):
    """Run the installed gaze_simulator, looking at one pixel, until the end of the block."""
    points = folder / 'points.csv'
    points.write_text(f'# seconds,x,y\n0,{MEANT[0]},{MEANT[1]}\n')
    command = [
        sys.executable, stt_node().parent / 'gaze_simulator', '--waypoints', points,
        '--size', f'{WIDTH}x{HEIGHT}', '--rate', '100', '--seed', '5', *arguments,
        '--ros-args', '-r', f'__ns:={bench.namespace}',
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize('space', ['pixel', 'normalized', 'normalized_bottom_left'])
def test_the_simulator_in_every_flat_space(bench, tmp_path, space):
    """With a clock that is 30 s behind."""
    assert not bench.set(gaze_space=space, mode='continuous', gaze_time_offset=30.0)
    bench.clear()
    bench.show(PIXELS)
    del bench.results[:]
    with simulator(bench, tmp_path, '--space', space, '--jitter', '0', '--clock-offset', '30'):
        bench.until(lambda: len(bench.results) > 10, again=lambda: bench.image(PIXELS), every=0.05)
    assert not bench.set(gaze_time_offset=0.0)
    for result in bench.results:  # fixations land around it, 8 px of standard deviation
        assert math.dist((result.gaze.x, result.gaze.y), MEANT) < 40


def test_bad_waypoints_end_it_with_the_line(tmp_path):
    points = tmp_path / 'points.csv'
    points.write_text('0,1,2\nsomewhere\n')
    command = [sys.executable, stt_node().parent / 'gaze_simulator', '--waypoints', points]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "line 2: 'somewhere' is not seconds,x,y" in done.stderr
