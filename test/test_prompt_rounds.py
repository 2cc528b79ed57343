# SPDX-License-Identifier: Apache-2.0
"""Rounds: an answer corrected click by click."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import prompts
from stt_ros.prompts import Answer, Points, PromptError
from stt_ros.prompts.base import Candidate
from stt_ros.prompts.rounds import repair

SIZE = (120, 160)


def first(x, y, width, height):
    crop = np.ones((height, width), bool)
    return Answer((x, y, width, height), crop, (x, y), 0.8, 0.9, 1.0, (1.0,))


POINT = st.tuples(st.integers(0, 159), st.integers(0, 119))


@settings(max_examples=15, deadline=None)
@given(st.lists(POINT, min_size=1, max_size=3), st.lists(POINT, min_size=1, max_size=3))
def test_a_refined_answer_never_holds_a_negative_point(
    cpu_segmenter, two_squares, positive, negative
):
    negative = [point for point in negative if point not in positive]
    refined = prompts.refine(cpu_segmenter, two_squares, first(20, 20, 40, 40), positive, negative)
    assert not refined.contains(negative).any()
    assert refined.mask(SIZE).sum() == refined.area  # inside the frame


def test_a_positive_click_adds_and_a_negative_one_takes_away(cpu_segmenter, two_squares):
    last = first(20, 20, 20, 40)
    more = prompts.refine(cpu_segmenter, two_squares, last, [(55, 40)])
    assert more.contains([(55, 40), (25, 40)]).all() and more.agreement == (1.0,)
    less = prompts.refine(cpu_segmenter, two_squares, more, [(55, 40)], [(25, 40)])
    assert not less.contains([(25, 40)])[0]


def test_clicks_that_are_right_already_change_nothing(cpu_segmenter, two_squares):
    last = first(20, 20, 40, 40)
    same = prompts.refine(
        cpu_segmenter, two_squares, last, [(30, 30)], [(100, 100)], [Points([(25, 25)])]
    )
    assert same.box == last.box and same.area == last.area and same.agreement == (1.0, 1.0)


@pytest.mark.parametrize(
    ('last', 'clicks', 'message'),
    [
        (first(0, 0, 0, 0), ([(5, 5)], []), 'last answer is empty'),
        (first(0, 0, 9, 9), ([(5, 5)], [(5, 5)]), 'contradict'),
        (first(0, 0, 9, 9), ([(500, 5)], []), 'outside the image'),
        (first(0, 0, 9, 9), ([], []), 'no point'),
        (
            first(140, 0, 40, 9),
            ([(5, 5)], []),
            r'\(x=140, y=0, 40 x 9\) leaves the image of 160 x 120',
        ),
    ],
)
def test_corrections_that_make_no_sense(cpu_segmenter, two_squares, last, clicks, message):
    with pytest.raises(PromptError, match=message):
        prompts.refine(cpu_segmenter, two_squares, last, *clicks)


def seen(x, y, width, height, iou):
    return Candidate((x, y, width, height), np.ones((height, width), bool), (x, y), iou, 0.9)


def test_what_is_taken_away_leaves_most_of_a_good_answer():
    """The network is surer of what holds half of the thing, too; one click says it is wrong."""
    last, click = seen(20, 20, 40, 40, 0.6), (58, 40)
    clicks = Points([(25, 40)], [click])
    looks = {click: [seen(35, 10, 60, 60, 0.6), seen(52, 20, 60, 40, 0.3)]}
    assert repair(last, clicks, looks, SIZE).box == (20, 20, 32, 40)


@pytest.mark.parametrize(('rights', 'width'), [(1, 80), (6, 40)])
def test_the_more_clicks_were_right_the_less_is_added(rights, width):
    """A part becomes the whole by the second click; what ten clicks have made is trusted."""
    last, click = seen(20, 20, 30, 40, 0.6), (55, 40)
    looks = {click: [seen(20, 20, 80, 40, 0.6), seen(50, 20, 10, 40, 0.3)]}
    clicks = Points([(22 + k, 40) for k in range(rights)] + [click])
    assert repair(last, clicks, looks, SIZE).box == (20, 20, width, 40)


def test_a_refined_answer_holds_every_positive_click(cpu_segmenter, two_squares):
    clicks = [(5, 5), (100, 60), (55, 40), (140, 110)]
    refined = prompts.refine(cpu_segmenter, two_squares, first(20, 20, 40, 40), clicks)
    assert refined.contains(clicks).all()
