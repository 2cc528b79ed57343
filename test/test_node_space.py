# SPDX-License-Identifier: Apache-2.0
"""Points and rays in space over DDS, in the forms that devices publish, before a real camera."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import realsense
from realsense import BASE, FRAME, SIZE, point_at, to_base, to_unity
from robot import PERSON, TARGETS, WALL, Robot, close, turn


@pytest.fixture(autouse=True)
def fresh(robot):
    robot.fresh()


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize('frame', [FRAME, BASE])
def test_rviz_click_on_a_surface(robot, frame, target):
    """The tool publishes metres in the fixed frame, whatever that is."""
    point = point_at(*target)
    xyz = point if frame == FRAME else to_base(point)
    assert close(robot.pixel(lambda: robot.point(robot.click, frame, xyz)), target)


@pytest.mark.parametrize('target', TARGETS)
def test_point_of_a_headset_in_unitys_world(robot, target):
    """HoloLens' hit_object_position: metres, left-handed, in a frame fixed to the world."""
    robot.bench.set(gaze_space='world_3d', handedness='left_unity')
    xyz = to_unity(to_base(point_at(*target)))
    assert close(robot.pixel(lambda: robot.point(robot.gaze, BASE, xyz)), target)


def test_point_in_the_cameras_own_axes(robot):
    """As glasses say it that are the camera, whatever their frame_id."""
    robot.bench.set(gaze_space='camera_3d')
    point = point_at(*PERSON)
    assert close(robot.pixel(lambda: robot.point(robot.gaze, 'tobii_glasses', point)), PERSON)


HEAD = np.array([-0.35, 0.3, 1.5])  # of a person who stands beside the robot, in its frame


@pytest.mark.parametrize('target', TARGETS)
def test_pose_of_a_headset_in_unitys_world(robot, target):
    """HoloLens' eye gaze: it looks along its z axis; what it meets first is in the depth image."""
    robot.with_depth()
    robot.bench.set(handedness='left_unity')
    aimed = to_unity(to_base(point_at(*target)) - HEAD)
    quaternion = turn((0, 0, 1), aimed)
    assert close(robot.pixel(lambda: robot.ray(BASE, to_unity(HEAD), quaternion)), target)


@pytest.mark.parametrize('target', TARGETS)
def test_pose_of_a_right_handed_tracker(robot, target):
    """It looks along its x axis."""
    robot.with_depth()
    quaternion = turn((1, 0, 0), to_base(point_at(*target)) - HEAD)
    assert close(robot.pixel(lambda: robot.ray(BASE, HEAD, quaternion)), target)


@pytest.mark.parametrize('frame', [FRAME, 'eyes'])
@pytest.mark.parametrize('target', TARGETS)
def test_direction_from_the_origin_of_a_frame(robot, frame, target):
    """Of the camera's own, where no depth is needed, and of a tracker's mounted 0.1 m beside it."""
    direction = point_at(*target)
    if frame == 'eyes':
        robot.with_depth()
        robot.bench.set(static_transform=f'0.1 0 0 0 0 0 1 {FRAME} eyes')
        direction = direction - (0.1, 0, 0)
    assert close(robot.pixel(lambda: robot.towards(frame, 3 * direction)), target)


def test_direction_in_a_point_message(robot):
    """As simple bridges send it; the space has to be said."""
    robot.bench.set(gaze_space='ray')
    robot.with_depth()
    robot.bench.set(static_transform=f'{realsense.STATIC_TRANSFORM}; 0 0 0 0 0 0 1 {FRAME} eyes')
    assert close(robot.pixel(lambda: robot.point(robot.gaze, 'eyes', point_at(*WALL))), WALL)


def test_ray_without_depth_ends_after_ray_depth(robot):
    """The pixel depends on where it ends, because it does not start at the camera."""
    direction = np.array([0.1, -0.2, 1.0])
    direction /= np.linalg.norm(direction)
    origin = np.array([-0.5, 0.1, -0.3])
    quaternion = turn((1, 0, 0), direction)
    pixels = []
    for depth in (1.5, 4.0):
        robot.bench.set(ray_depth=depth)
        x, y, z = origin + depth * direction
        pixels.append((realsense.K[0] * x / z + realsense.K[2],
                       realsense.K[4] * y / z + realsense.K[5]))  # fmt: skip
        found = robot.pixel(lambda: robot.ray(FRAME, origin, quaternion))
        assert close(found, pixels[-1])
        del robot.bench.results[:]
        robot.show()
    assert np.abs(np.subtract(*pixels)).max() > 20


