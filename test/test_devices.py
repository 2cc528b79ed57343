# SPDX-License-Identifier: Apache-2.0
"""Every device that sends two numbers: its exact message, over DDS, ends at the intended pixel.

Devices that send points or rays in space are in test_node_space.py.
"""

import math
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped
from node_process import stt_node
from ros_helpers import SECOND, running_bench
from ros_messages import picture
from sensor_msgs.msg import CameraInfo

WIDTH, HEIGHT = 400, 300
PIXELS = picture(HEIGHT, WIDTH)
MEANT = (240.0, 90.0)  # the pixel that somebody looks at
NORMALIZED, BOTTOM_LEFT = (0.6, 0.3), (0.6, 0.7)

# device: topic of the node, type, numbers, frame_id, stamp ('image': that of the image, 'now': a
# little later, 0: none), parameters
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
    taken = bench.now()
    header = bench.show(PIXELS, taken)
    del bench.results[:]
    publisher = bench.node.create_publisher(kind, topic, 10)
    bench.until(publisher.get_subscription_count)
    message = Point(x=x, y=y)
    if kind is PointStamped:
        message = PointStamped(point=message)
        times = {'image': taken, 'now': taken + SECOND // 50, 0: 0}
        message.header = bench.header(times[stamp], frame_id)
    result = bench.until(lambda: bench.results, again=lambda: publisher.publish(message))[0]
    assert math.dist((result.gaze.x, result.gaze.y), MEANT) <= 2
    assert result.header == header
    bench.node.destroy_publisher(publisher)


STILL = ('--jitter', '0', '--spread', '0', '--blinks', '0')  # an eye without habits


@contextmanager
def simulator(bench, folder, *arguments, masks=False):
    """Run the installed gaze_simulator, looking at one pixel, until the end of the block."""
    points = folder / 'points.csv'
    points.write_text(f'# seconds,x,y\n0,{MEANT[0]},{MEANT[1]}\n')
    command = [
        sys.executable, stt_node().parent / 'gaze_simulator',
        *(['--masks', folder] if masks else ['--waypoints', points]),
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
    with simulator(bench, tmp_path, '--space', space, *STILL, '--clock-offset', '30'):
        bench.until(lambda: len(bench.results) > 10, again=lambda: bench.image(PIXELS), every=0.05)
    assert not bench.set(gaze_time_offset=0.0)
    for result in bench.results:
        assert math.dist((result.gaze.x, result.gaze.y), MEANT) <= 2


# What publishes it, and what the node has to know: (arguments of the simulator, parameters).
IN_SPACE = {
    'camera_3d': (['--space', 'camera_3d'], {'gaze_space': 'camera_3d'}),
    'world_3d': (['--space', 'world_3d'], {'gaze_space': 'world_3d'}),
    'ray': (['--space', 'ray'], {}),
    "Unity's world": (
        ['--space', 'world_3d', '--handedness', 'left_unity'],
        {'gaze_space': 'world_3d', 'handedness': 'left_unity'},
    ),
    "Unity's ray": (
        ['--space', 'ray', '--handedness', 'left_unity'], {'handedness': 'left_unity'},
    ),
    "Unity's camera": (
        ['--space', 'camera_3d', '--handedness', 'left_unity'],
        {'gaze_space': 'camera_3d', 'handedness': 'left_unity'},
    ),
}  # fmt: skip
MOUNT = '0.1 0.2 0.9 -0.5 0.5 -0.5 0.5 base_link camera'


@pytest.mark.parametrize('case', IN_SPACE)
def test_the_simulator_in_space(bench, tmp_path, case):
    arguments, parameters = IN_SPACE[case]
    ray, focal = 'ray' in case, WIDTH / 2 / math.tan(math.radians(60) / 2)
    # A ray starts where its frame is, at the camera.
    mount = MOUNT.replace('0.1 0.2 0.9', '0 0 0') if ray else MOUNT
    assert not bench.set(mode='continuous', static_transform=mount, **parameters)
    bench.clear()
    bench.show(PIXELS)
    del bench.results[:]
    infos = bench.node.create_publisher(CameraInfo, 'camera_info', 10)
    k = [focal, 0.0, (WIDTH - 1) / 2, 0.0, focal, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    info = CameraInfo(width=WIDTH, height=HEIGHT, k=k, distortion_model='plumb_bob')
    info.d, info.header.frame_id = [0.0] * 5, 'camera'

    def drive():
        infos.publish(info)
        bench.image(PIXELS)

    arguments = [*arguments, '--static-transform', mount, '--fov', '60']
    with simulator(bench, tmp_path, *arguments, *STILL):
        bench.until(lambda: len(bench.results) > 5, again=drive, every=0.05)
    bench.node.destroy_publisher(infos)
    assert not bench.set(static_transform='', gaze_space='auto', handedness='right')
    for result in bench.results:
        assert math.dist((result.gaze.x, result.gaze.y), MEANT) <= 2


def test_the_simulator_looks_at_the_masks_of_a_folder(bench, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (240, 90), 30, 255, -1)
    cv2.imwrite(str(tmp_path / '0.png'), mask)
    assert not bench.set(gaze_space='pixel', mode='continuous')
    bench.clear()
    bench.show(PIXELS)
    del bench.results[:]
    with simulator(bench, tmp_path, *STILL, masks=True):
        again = partial(bench.image, PIXELS)
        bench.until(lambda: len(bench.results) > 5, again=again, every=0.05)
    for result in bench.results:
        assert math.dist((result.gaze.x, result.gaze.y), MEANT) <= 2


def test_masks_that_there_are_none_of_end_it(tmp_path):
    command = [sys.executable, stt_node().parent / 'gaze_simulator', '--masks', tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and 'there are no PNG masks in it' in done.stderr


def test_bad_waypoints_end_it_with_the_line(tmp_path):
    points = tmp_path / 'points.csv'
    points.write_text('0,1,2\nsomewhere\n')
    command = [sys.executable, stt_node().parent / 'gaze_simulator', '--waypoints', points]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "line 2: 'somewhere' is not seconds,x,y" in done.stderr
