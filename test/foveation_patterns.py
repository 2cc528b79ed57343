# SPDX-License-Identifier: Apache-2.0
"""Foveation patterns to be tested with."""

from hypothesis import strategies as st

from stt_ros.foveation import FoveationPattern

STANDARD = FoveationPattern.standard()
SMALL = FoveationPattern(4, (1, 2, 4), (4, 4, 6))


@st.composite
def patterns(draw):
    """Valid patterns of small tokens and up to three levels."""
    strides, grids = [draw(st.integers(1, 2))], [draw(st.integers(1, 4))]
    for _ in range(draw(st.integers(0, 2))):
        inner = strides[-1] * grids[-1]
        larger = [s for s in range(strides[-1] + 1, inner + 1) if inner % s == 0]
        if not larger:
            break
        stride = draw(st.sampled_from(larger))
        strides.append(stride)
        grids.append(inner // stride + 2 * draw(st.integers(1, 2)))
    return FoveationPattern(draw(st.integers(1, 3)), tuple(strides), tuple(grids))
