# SPDX-License-Identifier: Apache-2.0
"""What the demo tells about a run, on records made by hand, and where its eye looks."""

import io
import math

import cv2
import numpy as np
import pytest
from foveation_patterns import STANDARD
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy')
from sensor_msgs.msg import CompressedImage, RegionOfInterest
from std_msgs.msg import Header
from stt_ros.msg import MaskHypothesis, Segmentation

from stt_ros.ros.demo import report
from stt_ros.ros.demo.eye import Eye
from stt_ros.ros.demo.record import Record
from stt_ros.ros.demo.shots import image_message
from stt_ros.ros.demo.summary import as_text, summarise
from stt_ros.ros.demo.viewer import StatusLine, status
from stt_ros.ros.images import fill_image

WIDTH, HEIGHT = 101, 60  # odd: video codecs want even sizes
STEP = 40_000_000  # ns
START = 1_700_000_000 * 10**9


def header(k):
    made = Header(frame_id='eye')
    made.stamp.sec, made.stamp.nanosec = divmod(START + k * STEP, 10**9)
    return made


def image(k):
    message = image_message(np.full((HEIGHT, WIDTH, 3), (200, 100, 2 * k), np.uint8), 'raw')
    message.header = header(k)
    return message


def human(k, box=(10, 10, 20, 20)):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y, w, h = box
    pixels[y : y + h, x : x + w] = 255
    content = cv2.imencode('.png', pixels)[1].tobytes()
    return CompressedImage(header=header(k), format='png', data=content)


def hypothesis(iou, box):
    x, y, w, h = box
    made = MaskHypothesis(predicted_iou=iou, area_px=w * h)
    if w * h:
        made.roi = RegionOfInterest(x_offset=x, y_offset=y, width=w, height=h)
        fill_image(made.mask, np.full((h, w), 255, np.uint8), 'mono8', Header())
    return made


def result(k, *hypotheses):
    made = Segmentation(header=header(k), image_width=WIDTH, image_height=HEIGHT, gaze_id=1)
    made.gaze.x, made.gaze.y = 20.0, 20.0
    made.hypotheses = list(hypotheses)
    return made


def received(k, latency):
    return (START + k * STEP) * 1e-9 + latency


@pytest.fixture
def record():
    """Ten images; 2..9 but 5 got a result. The best-ranked mask covers half of the human one."""
    made = Record()
    for k in range(10):
        made.add_image(image(k))
        made.add_mask(human(k))
    for k in (2, 3, 4, 6, 7, 8, 9):
        masks = [(10, 10, 20, 10), (10, 10, 20, 15), (0, 0, 0, 0)]
        hypotheses = [hypothesis(0.75 - 0.25 * n, box) for n, box in enumerate(masks)]
        made.add_result(result(k, *hypotheses), received(k, 0.01 * k))
    return made


def test_figures(record):
    figures = summarise(record.moments(), {'frames': 11, 'seconds': 0.44})
    assert figures == {
        'frames_sent': 11,  # one never reached the viewer
        'frames_received': 10,
        'frames_segmented': 7,
        'frames_before_first_result': 2,
        'frames_dropped': 2,
        'seconds': 0.44,
        'rate_hz': pytest.approx(6 / (7 * 0.04), abs=0.01),
        'latency_ms_p50': pytest.approx(60, abs=0.1),
        'latency_ms_p95': pytest.approx(87, abs=0.1),
        'masks': None,  # of prompts
        'predicted_iou': 0.75,
        'human_iou': 0.5,
        'human_iou_best_of_three': 0.75,
        'frames_with_human_mask': 7,
    }
    text = as_text(figures)
    assert '11 sent, 7 segmented, 2 dropped (2 more before the first result)' in text
    assert '0.5 (best of the three hypotheses 0.75)' in text


def test_figures_without_results_or_masks():
    record = Record()
    record.add_image(image(0))
    figures = summarise(record.moments())
    assert figures['frames_before_first_result'] == figures['frames_sent'] == 1
    assert figures['frames_dropped'] == figures['frames_segmented'] == 0
    assert figures['latency_ms_p95'] is figures['rate_hz'] is figures['human_iou'] is None
    assert 'human' not in as_text(figures)
    assert 'rate     - Hz' in as_text(figures)


def test_images_without_the_thing_do_not_count(record):
    record.add_image(image(10))
    record.add_mask(human(10, box=(0, 0, 0, 0)))
    record.add_result(result(10, hypothesis(0.9, (1, 1, 2, 2))), received(10, 0.02))
    record.add_result(result(11), received(11, 0.02))  # nothing found, image not seen
    figures = summarise(record.moments())
    assert figures['frames_with_human_mask'] == 7 and figures['human_iou'] == 0.5
    assert figures['frames_segmented'] == 9


def test_status(record):
    progress = record.progress()
    assert (progress.images, progress.results) == (10, 7)
    assert progress.p50 == pytest.approx(0.06, abs=1e-4)
    assert 'in 10  out 7' in status(progress) and 'predicted IoU 0.75' in status(progress)
    assert 'predicted IoU -' in status(Record().progress())


