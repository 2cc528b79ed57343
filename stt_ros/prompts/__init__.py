# SPDX-License-Identifier: Apache-2.0
"""Points, boxes, scribbles, masks and everything: what is meant, turned into gazes and votes.

``prompts.answer(segmenter, image, [prompts.Box((10, 20, 200, 100))])``
"""

from stt_ros.prompts.base import Answer, Candidate, Prompt, PromptError
from stt_ros.prompts.boxes import Box, Boxes
from stt_ros.prompts.combine import MODES, answer
from stt_ros.prompts.everything import Everything
from stt_ros.prompts.mask import Mask
from stt_ros.prompts.points import Points
from stt_ros.prompts.region import Region
from stt_ros.prompts.strokes import Lasso, Polygon, Scribble

__all__ = [
    'MODES', 'Answer', 'Box', 'Boxes', 'Candidate', 'Everything', 'Lasso', 'Mask', 'Points',
    'Polygon', 'Prompt', 'PromptError', 'Region', 'Scribble', 'answer',
]  # fmt: skip
