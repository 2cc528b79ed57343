# SPDX-License-Identifier: Apache-2.0
"""Scribbles, outlines and masks: what each proposes, says, and refuses."""

import time

import numpy as np
import pytest

from stt_ros import prompts
from stt_ros.prompts import Lasso, Mask, Points, Polygon, PromptError, Region, Scribble
from stt_ros.prompts.base import Candidate, as_frame

FRAME = as_frame(np.zeros((120, 160, 3), np.uint8))
SQUARE = [(20, 20), (59, 20), (59, 59), (20, 59)]


def candidate(x, y, width, height, iou=0.9):
    crop = np.ones((height, width), bool)
    return Candidate((x, y, width, height), crop, (x, y), iou, 0.9)


def whole_mask(x, y, width, height):
    return Region((x, y, width, height), np.ones((height, width), bool)).mask(FRAME.size)


def test_a_scribble_looks_along_its_strokes():
    scribble = Scribble([[(10, 50), (110, 50)]], gazes=4)
    assert scribble.propose(FRAME).tolist() == [[22, 50], [47, 50], [73, 50], [98, 50]]


def test_a_scribble_scores_what_is_covered_and_what_leaks():
    scribble = Scribble([[(10, 50), (29, 50)]], [[(50, 50), (59, 50)]])
    covers, half, leaks = (
        candidate(0, 40, 40, 20),
        candidate(0, 40, 20, 20),
        candidate(0, 0, 55, 80),
    )
    longer = 0.25 + 0.75 * 2 * 20 / 55  # more than twice as long as the stroke
    assert scribble.score([covers, half, leaks]) == pytest.approx([1, 0.5, 0.5 * longer])
    assert len(scribble.negatives) == 10


def test_points_and_strokes_say_how_large_the_thing_is():
    small, fits, large = candidate(20, 20, 10, 5), candidate(10, 0, 40, 5), candidate(0, 0, 160, 99)
    points = Points([(20, 20), (25, 20), (39, 22)])
    assert points.score([fits, large]) == pytest.approx([0, 0.25 + 0.75 * 40 / 160])
    assert points.score([small]) == pytest.approx([2 / 3])
    for nothing in (Points([(20, 20)]), Points([(20, 20), (20.5, 20.5)])):
        assert nothing.score([small, large]).tolist() == [1, 1]


def test_a_polygon_scores_coverage_and_leakage():
    polygon = Polygon(SQUARE)
    assert all(20 <= v < 60 for v in polygon.propose(FRAME).ravel())
    same, half, twice = (
        candidate(20, 20, 40, 40),
        candidate(20, 20, 20, 40),
        candidate(20, 20, 80, 40),
    )
    assert polygon.score([same, half, twice]) == pytest.approx([1, 0.5, 0.5])
    assert polygon.limits.contains([(20, 20)])[0] and not polygon.limits.contains([(64, 64)])[0]


@pytest.mark.parametrize(
    'corners',
    [
        [(20, 20), (60, 60), (60, 20), (20, 60)],  # an hourglass: two equal parts, left and right
        SQUARE * 2,  # twice around
        [(40, 15), (53, 55), (18, 30), (62, 30), (27, 55)],  # a star in one stroke
    ],
)
def test_an_outline_that_crosses_itself_means_all_that_it_encloses(corners):
    for prompt in (Polygon(corners), Lasso(corners)):
        gazes = prompt.propose(FRAME)
        assert prompt.limits.contains([(40, 40)])[0]
        mask = prompt._area.mask(FRAME.size)
        assert mask[40, 40] and all(mask[int(y), int(x)] for x, y in gazes)
        [score] = prompt.score([candidate(0, 0, 1, 1).reshaped(prompt._area)])
        assert score == pytest.approx(1)
        assert not mask[5].any() and mask.sum() > 600


