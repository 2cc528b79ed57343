# SPDX-License-Identifier: Apache-2.0
"""What the demo shows of an answer to prompts that has many masks."""

import cv2
import numpy as np
import pytest
from foveation_patterns import STANDARD

pytest.importorskip('rclpy')
from stt_ros.msg import Segmentation, SegmentationArray
from test_demo_report import HEIGHT, WIDTH, header, hypothesis, image

from stt_ros import visualize
from stt_ros.prompts.region import Region
from stt_ros.ros.demo import report
from stt_ros.ros.demo.record import Record
from stt_ros.ros.demo.summary import as_text, summarise
from stt_ros.ros.prompt_messages import fill_labels

BOXES = [(10, 10, 20, 20), (60, 10, 30, 30), (15, 15, 60, 40)]  # x, y, width, height
CENTRES = [(20, 14), (85, 30), (45, 48)]  # where each is not under an earlier one
OUTSIDE = (5, 55)
GROUND = (0, 100, 200)  # RGB; red grows by 2 from picture to picture


def answer(k, boxes):
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for number, (x, y, w, h) in reversed(list(enumerate(boxes, 1))):
        labels[y : y + h, x : x + w] = number
    made = SegmentationArray(header=header(k))
    fill_labels(made.labels, labels, made.header)
    for number, box in enumerate(boxes):
        made.segmentations.append(Segmentation(header=header(k), image_width=WIDTH))
        made.segmentations[-1].image_height = HEIGHT
        made.segmentations[-1].hypotheses = [hypothesis(0.75 - 0.1 * number, box)]
    return made


@pytest.fixture
def record():
    """Ten pictures; the third and the seventh were answered, with three masks and with two."""
    made = Record()
    for k in range(10):
        made.add_image(image(k))
    made.add_answer(answer(2, BOXES), header(2).stamp.sec + 1.0)
    made.add_answer(answer(6, BOXES[:2]), header(6).stamp.sec + 1.0)
    return made


def tint_at(picture, point, number, slack=8):
    """Whether a pixel of a picture has the tint of an answer by its number."""
    x, y = point
    wanted = (np.array(GROUND) + visualize.colour_of(number)) / 2
    return np.abs(picture[y, x] - wanted).max() < slack


def test_every_mask_has_a_colour_of_its_own_and_an_outline(record):
    picture = report.draw(record.moments()[2][1])
    for number, place in enumerate(CENTRES):
        assert tint_at(picture, place, number)
    assert np.abs(picture[OUTSIDE[::-1]] - np.array(GROUND)).max() <= 4
    assert (picture[10, 10:30] > 200).all() and (picture[15:35, 89] > 200).all()


def test_what_lies_under_other_masks_shows_only_what_is_left_of_it():
    found = [Region((x, y, w, h), np.ones((h, w), bool)) for x, y, w, h in BOXES]
    found.append(found[0])  # has nothing left
    image = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    picture = visualize.answers(image, found, alpha=1.0)
    owner = visualize.labels(found, image.shape[:2])
    inside = cv2.erode((owner == 3).view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inside.any() and (picture[inside] == visualize.colour_of(2)).all()
    assert np.array_equal(picture[OUTSIDE[::-1]], GROUND)
    assert np.array_equal(visualize.answers(image, []), image)


def test_the_video_keeps_masks_until_the_next_answer(record, tmp_path):
    path = tmp_path / 'overlay.mp4'
    assert report.write_video(path, record.moments()) == 10
    video, frames = cv2.VideoCapture(str(path)), []
    while (grabbed := video.read())[0]:
        frames.append(grabbed[1][..., ::-1].astype(int))
    seen = [[tint_at(frame, CENTRES[k], k, 30) for frame in frames] for k in (2, 0)]
    assert seen[0] == [False] * 2 + [True] * 4 + [False] * 4
    assert seen[1] == [False] * 2 + [True] * 8


def test_contact_sheet_and_steps_show_all_masks(record):
    sheet = report.contact_sheet(record.moments())
    assert sheet.shape[1] == 2 * 488 + 8  # only what was answered
    steps = report.steps(record.moments(), STANDARD)
    for picture, left, top in ((sheet, 8, 8), (steps, 2 * 488, 0)):
        for number, (x, y) in enumerate(CENTRES):
            place = (left + round(x * 480 / WIDTH), top + round(y * 480 / WIDTH))
            assert tint_at(picture, place, number)


def test_captions_and_figures_count_masks(record):
    moments = record.moments()
    assert [report.caption(moments[k][1]) for k in (2, 3, 6)] == ['3 masks', 'no result', '2 masks']
    figures = summarise(moments)
    assert (figures['frames_segmented'], figures['masks']) == (2, 2)
    assert figures['predicted_iou'] == 0.75 and figures['human_iou'] is None
    assert 'masks    2 in a picture' in as_text(figures)


def test_prompts_that_fit_nothing_are_answered_all_the_same():
    record = Record()
    record.add_image(image(0))
    record.add_answer(answer(0, []), header(0).stamp.sec + 1.0)
    [(_, moment)] = record.moments()
    assert record.progress().results == 1
    assert report.caption(moment) == 'nothing found'
    assert np.array_equal(report.draw(moment)[30, 50], GROUND)
    assert summarise(record.moments())['masks'] == 0
