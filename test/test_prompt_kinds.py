# SPDX-License-Identifier: Apache-2.0
"""Scribbles, outlines, masks and corrections: what each proposes, says, and refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import prompts
from stt_ros.prompts import Answer, Lasso, Mask, Points, Polygon, PromptError, Region, Scribble
from stt_ros.prompts.base import Candidate, as_frame
from stt_ros.segmenter import Segmenter

FRAME = as_frame(np.zeros((120, 160, 3), np.uint8))
SQUARE = [(20, 20), (59, 20), (59, 59), (20, 59)]


def candidate(x, y, width, height, iou=0.9):
    crop = np.ones((height, width), bool)
    return Candidate((x, y, width, height), crop, (x, y), iou, 0.9)


def whole_mask(x, y, width, height):
    return Region((x, y, width, height), np.ones((height, width), bool)).mask(FRAME.size)


@pytest.fixture(scope='module')
def segmenter():
    segmenter = Segmenter.create(device='cpu')
    yield segmenter
    segmenter.close()


@pytest.fixture(scope='module')
def image():
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[20:60, 20:60] = (220, 40, 40)
    picture[40:80, 80:110] = (40, 60, 220)
    return picture


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
    assert scribble.score([covers, half, leaks]) == pytest.approx([1, 0.5, 0.5])
    assert len(scribble.negatives) == 10


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
def test_every_kind_finds_the_thing_with_the_real_network(segmenter, image, prompt):
    (found,) = prompts.answer(segmenter, image, [prompt])
    assert found.iou(candidate(20, 20, 40, 40)) > 0.5 and 0 < found.score <= 1


def first(x, y, width, height):
    crop = np.ones((height, width), bool)
    return Answer((x, y, width, height), crop, (x, y), 0.8, 0.9, 1.0, (1.0,))


POINT = st.tuples(st.integers(0, 159), st.integers(0, 119))


@settings(max_examples=15, deadline=None)
@given(st.lists(POINT, min_size=1, max_size=3), st.lists(POINT, min_size=1, max_size=3))
def test_a_refined_answer_never_holds_a_negative_point(segmenter, image, positive, negative):
    negative = [point for point in negative if point not in positive]
    refined = prompts.refine(segmenter, image, first(20, 20, 40, 40), positive, negative)
    assert not refined.contains(negative).any()
    assert refined.mask((120, 160)).sum() == refined.area  # inside the frame


def test_a_positive_click_adds_and_a_negative_one_takes_away(segmenter, image):
    last = first(20, 20, 20, 40)
    more = prompts.refine(segmenter, image, last, [(55, 40)])
    assert more.contains([(55, 40), (25, 40)]).all() and more.agreement == (1.0,)
    less = prompts.refine(segmenter, image, more, [(55, 40)], [(25, 40)])
    assert not less.contains([(25, 40)])[0]


def test_clicks_that_are_right_already_change_nothing(segmenter, image):
    last = first(20, 20, 40, 40)
    same = prompts.refine(segmenter, image, last, [(30, 30)], [(100, 100)], [Points([(25, 25)])])
    assert same.box == last.box and same.area == last.area and same.agreement == (1.0, 1.0)


@pytest.mark.parametrize(
    ('last', 'clicks', 'message'),
    [
        (first(0, 0, 0, 0), ([(5, 5)], []), 'last answer is empty'),
        (first(0, 0, 9, 9), ([(5, 5)], [(5, 5)]), 'contradict'),
        (first(0, 0, 9, 9), ([(500, 5)], []), 'outside the image'),
        (first(0, 0, 9, 9), ([], []), 'no point'),
    ],
)
def test_corrections_that_make_no_sense(segmenter, image, last, clicks, message):
    with pytest.raises(PromptError, match=message):
        prompts.refine(segmenter, image, last, *clicks)