def test_an_outline_in_a_large_picture_takes_no_time():
    frame = as_frame(np.zeros((3000, 4000), np.uint8))
    start = time.process_time()
    polygon = Polygon([(100, 100), (3900, 100), (3900, 2900), (100, 2900)])
    polygon.propose(frame)
    assert time.process_time() - start < 3  # a minute when it is grown by a mask of 401 x 401
    inside, near, far = (polygon.limits.contains([(v, 1000)])[0] for v in (3900, 4085, 5))
    assert (inside, near, far) == (True, False, True)


def test_a_lasso_wants_its_extent_reached_not_its_area_filled():
    diamond = [(40, 20), (60, 40), (40, 60), (20, 40)]
    polygon, lasso = Polygon(diamond), Lasso(diamond)
    for prompt in (polygon, lasso):
        prompt.propose(FRAME)
    cross = Region.of_mask(whole_mask(20, 38, 41, 5) | whole_mask(38, 20, 5, 41))
    cross = candidate(0, 0, 1, 1).reshaped(cross)
    assert lasso.score([cross])[0] > 0.9 > 0.6 > polygon.score([cross])[0]


def test_a_mask_looks_into_each_of_its_parts():
    mask = whole_mask(10, 10, 30, 30) | whole_mask(100, 60, 20, 20) | whole_mask(80, 5, 2, 2)
    gazes = Mask(mask).propose(FRAME)
    parts = [{(x > 60) for x, _ in gazes}, {mask[int(y), int(x)] for x, y in gazes}]
    assert parts == [{True, False}, {True}]
    assert Mask(mask).score([candidate(10, 10, 30, 30)])[0] == pytest.approx(900 / 1304)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Scribble(), 'no stroke'),
        (lambda: Scribble([[]]), 'stroke is empty'),
        (lambda: Scribble([[(5, 5), (5, np.inf)]]), 'finite'),
        (lambda: Scribble([[(0, 5), (9, 5)]], [[(5, 0), (5, 9)]]), r'contradict.*\(5, 5\)'),
        (lambda: Scribble([[(0, 5), (200, 5)]]).propose(FRAME), r'\(160, 5\) is outside'),
        (lambda: Polygon([(1, 1), (5, 5)]), 'has 2 corners; expected 3'),
        (lambda: Polygon([(1, 1), (5, 5), (9, 9)]), 'no area'),
        (lambda: Polygon([(1, 1), (1.5, 1), (1, 1.5)]), 'no area: .* within a pixel'),
        (
            lambda: Polygon([(0, 0), (1e12, 0), (0, 1e12)]),
            r'\(1e\+12, 0\) is too far away: .* 1e\+06',
        ),
        (lambda: Scribble([[(5, 5), (5, 1e10)]]), r'1e\+10 pixels long; at most 1e\+06'),
        (lambda: Scribble([], [[(5, 5), (5, 1e10)]]), r'1e\+10 pixels long; at most 1e\+06'),
        (lambda: Lasso(np.array(SQUARE) + 500).propose(FRAME), 'outside the image of 160 x 120'),
        (lambda: Mask(np.zeros((120, 160))), 'mask of 160 x 120 pixels is empty'),
        (lambda: Mask(np.ones((120, 160, 3))), r'shape \(120, 160, 3\); expected \(H, W\)'),
        (
            lambda: Mask(np.ones((60, 80))).propose(FRAME),
            '80 x 60 pixels for an image of 160 x 120',
        ),
    ],
)
def test_prompts_that_make_no_sense(make, message):
    with pytest.raises(PromptError, match=message):
        make()


@pytest.mark.parametrize(
    'prompt',
    [
        Scribble([[(25, 25), (55, 55)]]),
        Polygon(SQUARE),
        Lasso(SQUARE),
        Mask(whole_mask(20, 20, 40, 40)),
    ],
    ids=lambda prompt: type(prompt).__name__,
)
def test_every_kind_finds_the_thing_with_the_real_network(cpu_segmenter, two_squares, prompt):
    (found,) = prompts.answer(cpu_segmenter, two_squares, [prompt])
    assert found.iou(candidate(20, 20, 40, 40)) > 0.5 and 0 < found.score <= 1