def test_rectified_images_are_those_of_p(robot):
    """A camera whose P differs from its K: the parameter decides."""
    p = [400.0, 0.0, 420.0, 0.0, 0.0, 400.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    robot.changed.update(p=p)
    point = point_at(*PERSON)
    x, y, z = point
    for rectified in (False, True):
        robot.bench.set(image_rectified=rectified)
        target = (400 * x / z + 420, 400 * y / z + 240) if rectified else PERSON
        robot.comes(lambda: robot.point(robot.click, FRAME, point), target)


def test_what_is_taken_for_what_is_said_once_per_source(robot):
    log = robot.bench.process
    for _ in range(3):
        robot.answer(lambda: robot.point(robot.click, FRAME, point_at(*PERSON)))
    words = f"clicked_point: messages with frame_id '{FRAME}'"
    said = [text for text in log.lines if words in text]
    assert len(said) == 1
    assert 'are taken for points in metres; if they are something else, set clicked_' in said[0]


def unknown_frame(robot):
    robot.point(robot.click, 'map', (1, 1, 1))


REFUSED = {
    'behind': (lambda robot: robot.point(robot.click, FRAME, (0.1, 0, -1)),
               'point (0.100, 0.000, -1.000) m is behind the camera (z <= 0)'),
    'outside': (lambda robot: robot.point(robot.click, FRAME, (2, 0, 1)),
                'outside the image of 848 x 480 pixels'),
    'unknown frame': (unknown_frame, f"no transform from frame 'map' to the camera's '{FRAME}'"),
    'no frame': (lambda robot: robot.towards('', (0, 0, 1)), 'but frame_id is empty'),
    'no direction': (lambda robot: robot.towards(FRAME, (0, 0, 0)),
                     'the direction of the ray is (0, 0, 0)'),
    'no rotation': (lambda robot: robot.ray(FRAME, (0, 0, 0), (0, 0, 0, 0)),
                    'orientation (0, 0, 0, 0) is no rotation'),
    'not finite': (lambda robot: robot.towards(FRAME, (0, float('nan'), 1)),
                   'direction (0, nan, 1) is not finite'),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_used_is_explained(robot, name):
    publish, words = REFUSED[name]
    robot.refused(lambda: publish(robot), words)
    assert not robot.bench.results


@pytest.mark.skipif(find_spec('tf2_ros') is not None, reason='tf2_ros is installed here')
def test_without_tf2_the_error_says_so(robot):
    words = 'tf2_ros cannot be imported here (No module named'
    robot.point(robot.click, 'odom', (1, 1, 1))
    robot.bench.process.wait_for_log(
        r"'odom'.*static_transform gives: 'base_link' to .*tf2_ros cannot be imported here \(No mod"
    )
    assert words in robot.bench.process.log()


def test_calibration_of_another_size(robot):
    robot.changed.update(width=640, height=480)
    robot.refused(
        lambda: robot.point(robot.click, FRAME, point_at(*PERSON)),
        'camera_info describes images of 640 x 480 pixels, this one has 848 x 480',
    )


def test_calibration_of_twice_the_size(robot):
    robot.changed.update(
        width=2 * SIZE[1], height=2 * SIZE[0], k=[2 * v for v in realsense.K[:8]] + [1.0]
    )
    robot.comes(lambda: robot.point(robot.click, FRAME, point_at(*PERSON)), PERSON)


def test_depth_that_is_none(robot, monkeypatch):
    monkeypatch.setattr(Robot, 'ENCODING', 'mono8')
    robot.with_depth()
    robot.refused(
        lambda: robot.towards(FRAME, (0, 0, 1)),
        "depth image has encoding 'mono8'; allowed: 16UC1 (millimetres) and 32FC1 (metres)",
    )


def test_images_without_a_stamp_go_with_the_latest_depth(robot):
    robot.with_depth()
    robot.show(stamp=0)

    def drive():
        robot.drive(depth_stamp=robot.bench.now())

    publish = partial(robot.towards, FRAME, point_at(*WALL))
    result = robot.answer(publish, drive=lambda: (drive(), publish()))
    assert close((result.gaze.x, result.gaze.y), WALL)


def seen_from(offset):
    """Return a static_transform of a camera moved by ``offset`` metres to its right."""
    x, y, z, *rest = realsense.STATIC_TRANSFORM.split()
    x, y, z = np.add(np.array([x, y, z], float), to_base((offset, 0, 0)) - to_base((0, 0, 0)))
    return ' '.join([f'{x} {y} {z}', *rest])


@pytest.mark.parametrize('aim', ['point', 'ray'])
def test_a_click_in_space_stays_on_its_thing_when_the_camera_moves(robot, aim):
    robot.bench.set(mode='continuous', clicked_point_space='ray' if aim == 'ray' else 'auto')
    point = point_at(*PERSON)
    if aim == 'ray':  # from the robot's base, three numbers are a direction
        robot.bench.set(ray_depth=float(np.linalg.norm(to_base(point))))
    assert close(robot.pixel(lambda: robot.point(robot.click, BASE, to_base(point))), PERSON)
    [clicked] = {result.gaze_id for result in robot.bench.results}
    x, y, z = point - (0.2, 0, 0)
    target = (realsense.K[0] * x / z + realsense.K[2], realsense.K[4] * y / z + realsense.K[5])
    assert not close(target, PERSON)
    moves = [(0.2, target), (0.0, PERSON)]
    for offset, expected in moves:
        robot.bench.set(static_transform=seen_from(offset))
        del robot.bench.results[:]
        robot.bench.until(
            lambda: robot.bench.results and robot.bench.results[-1], again=robot.show, every=0.2
        )
        robot.bench.until(
            lambda expected=expected: close(
                (robot.bench.results[-1].gaze.x, robot.bench.results[-1].gaze.y), expected
            ),
            again=robot.show, every=0.2,
        )  # fmt: skip
    assert robot.bench.results[-1].gaze_id == clicked


def test_a_click_in_space_comes_back_into_view(robot):
    robot.bench.set(mode='continuous')
    point = point_at(*PERSON)
    robot.comes(lambda: robot.point(robot.click, BASE, to_base(point)), PERSON)
    robot.bench.set(static_transform=seen_from(50.0))
    robot.refused(robot.show, 'outside the image of 848 x 480 pixels')
    del robot.bench.results[:]
    robot.bench.set(static_transform=seen_from(0.0))
    robot.bench.until(lambda: robot.bench.results, again=robot.show, every=0.2)
    assert close((robot.bench.results[-1].gaze.x, robot.bench.results[-1].gaze.y), PERSON)
