# SPDX-License-Identifier: Apache-2.0
"""How well candidates fit a map of likeness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.prompts import Region
from stt_ros.prompts.heat import HeatMap

SIZE = (240, 320)


def box(x, y, width, height):
    return Region((x, y, width, height), np.ones((height, width), bool))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 270), st.integers(0, 190), st.integers(16, 50), st.integers(16, 50))
def test_a_map_of_the_candidate_itself(x, y, width, height):
    candidate = box(x, y, width, height)
    heat = HeatMap(candidate.mask(SIZE).astype(np.float32), SIZE)
    moved = box((x + 25) % 270, y, width, height)
    assert heat.contrast([candidate])[0] == pytest.approx(1, abs=0.02)
    assert heat.contrast([moved])[0] < 0.7


@pytest.mark.parametrize('shrink', [2, 4, 8])
def test_a_coarse_map_lies_where_the_fine_one_does(shrink):
    candidate = box(96, 64, 64, 48)
    fine = candidate.mask(SIZE).astype(np.float32)
    rows, columns = SIZE[0] // shrink, SIZE[1] // shrink
    coarse = fine.reshape(rows, shrink, columns, shrink).mean(axis=(1, 3))
    heat = HeatMap(coarse, SIZE)
    moves = [(dx, dy) for dx in (-16, 0, 16) for dy in (-16, 0, 16)]
    scores = heat.contrast([box(96 + dx, 64 + dy, 64, 48) for dx, dy in moves])
    assert moves[int(scores.argmax())] == (0, 0)
    # Nothing draws the candidate to one side.
    np.testing.assert_allclose(scores, scores[::-1], atol=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_are_in_range_and_a_constant_says_nothing(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(SIZE) < rng.random()
    candidates = [Region.of_mask(mask), box(0, 0, 320, 240), box(319, 239, 1, 1)]
    scores = HeatMap(rng.random((7, 9)), SIZE).contrast(candidates)
    assert ((scores >= 0) & (scores <= 1)).all()
    flat = HeatMap(np.full((7, 9), 0.6), SIZE).contrast(candidates[2:])
    np.testing.assert_allclose(flat, 0, atol=1e-6)


def test_an_empty_candidate_and_none():
    heat = HeatMap(np.ones((7, 9)), SIZE)
    empty = Region((0, 0, 0, 0), np.zeros((0, 0), bool))
    assert heat.contrast([empty]) == [0]
    assert heat.contrast([]).shape == (0,)
