# SPDX-License-Identifier: Apache-2.0
"""Prompts propose gazes and vote on what is found there: the combiner and its laws."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import prompts
from stt_ros.prompts import (
    Box,
    Boxes,
    Candidate,
    Points,
    PromptError,
    Region,
    Scribble,
    answer,
    combine,
)
from stt_ros.prompts.scene import Scene
from stt_ros.segmenter import check_inside

SIZE = (120, 160)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
NOWHERE = (0, 0, 0, 0)
LEFT, RIGHT, PART = (20, 30, 40, 60), (90, 20, 50, 70), (20, 30, 40, 20)


def rectangle(box):
    return Region((box[0], box[1], box[2], box[3]), np.ones((box[3], box[2]), bool))


class Rectangles:
    """A segmenter of a world of rectangles: at a gaze it finds those that it knows there."""

    def __init__(self, *known):
        self.known = known  # (box, predicted IoU)
        self.looked = []

    def segment(self, frame, gazes, interpolation='bilinear'):
        self.looked += [check_inside(gaze, frame.size) for gaze in gazes]
        return [self.look(tuple(gaze)) for gaze in gazes]

    def look(self, gaze):
        found = [
            SimpleNamespace(
                box=box, crop=rectangle(box).crop, predicted_iou=iou, stability=0.9,
                view=SimpleNamespace(gaze=gaze),
            )
            for box, iou in (*self.known, (NOWHERE, 0.1))
            if box == NOWHERE or rectangle(box).contains([gaze])[0]
        ]  # fmt: skip
        return SimpleNamespace(hypotheses=sorted(found, key=lambda h: -h.predicted_iou))


@pytest.fixture
def world():
    return Rectangles((LEFT, 0.6), (RIGHT, 0.7), (PART, 0.8))


class Abstains:
    def propose(self, frame):
        return np.empty((0, 2))

    def score(self, candidates):
        return None


def test_one_point_takes_the_networks_best(world):
    (found,) = answer(world, IMAGE, [Points([(25, 35)])])
    assert (found.box, found.predicted_iou, found.score, found.agreement) == (PART, 0.8, 1, (1,))
    assert found.gaze == (25, 35) and found.mask(SIZE).sum() == 800


def test_points_pick_the_candidate_that_holds_them_all(world):
    (found,) = answer(world, IMAGE, [Points([(25, 35), (30, 80)])])
    assert found.box == LEFT


def test_a_box_picks_the_candidate_that_fills_it(world):
    (found,) = answer(world, IMAGE, [Box(LEFT)])
    assert found.box == LEFT and found.score == pytest.approx(1)
    (found,) = answer(world, IMAGE, [Box(PART)])
    assert found.box == PART


def test_one_answer_per_prompt_in_their_order(world):
    boxes = [Box(RIGHT), Points(negative=[(0, 0)]), Box(LEFT)]
    found = answer(world, IMAGE, boxes, 'one_per_prompt')
    assert [f.box for f in found] == [RIGHT, LEFT]
    assert [tuple(a is None for a in f.agreement) for f in found] == [
        (False, False, True), (True, False, False),
    ]  # fmt: skip


def test_all_instances_of_several_boxes(world):
    found = answer(world, IMAGE, [Boxes([LEFT, RIGHT])], 'all_instances')
    assert {f.box for f in found} == {LEFT, RIGHT}


def test_parts_of_an_instance_are_joined_when_that_fits_better():
    """Two overlapping parts of the left thing, and the right one in one piece."""
    parts = Rectangles(((20, 30, 30, 60), 0.6), ((30, 30, 30, 60), 0.6), (RIGHT, 0.7))
    found = answer(parts, IMAGE, [Boxes([LEFT, RIGHT])], 'all_instances')
    assert sorted(f.box for f in found) == [LEFT, RIGHT]
    assert all(f.score == pytest.approx(1) for f in found)


def test_prompts_that_disagree_have_no_score(world):
    (found,) = answer(world, IMAGE, [Box(LEFT), Points([(100, 40)])])
    assert found.score < 0.05


def test_points_on_parts_make_their_union_one_object(world):
    (found,) = answer(world, IMAGE, [Points([(50, 60), (100, 40)])])
    assert np.array_equal(
        found.mask(SIZE), rectangle(LEFT).mask(SIZE) | rectangle(RIGHT).mask(SIZE)
    )


def test_a_click_chooses_but_does_not_weigh_beside_a_box(world):
    """Masks that hold a click crowd around it: beside a box they would outvote the rest."""
    asked = [Points([(25, 35)]), Box(LEFT)]
    looks = combine.segment(world, combine.as_frame(IMAGE), [np.array([[25, 35], [25, 80]])])
    both, box, click = (Scene(group, looks) for group in (asked, asked[1:], asked[:1]))
    assert both.weights.tolist() == box.weights.tolist() != click.weights.tolist()
    part = Candidate(PART, rectangle(PART).crop, (25, 35), 0.8, 0.9)
    rest = Candidate((20, 50, 40, 40), np.ones((40, 40), bool), (25, 80), 0.8, 0.9)
    assert both.ranks([rest])[0] < 0.01 * both.ranks([part])[0]


def test_an_answer_of_which_nothing_is_left_is_none():
    dot = Rectangles(((50, 50, 1, 1), 0.9))
    assert answer(dot, IMAGE, [Points([(50, 50)]), Points(negative=[(50.5, 50.5)])]) == []


def test_gazes_are_looked_at_once(world):
    answer(world, IMAGE, [Points([(25, 35)]), Points([(25.5, 35), (30, 80)])])
    assert len(world.looked) == 2


def test_holes_and_islands_are_cleaned_on_request():
    crop = np.zeros((40, 40), bool)
    crop[5:35, 5:35] = True
    crop[10:13, 10:13] = False
    crop[0:2, 0:2] = True
    cleaned = prompts.clean.clean(Region.of_mask(crop), 20)
    assert (cleaned.box, cleaned.area) == ((5, 5, 30, 30), 900)
    untouched = prompts.clean.clean(Region.of_mask(crop), 3)
    assert untouched.area == 900 - 9 + 4


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Points(), 'no point'),
        (lambda: Points([(5, 6)], [(5.5, 6)]), r'contradict.*\(5, 6\)'),
        (lambda: Points([(5, float('nan'))]), 'finite'),
        (lambda: Points([(5, 6, 7)]), r'expected \[\(x, y\)'),
        (lambda: Points('here'), 'here'),
        (lambda: Box((1, 2, 0, 5)), r'0 x 5.*above 0'),
        (lambda: Box((1, 2, float('inf'), 5)), 'finite'),
        (lambda: Box((1, 2, 3)), r'\(x, y, width, height\)'),
        (lambda: Boxes([]), 'no box'),
    ],
)
def test_prompts_that_make_no_sense(make, message):
    with pytest.raises(PromptError, match=message):
        make()


@pytest.mark.parametrize(
    ('asked', 'mode', 'message'),
    [
        ([], 'one_object', 'no prompt'),
        ([Points([(200, 5)])], 'one_object', r'\(200, 5\) is outside the image of 160 x 120'),
        ([Points([(1, 1)], [(-1, 5)])], 'one_object', r'negative point \(-1, 5\) is outside'),
        ([Box((160, 5, 10, 10))], 'one_object', 'outside the image of 160 x 120'),
        ([Points(negative=[(1, 1)])], 'one_object', 'only negative points'),
        ([Points([(1, 1)])], 'both', "'both'; allowed: one_object"),
    ],
)
def test_prompts_that_do_not_fit_the_frame(world, asked, mode, message):
    with pytest.raises(PromptError, match=message):
        answer(world, IMAGE, asked, mode)


POINT = st.tuples(st.integers(0, 159), st.integers(0, 119))
BOX = st.builds(
    lambda x, y, w, h: (x, y, w, h),
    st.integers(0, 140), st.integers(0, 100), st.integers(8, 80), st.integers(8, 80),
)  # fmt: skip
INSIDE = st.tuples(st.integers(20, 59), st.integers(30, 89))
KNOWN = st.lists(st.tuples(BOX, st.floats(0, 1)), max_size=5)


def same(a, b):
    return len(a) == len(b) and all(
        x.box == y.box and np.array_equal(x.crop, y.crop) and x.score == y.score
        for x, y in zip(a, b, strict=True)
    )


def worlds(known):
    return Rectangles((LEFT, 0.6), (PART, 0.8), *[(prompt_box(b), q) for b, q in known])


def prompt_box(box):
    return box[0], box[1], min(box[2], SIZE[1] - box[0]), min(box[3], SIZE[0] - box[1])


@settings(max_examples=80, deadline=None)
@given(
    KNOWN, st.lists(INSIDE, min_size=1, max_size=3), st.lists(BOX, max_size=2),
    st.lists(POINT, max_size=2), st.sampled_from(['one_object', 'all_instances']), st.randoms(),
)  # fmt: skip
def test_order_and_abstention_change_nothing(known, points, boxes, away, mode, random):
    world = worlds(known)
    asked = [Points([point]) for point in points] + [Box(box) for box in boxes]
    asked += [Points(negative=[point]) for point in away if point not in points]
    asked += [Points(points), Scribble([points])]
    expected = answer(world, IMAGE, asked, mode)
    asked[-2] = Points(random.sample(points, len(points)))
    random.shuffle(asked)
    assert same(answer(world, IMAGE, asked, mode), expected)
    assert same(answer(world, IMAGE, [*asked, Abstains()], mode), expected)


@settings(max_examples=40, deadline=None)
@given(KNOWN, st.lists(INSIDE, min_size=2, max_size=3, unique=True), POINT, st.randoms())
def test_answers_per_prompt_follow_their_prompts(known, points, away, random):
    world = worlds(known)
    asked = [Points([point]) for point in points] + [Points(negative=[away]), Abstains()]
    asked = [p for p in asked if isinstance(p, Abstains) or tuple(away) not in points]
    order = list(range(len(asked)))
    random.shuffle(order)
    expected = answer(world, IMAGE, asked, 'one_per_prompt')
    found = answer(world, IMAGE, [asked[k] for k in order], 'one_per_prompt')
    ranks = [k for k in order if k < len(expected)]
    assert same(found, [expected[k] for k in ranks])


@settings(max_examples=60, deadline=None)
@given(
    KNOWN, INSIDE, st.lists(POINT, min_size=1, max_size=4), st.sampled_from(prompts.MODES),
    st.sampled_from([0, 30]),
)  # fmt: skip
def test_a_negative_point_is_never_inside(known, positive, negatives, mode, island):
    negatives = [point for point in negatives if point != positive] or [(0, 0)]
    asked = [Points([positive], negatives), Scribble([[positive]], [[n] for n in negatives])]
    asked += [Box(LEFT)] if mode != 'one_per_prompt' else []  # that one has no negative points
    found = answer(worlds(known), IMAGE, asked, mode, min_region_area=island)
    assert not any(f.contains(negatives).any() for f in found)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_regions_are_masks(seed):
    rng = np.random.default_rng(seed)
    full = [np.zeros((20, 30), bool) for _ in 'ab']
    for mask in full:
        x, y = rng.integers(0, (25, 15))
        part = mask[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)]
        part[:] = rng.random(part.shape) < 0.6
    a, b = (Region.of_mask(mask) for mask in full)
    for found, expected in (
        (a.union(b), full[0] | full[1]),
        (a.minus(b), full[0] & ~full[1]),
        (a.within(b), full[0] & full[1]),
    ):
        assert np.array_equal(found.mask((20, 30)), expected)
        assert found.box == Region.of_mask(expected).box
    union = np.count_nonzero(full[0] | full[1])
    assert a.iou(b) == (np.count_nonzero(full[0] & full[1]) / union if union else 1.0)
    points = rng.uniform((-3, -3), (33, 23), (50, 2))
    expected = [bool(0 <= x < 30 and 0 <= y < 20 and full[0][int(y), int(x)]) for x, y in points]
    assert a.contains(points).tolist() == expected