def test_status_line_changes_on_a_terminal_and_repeats_elsewhere():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, expected in (
        (Terminal(), '\rlonger\rshort \n'),
        (io.StringIO(), 'longer\nshort\n'),
    ):
        line = StatusLine(stream)
        line.show('longer')
        line.show('too soon')
        line.show('short', now=True)
        line.end()
        assert stream.getvalue() == expected


def test_images_beyond_the_memory_are_kept_as_jpeg():
    record = Record(raw_bytes=2 * WIDTH * HEIGHT * 3)
    for k in range(4):
        record.add_image(image(k))
    kept = [moment.image for _, moment in record.moments()]
    assert [hasattr(message, 'format') for message in kept] == [False, False, True, True]
    assert kept[3].header == header(3)
    assert np.abs(report.draw(record.moments()[3][1]).astype(int) - (6, 100, 200)).max() < 6


def test_video_shows_every_image_with_its_mask(record, tmp_path):
    ticks = []
    path = tmp_path / 'overlay.mp4'
    assert report.write_video(path, record.moments(), lambda: ticks.append(1)) == 10 == len(ticks)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25, rel=0.01)
    frames = []
    while (grabbed := video.read())[0]:
        frames.append(grabbed[1])
    assert len(frames) == 10 and frames[0].shape[1] == 100
    inside, outside = (slice(12, 18), slice(12, 15)), (slice(40, 55), slice(60, 90))
    blue, green, _ = frames[3][outside].reshape(-1, 3).mean(axis=0)
    assert blue == pytest.approx(200, abs=12) and green == pytest.approx(100, abs=12)
    tinted, plain = (frames[k][inside].astype(int).mean(axis=(0, 1)) for k in (3, 1))
    assert np.abs(tinted - plain).max() > 20  # 1 is before the first result


def test_contact_sheet(record):
    sheet = report.contact_sheet(record.moments())
    tile = 480 + 8
    assert sheet.shape[1] == 4 * tile + 8
    red, green, blue = sheet[250, 400]
    assert abs(int(green) - 100) < 5 and abs(int(blue) - 200) < 5
    assert report.contact_sheet(Record().moments()) is None


def test_steps_show_one_moment(record):
    picture = report.steps(record.moments(), STANDARD)
    width = picture.shape[1] // 3
    seen, masked = picture[:, width : 2 * width], picture[:, 2 * width :]
    assert seen.std() > 5 and masked.std() > 5
    assert report.steps(Record().moments(), STANDARD) is None
    assert report.caption(record.moments()[3][1]) == 'IoU predicted 0.75, true 0.50'
    assert report.caption(record.moments()[5][1]) == 'no result'


blobs = st.lists(
    st.tuples(*[st.integers(0, 150)] * 2, *[st.integers(8, 60)] * 2), min_size=1, max_size=3
)


def drawn(boxes):
    mask = np.zeros((160, 200), np.uint8)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] = 255
    return mask


def lies_inside(mask, point, slack=0):
    x, y = (round(value) for value in point)
    rows, columns = np.nonzero(mask)
    return bool((np.hypot(columns - x, rows - y) <= slack + 0.01).any())


def looked_at_last(eye):
    """Where it looks after eight looks without a new saccade: what the last one takes."""
    looks = 0
    while looks < 8:
        target = eye._target
        point = eye.look()
        looks = looks + 1 if eye._target is target else 1
    return point


@settings(max_examples=60, deadline=None)
@given(st.lists(blobs, min_size=1, max_size=5), st.integers(0, 99))
@example([[(0, 0, 8, 8)], [(0, 0, 8, 8), (0, 43, 8, 11)]], 16)  # a saccade in the last look
def test_an_eye_without_noise_looks_into_the_thing(pictures, seed):
    eye = Eye(jitter=0.0, rate=60.0, seed=seed)
    for number, mask in enumerate(map(drawn, pictures)):
        eye.see(mask)
        if not number and mask.any():
            assert lies_inside(mask, eye._position, slack=2)
        if eye.is_open and mask.any():
            point = looked_at_last(eye)
            assert lies_inside(mask, point, slack=6)  # the eye sees masks in steps of 4 px


def test_an_eye_follows_the_thing_and_trembles():
    eye = Eye(jitter=3.0, rate=60.0, seed=1)
    inside, points = [], []
    for k in range(100):
        mask = drawn([(20 + k, 30, 60, 70)])
        eye.see(mask)
        points += [(*eye.look(), k) for _ in range(2)]
        inside += [lies_inside(mask, point[:2]) for point in points[-2:]]
    assert np.mean(inside) > 0.98
    x, y, k = np.array(points).T
    steps = np.hypot(np.diff(x - k), np.diff(y))
    assert 1 < np.median(steps) < 6  # pixels between samples, most of it noise
    assert 60 < x[-1] - x[0] < 140


def test_an_eye_stays_at_a_fixed_point():
    eye = Eye(jitter=0.0, rate=60.0)
    assert not eye.is_open
    eye.fixate((12.0, 7.0))
    assert eye.is_open and {eye.look() for _ in range(5)} == {(12.0, 7.0)}
    assert all(map(math.isfinite, eye.look()))
