# SPDX-License-Identifier: Apache-2.0
"""The points of a mask in a depth image, and the cloud that they are sent as."""

from types import SimpleNamespace

import numpy as np
import pytest
import realsense

from stt_ros.gaze import surface
from stt_ros.gaze.spaces import GazeError
from stt_ros.gaze.surface import fit

SIZE = (60, 80)


def scene():
    """Return a depth (H, W): a box at 1 m before a wall at 3 m, with points in the air between."""
    depth = np.full(SIZE, 3.0, np.float32)
    depth[20:40, 30:50] = 1.0
    depth[20:40, 29] = depth[20:40, 50] = 1.9  # as stereo cameras see borders
    return depth


def object_pixels(mask, corner, depth):
    """Return which pixels of a mask are kept, (h, w) bool."""
    index = surface.object_pixels(mask, corner, depth)
    assert np.all(np.diff(index) > 0)
    kept = np.zeros(depth.size, bool)
    kept[index] = True
    (x, y), (height, width) = corner, mask.shape
    return kept.reshape(depth.shape)[y : y + height, x : x + width]


def test_points_in_the_air_are_left_out():
    mask = np.ones((20, 22), bool)  # the box and what flies beside it
    kept = object_pixels(mask, (29, 20), scene())
    z = scene()[20:40, 29:51][kept]
    assert set(np.unique(z)) == {1.0}
    assert kept.sum() >= 16 * 18


def test_jumps_inside_the_mask_are_the_things_own():
    depth = scene()
    depth[28:32, 38:42] = 0.7  # a knob on the box
    kept = object_pixels(np.ones((20, 20), bool), (30, 20), depth)
    assert kept[8:12, 8:12].all() and kept[5:15, 5:15].all()


def test_pixels_without_depth_are_left_out():
    depth = scene()
    depth[25:28, 35:38] = 0
    kept = object_pixels(np.ones((20, 20), bool), (30, 20), depth)
    assert not kept[5:8, 5:8].any() and kept[9:, 9:15].any()


@pytest.mark.parametrize('corner', [(0, 0), (60, 0), (0, 50), (60, 50)])
def test_masks_at_the_edge_of_the_image(corner):
    flat = np.full(SIZE, 2.0, np.float32)
    assert object_pixels(np.ones((10, 20), bool), corner, flat).all()


def test_an_empty_mask_has_no_points():
    kept = object_pixels(np.zeros((0, 0), bool), (0, 0), scene())
    assert kept.shape == (0, 0)


def test_points_are_those_of_the_camera():
    lens, depth = realsense.camera(), realsense.depth()
    corner, mask = (500, 250), np.ones((100, 80), bool)
    kept = object_pixels(mask, corner, depth)
    index = surface.object_pixels(mask, corner, depth)
    points = lens.to_points(depth.ravel()[index], index, realsense.SIZE)
    assert len(points) == kept.sum() > 7000
    rows, columns = np.nonzero(kept)
    for i in (0, len(points) // 2, -1):
        expected = realsense.point_at(500 + columns[i], 250 + rows[i])
        assert np.allclose(points[i], expected, atol=1e-4)


def test_depth_of_another_size():
    depth = scene()
    assert fit(depth, SIZE) is depth
    assert fit(depth, (120, 160))[50, 70] == 1.0
    with pytest.raises(GazeError, match='80 x 60 pixels, the image 80 x 50: another shape'):
        fit(depth, (50, 80))


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize(('encoding', 'kind'), [('16UC1', 'u2'), ('mono16', 'u2'), ('32FC1', 'f4')])
def test_depth_messages_are_read_in_their_units(encoding, kind, big_endian):
    """Rows may be padded, bytes swapped; what is not measured is 0."""
    images = pytest.importorskip('stt_ros.ros.images')
    values = np.array([[1000, 250, 0], [65, 4000, 1]], kind)
    expected = values.astype(np.float32) * np.float32(1e-3) if kind == 'u2' else values.copy()
    if kind == 'f4':
        values[0, 2], values[1, 2], expected[1, 2] = np.nan, -np.inf, 0
    rows = values.astype(('>' if big_endian else '<') + kind)
    padded = b''.join(row.tobytes() + b'pad!' for row in rows)
    message = SimpleNamespace(
        width=3, height=2, encoding=encoding, is_bigendian=big_endian, data=padded,
        step=rows[0].nbytes + 4,
    )  # fmt: skip
    depth = images.depth_in_metres(message)
    assert depth.dtype == np.float32 and np.array_equal(depth, expected)
    message.data = padded[:-8]
    with pytest.raises(images.ImageError, match='2 rows of step'):
        images.depth_in_metres(message)
