# SPDX-License-Identifier: Apache-2.0
"""Camera and gaze messages in, masks out: over DDS, the node in a process of its own."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ros_helpers import SECOND, Image, running_bench
from ros_messages import compressed_image, picture, raw_image, to_array

import stt_ros
from stt_ros import masks
from stt_ros.pictures import read

MS = SECOND // 1000


@pytest.fixture(scope='module')
def bench():
    with running_bench() as bench:
        yield bench


@pytest.fixture(scope='module')
def compressed_bench():
    with running_bench('-p', 'image_transport:=compressed') as bench:
        yield bench


@pytest.fixture(params=['rgb8', 'bgr8', 'jpeg', 'png'])
def camera(request):
    """Return a bench, its node knowing a picture, and what makes a camera message of pixels."""
    if request.param in ('jpeg', 'png'):
        bench = request.getfixturevalue('compressed_bench')

        def make(pixels, header):
            return compressed_image(pixels, request.param, header)
    else:
        bench = request.getfixturevalue('bench')

        def make(pixels, header):
            flip = request.param == 'bgr8'
            return raw_image(pixels[..., ::-1] if flip else pixels, request.param, header)

    bench.take(make(picture(), bench.header()))
    return bench, make


def test_result_of_a_frame(camera):
    bench, make = camera
    pixels = picture(150, 200)
    bench.take(make(pixels, bench.header()))
    bench.look_at(100, 75)
    with bench.watching(Image, 'stt/mask', 'stt/overlay', 'stt/foveation') as lists:
        bench.until(lambda: all(lists), again=lambda: bench.take(make(pixels, bench.header())))
        header = bench.take(make(pixels, bench.header()))
        result = bench.result_of(header)
        mask, overlay, foveation = (bench.result_of(header, messages) for messages in lists)
    check_result(result, (150, 200), (100.0, 75.0))
    assert 0 < result.latency < 30
    check_masks(result, to_array(mask))
    assert (mask.encoding, overlay.encoding, foveation.encoding) == ('mono8', 'rgb8', 'rgb8')
    for image in (mask, overlay, foveation):
        assert (image.height, image.width) == (150, 200)
    assert to_array(mask)[75, 100] == 255  # the disk that is looked at
    assert to_array(mask).mean() < 128
    assert np.abs(to_array(foveation)[60:90, 80:120] - pixels[60:90, 80:120].astype(int)).max() < 9


def check_result(result, size, gaze):
    assert (result.image_height, result.image_width) == size
    assert (result.gaze.x, result.gaze.y, result.gaze.z) == (*gaze, 0.0)
    assert result.gaze_id > 0
    assert len(result.hypotheses) == 3
    scores = [hypothesis.predicted_iou for hypothesis in result.hypotheses]
    assert scores == sorted(scores, reverse=True)


def check_masks(result, best):
    for hypothesis in result.hypotheses:
        roi, mask = hypothesis.roi, hypothesis.mask
        assert (mask.encoding, mask.width, mask.height) == ('mono8', roi.width, roi.height)
        assert mask.header == result.header
        assert set(np.unique(to_array(mask))) <= {0, 255}
        assert np.count_nonzero(to_array(mask)) == hypothesis.area_px
        assert roi.x_offset + roi.width <= result.image_width
        assert roi.y_offset + roi.height <= result.image_height
        assert 0.0 <= hypothesis.stability <= 1.0
    roi = result.hypotheses[0].roi
    inside = best[roi.y_offset :, roi.x_offset :][: roi.height, : roi.width]
    assert np.array_equal(to_array(result.hypotheses[0].mask), inside)
    assert np.count_nonzero(best) == result.hypotheses[0].area_px
    assert set(np.unique(best)) <= {0, 255}


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (2000, 1)])
def test_tiny_and_thin_images(bench, size):
    """Most of what the network looks at lies outside; the gaze is in the last corner."""
    pixels = np.full((*size, 3), 90, np.uint8)
    bench.show(pixels)
    bench.look_at(size[1] - 0.01, size[0] - 0.01)
    with bench.watching(Image, 'stt/mask', 'stt/overlay', 'stt/foveation') as lists:
        bench.until(lambda: all(lists), again=lambda: bench.image(pixels))
    for images in lists:
        assert {(image.height, image.width) for image in images} == {size}
    check_result(bench.results[-1], size, (size[1] - 0.01, size[0] - 0.01))


def test_channel_order_changes_nothing(bench):
    pixels = picture()
    headers = []
    bench.show(pixels)
    bench.look_at(80, 60)
    for encoding, same in (('rgb8', pixels), ('bgr8', pixels[..., ::-1])):
        headers.append(bench.take(raw_image(same, encoding, bench.header())))
    first, second = (bench.result_of(header).hypotheses for header in headers)
    assert [h.area_px for h in first] == [h.area_px for h in second]
    assert [h.mask.data for h in first] == [h.mask.data for h in second]


def test_gaze_is_interpolated_at_the_stamp_of_the_image(bench):
    start = bench.now()
    bench.show(picture(), start)
    points = [(start - 30 * MS, 20.0, 30.0), (start + 30 * MS, 80.0, 90.0)]

    def look():
        for stamp, x, y in points:
            bench.gaze(x, y, stamp)
        bench.image(picture(), start + MS)

    def arrived():
        return any(r.gaze.x == pytest.approx(51.0) for r in bench.results)

    bench.until(arrived, again=look)
    for offset, x, y in ((-15, 35.0, 45.0), (10, 60.0, 70.0), (25, 75.0, 85.0), (29, 79.0, 89.0)):
        gaze = bench.result_of(bench.show(picture(), start + offset * MS)).gaze
        assert (gaze.x, gaze.y) == pytest.approx((x, y), abs=1e-9)
    held = bench.result_of(bench.show(picture(), start + 150 * MS)).gaze
    assert (held.x, held.y) == (80.0, 90.0)


def test_one_id_per_click_and_one_for_a_stream(bench):
    ids = []
    for kind in ('gaze', 'gaze', 'click', 'click', 'gaze'):
        x, taken = 30.0 + len(ids), bench.now()

        def answered(x=x):
            return next((r.gaze_id for r in bench.results if r.gaze.x == x), None)

        bench.show(picture(), taken)
        if kind == 'gaze':
            bench.gaze(x, 40.0, taken)
        else:
            bench.click(x, 40.0)
        ids.append(bench.until(answered, again=partial(bench.image, picture(), taken)))
    stream, same, click, other, again = ids
    assert stream == same
    assert [click, other, again] == [stream + 1, stream + 2, stream + 3]


def test_image_without_stamp(bench):
    bench.show(picture())
    bench.look_at(80, 60)
    header = bench.show(picture(), stamp=0)
    result = bench.result_of(header)
    assert (result.header.stamp.sec, result.header.stamp.nanosec) == (0, 0)
    assert math.isnan(result.latency)


def test_stamped_gaze_on_images_without_stamp(bench):
    """The latest sample counts: there is nothing to pair it by."""
    bench.show(picture(), stamp=0)
    start = bench.now()
    for i in range(3):
        bench.gaze(20.0 + i, 30.0, start + i * 100 * MS)

    def latest():
        return any(r.gaze.x == 22.0 and r.header.stamp.sec == 0 for r in bench.results)

    bench.until(latest, again=lambda: bench.image(picture(), stamp=0))


def test_compressed_images_may_change_their_size(compressed_bench):
    bench = compressed_bench
    for file_format in ('jpeg', 'png'):
        for size in ((40, 50), (200, 300)):
            image = compressed_image(picture(*size), file_format, bench.header())
            bench.clear()
            bench.take(image)
            x, y = size[1] - 2.0, size[0] - 3.0
            bench.click(x, y)
            bench.until(
                lambda x=x, size=size: any(
                    (r.gaze.x, r.image_height) == (x, size[0]) for r in bench.results
                ),
                again=lambda image=image: bench.publish(image),
            )


def test_real_pictures(bench):
    """A gaze at the dog of the clip: one of its masks is about the one that a person drew."""
    clip, best = Path(stt_ros.__file__).parent / 'clips' / 'dog', []
    for name in ('00015', '00030', '00045'):
        drawn = read(clip / 'masks' / f'{name}.png')[..., 0] > 127
        bench.show(read(clip / 'frames' / f'{name}.jpg'))
        x, y = masks.interior_point(drawn)
        bench.look_at(float(x), float(y))
        result = bench.results[-1]
        best.append(max(masks.iou(full_mask(result, h), drawn) for h in result.hypotheses))
    assert np.mean(best) > 0.4, best


def full_mask(result, hypothesis):
    full = np.zeros((result.image_height, result.image_width), bool)
    roi = hypothesis.roi
    inside = full[roi.y_offset :, roi.x_offset :][: roi.height, : roi.width]
    inside[:] = to_array(hypothesis.mask)
    return full
