# SPDX-License-Identifier: Apache-2.0
"""How often an example picture finds its thing again in the other frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.evaluation.truth import Sample
from stt_ros.prompts.base import as_frame
from stt_ros.prompts.example import Example
from stt_ros.prompts.hub import Loader


def hits(samples: Sequence[Sample], loader: Loader | None = None) -> dict[str, float]:
    """Return per group the share of frames in which the surest gaze lies on the thing.

    Each group's first frame is the example for its others. Raises ``PromptModelError`` when the
    backbone's weights are not on this machine.
    """
    loader = loader or Loader(local_files_only=True)
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    return {
        name: _share(Example(group[0].image, group[0].mask, loader), group[1:])
        for name, group in groups.items()
        if len(group) > 1
    }


def _share(example: Example, others: Sequence[Sample]) -> float:
    on_it = []
    for sample in others:
        gazes = example.propose(as_frame(sample.image))
        x, y = gazes[0].astype(int) if len(gazes) else (0, 0)
        on_it.append(bool(len(gazes)) and bool(sample.mask[y, x]))
    return float(np.mean(on_it))
