# SPDX-License-Identifier: Apache-2.0
"""Hundreds of gazes and candidates: shortcuts that change nothing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros.prompts import Box, Candidate, Points, combine
from stt_ros.prompts.scene import Scene


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 99)] * 2), min_size=1, max_size=12), st.booleans())
def test_the_best_is_that_of_the_highest_rank(points, alone):
    found = [
        Candidate((x // 8, y // 8, 30, 40), np.ones((40, 30), bool), (x, y), 0.02 * (x % 60), 0.9)
        for x, y in points
    ]
    looks = [(one,) for one in found] if not alone else [tuple(found)]
    scene = Scene([Points(points), Box((5, 5, 25, 25))], [looks])
    pool = [*scene.candidates, *scene.unions()]
    assert scene.best(pool) is pool[int(scene.ranks(pool).argmax())]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 2), max_size=20))
def test_gazes_nearer_than_two_pixels_are_one(points):
    gazes = np.array(points, float).reshape(-1, 2)
    kept = combine.merge_gazes(gazes)
    far = np.linalg.norm(gazes[:, None] - kept, axis=2) if len(gazes) else np.empty((0, 0))
    assert (far.min(axis=1, initial=np.inf) < 2).all()
    assert (np.linalg.norm(kept[:, None] - kept, axis=2) + 9 * np.eye(len(kept)) >= 2).all()
