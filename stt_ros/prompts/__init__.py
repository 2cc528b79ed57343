# SPDX-License-Identifier: Apache-2.0
"""Points, boxes, masks, words, examples, everything: what is meant, turned into gazes and votes.

``prompts.answer(segmenter, image, [prompts.Box((10, 20, 200, 100))])``
"""

from stt_ros.prompts.audio import Audio
from stt_ros.prompts.base import Answer, Candidate, Prompt, PromptError
from stt_ros.prompts.boxes import Box, Boxes
from stt_ros.prompts.combine import MODES, answer
from stt_ros.prompts.everything import Everything
from stt_ros.prompts.example import Example
from stt_ros.prompts.hub import Loader, PromptModelError
from stt_ros.prompts.labels import Label, Labeller
from stt_ros.prompts.mask import Mask
from stt_ros.prompts.points import Points
from stt_ros.prompts.region import Region
from stt_ros.prompts.rounds import refine
from stt_ros.prompts.strokes import Lasso, Polygon, Scribble
from stt_ros.prompts.text import Text

__all__ = [
    'MODES', 'Answer', 'Audio', 'Box', 'Boxes', 'Candidate', 'Everything', 'Example', 'Label',
    'Labeller', 'Lasso', 'Loader', 'Mask', 'Points', 'Polygon', 'Prompt', 'PromptError',
    'PromptModelError', 'Region', 'Scribble', 'Text', 'answer', 'refine',
]  # fmt: skip
