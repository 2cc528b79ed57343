# SPDX-License-Identifier: Apache-2.0
"""What comes out in space: points of the object, their middle, markers; and what that takes."""

import numpy as np
import pytest
import realsense
from geometry_msgs.msg import PointStamped
from realsense import FRAME, SIZE, point_at
from robot import BOX, PERSON, PIXELS, Robot
from ros_helpers import running_bench
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray


@pytest.fixture(autouse=True)
def fresh(robot):
    robot.fresh()


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_points_of_the_object(robot, encoding, monkeypatch):
    """The mask's pixels in metres with their colours, for the image's header; and their middle."""
    monkeypatch.setattr(Robot, 'ENCODING', encoding)
    robot.with_depth()
    with robot.bench.watching(PointCloud2, 'stt/object_points') as [clouds]:
        with robot.bench.watching(PointStamped, 'stt/object_centroid') as [middles]:
            robot.bench.until(lambda: robot.bench.node.count_subscribers('stt/object_points'))
            header = robot.image_header

            def arrived():
                return [c for c in clouds if c.header == header] and [
                    m for m in middles if m.header == header
                ]

            robot.bench.until(
                arrived, again=lambda: (robot.drive(), robot.bench.click(*PERSON)), every=0.3
            )
    [cloud, *_] = [c for c in clouds if c.header == header]
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('rgb', 12, 7)
    ]  # fmt: skip
    values = np.frombuffer(cloud.data, np.float32).reshape(-1, 4)
    assert cloud.width == len(values) > 500 and cloud.height == 1
    lens = realsense.camera()
    pixels, _ = lens.project(values[:, :3].astype(float), SIZE)
    columns, rows = np.rint(pixels).astype(int).T
    assert np.abs(pixels - np.column_stack([columns, rows])).max() < 0.01
    assert np.allclose(values[:, 2], realsense.depth()[rows, columns], atol=1e-5)
    mask = robot.bench.results[-1].hypotheses[0]
    inside = np.zeros(SIZE, bool)
    crop = np.frombuffer(mask.mask.data, np.uint8).reshape(mask.mask.height, mask.mask.width)
    box = mask.roi
    inside[box.y_offset :, box.x_offset :][: box.height, : box.width] = crop > 0
    assert inside[rows, columns].all()
    red, green, blue = PIXELS[rows, columns].astype(np.uint32).T
    assert np.array_equal(values[:, 3].copy().view(np.uint32), red << 16 | green << 8 | blue)
    [middle, *_] = [m for m in middles if m.header == header]
    found = (middle.point.x, middle.point.y, middle.point.z)
    assert np.allclose(found, np.median(values[:, :3], axis=0), atol=1e-5)


def test_depth_that_comes_after_the_result(robot):
    """As aligned depth does, which takes longer to make than a mask on a GPU."""
    robot.with_depth()
    with robot.bench.watching(PointCloud2, 'stt/object_points') as [clouds]:
        robot.bench.until(
            lambda: clouds, again=lambda: (robot.drive(), robot.bench.click(*PERSON)), every=0.3
        )
        robot.fresh()
        robot.with_depth()
        robot.bench.until(lambda: robot.depth.get_subscription_count())
        result = robot.answer(lambda: robot.bench.click(*PERSON), drive=lambda: None)
        assert result.header == robot.image_header
        assert result.header not in [cloud.header for cloud in clouds]
        robot.drive()
        robot.bench.result_of(robot.image_header, clouds)


def test_markers_show_the_ray_and_where_it_ends(robot):
    robot.with_depth()
    direction = point_at(*BOX) - (0.2, 0, 0)
    robot.bench.set(static_transform=f'0.2 0 0 0 0 0 1 {FRAME} eyes')
    with robot.bench.watching(MarkerArray, 'stt/markers') as [arrays]:
        robot.bench.until(
            lambda: arrays,
            again=lambda: (robot.drive(), robot.towards('eyes', direction)), every=0.3,
        )  # fmt: skip
        ray, hit = arrays[-1].markers
        assert (ray.type, hit.type) == (Marker.LINE_STRIP, Marker.SPHERE)
        assert ray.header == hit.header == robot.image_header
        start, end = ([p.x, p.y, p.z] for p in ray.points)
        assert np.allclose(start, (0.2, 0, 0)) and np.allclose(end, point_at(*BOX), atol=0.03)
        ball = hit.pose.position
        assert np.allclose((ball.x, ball.y, ball.z), end)

        def from_the_camera():
            rays = [[(p.x, p.y, p.z) for p in array.markers[0].points] for array in arrays]
            return [end for start, end in rays if start == (0, 0, 0)]

        # A click in the picture has its line of sight, too.
        [end, *_] = robot.bench.until(from_the_camera, again=lambda: robot.bench.click(*PERSON))
        assert np.allclose(end, point_at(*PERSON), atol=0.01)
        robot.bench.clear()
        robot.bench.until(lambda: arrays[-1].markers[0].action == Marker.DELETEALL)


def test_nothing_is_subscribed_to_that_is_not_needed():
    with running_bench() as bench:
        bench.show(PIXELS)
        bench.look_at(*PERSON)
        assert not bench.node.count_subscribers('camera_info')
        assert not bench.node.count_subscribers('depth')
        with bench.watching(PointStamped, 'stt/object_centroid'):
            bench.until(
                lambda: (
                    bench.node.count_subscribers('depth')
                    and bench.node.count_subscribers('camera_info')
                ),
                again=lambda: bench.image(PIXELS),
            )
        bench.until(
            lambda: not bench.node.count_subscribers('depth'), again=lambda: bench.image(PIXELS)
        )
