# SPDX-License-Identifier: Apache-2.0
"""Messages to prompts, and what was found back to messages. Needs their fields only, no topics."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image, RegionOfInterest

from stt_ros import prompts
from stt_ros.msg import MaskHypothesis, PromptArray, Segmentation
from stt_ros.msg import Prompt as PromptMsg
from stt_ros.prompts import Answer, Prompt, PromptError
from stt_ros.ros.images import fill_image, to_frame
from stt_ros.ros.prompt_models import PromptModels

MODES = {
    PromptArray.ONE_OBJECT: 'one_object',
    PromptArray.ONE_PER_PROMPT: 'one_per_prompt',
    PromptArray.ALL_INSTANCES: 'all_instances',
}


def to_mode(number: int) -> str:
    """Return the name of a PromptArray's mode; raises ``PromptError`` when there is no such."""
    if number not in MODES:
        allowed = ', '.join(f'{k} ({name})' for k, name in MODES.items())
        raise PromptError(f'mode is {number}; allowed: {allowed}')
    return MODES[number]


def to_prompts(
    messages: Sequence[PromptMsg], models: PromptModels, size: tuple[int, int]
) -> list[Prompt]:
    """Return the prompts of an array about an image of ``size`` (H, W).

    Raises ``PromptError`` for the first that makes no sense, with its number.
    """
    if not messages:
        raise PromptError('prompts is empty; at least one is needed (~/clear forgets the last)')
    found = []
    for number, message in enumerate(messages):
        try:
            found.append(to_prompt(message, models, size))
        except ValueError as error:
            raise PromptError(f'prompts[{number}]: {error}') from error
    return found


def to_prompt(message: PromptMsg, models: PromptModels, size: tuple[int, int]) -> Prompt:
    """Return one prompt; raises ``ValueError`` (mostly ``PromptError``) when it makes no sense."""
    if message.kind not in _KINDS:
        allowed = ', '.join(f'{number} ({name})' for number, (name, _) in _KINDS.items())
        raise PromptError(f'kind is {message.kind}; allowed: {allowed}')
    return _KINDS[message.kind][1](message, models, size)


def to_points(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return (x, y) of points."""
    return [(point.x, point.y) for point in points]


def to_mask(message: Image, what: str = 'mask') -> np.ndarray:
    """Return a mask (H, W) bool; raises ``ValueError`` when the image is not one."""
    if message.encoding not in ('mono8', '8UC1'):
        raise PromptError(f"{what} has encoding '{message.encoding}'; allowed: mono8, 8UC1")
    return to_frame(message).pixels > 0


def _points(message: PromptMsg, *_) -> Prompt:
    return prompts.Points(to_points(message.points), to_points(message.negative_points))


def _box(message: PromptMsg, *_) -> Prompt:
    return prompts.Box(_corner_and_size(message.box))


def _scribble(message: PromptMsg, *_) -> Prompt:
    over, beside = to_points(message.points), to_points(message.negative_points)
    return prompts.Scribble([over] if over else [], [beside] if beside else [])


def _polygon(message: PromptMsg, *_) -> Prompt:
    return prompts.Polygon(to_points(message.points))


def _lasso(message: PromptMsg, *_) -> Prompt:
    return prompts.Lasso(to_points(message.points))


def _mask(message: PromptMsg, _models, size: tuple[int, int]) -> Prompt:
    mask, (x, y, width, height) = to_mask(message.mask), _corner_and_size(message.box)
    if not any((x, y, width, height)):
        return prompts.Mask(mask)
    if mask.shape != (height, width):
        raise PromptError(
            f'mask of {mask.shape[1]} x {mask.shape[0]} pixels in a box of {width} x {height}: '
            'they must be of one size (a box of zeros: the mask covers the image)'
        )
    if x + width > size[1] or y + height > size[0]:
        raise PromptError(
            f'box (x={x}, y={y}, {width} x {height}) of the mask leaves the image of '
            f'{size[1]} x {size[0]} pixels'
        )
    full = np.zeros(size, bool)
    full[y : y + height, x : x + width] = mask
    return prompts.Mask(full)


def _everything(*_) -> Prompt:
    return prompts.Everything()


def _example(message: PromptMsg, models: PromptModels, _size) -> Prompt:
    if not message.picture.width:
        return models.reference
    return models.example(to_frame(message.picture).rgb(), to_mask(message.mask))


def _text(message: PromptMsg, models: PromptModels, _size) -> Prompt:
    return models.text(message.text)


def _audio(message: PromptMsg, models: PromptModels, _size) -> Prompt:
    return models.audio(np.asarray(message.audio, np.float32), message.audio_rate)


_KINDS: dict[int, tuple[str, Callable[..., Prompt]]] = {
    PromptMsg.POINTS: ('POINTS', _points),
    PromptMsg.BOX: ('BOX', _box),
    PromptMsg.SCRIBBLE: ('SCRIBBLE', _scribble),
    PromptMsg.POLYGON: ('POLYGON', _polygon),
    PromptMsg.LASSO: ('LASSO', _lasso),
    PromptMsg.MASK: ('MASK', _mask),
    PromptMsg.EVERYTHING: ('EVERYTHING', _everything),
    PromptMsg.EXAMPLE: ('EXAMPLE', _example),
    PromptMsg.TEXT: ('TEXT', _text),
    PromptMsg.AUDIO: ('AUDIO', _audio),
}


def _corner_and_size(roi: RegionOfInterest) -> tuple[int, int, int, int]:
    return roi.x_offset, roi.y_offset, roi.width, roi.height


def to_boxes(message, size: tuple[int, int]) -> tuple[list[prompts.Box], list[str]]:
    """Return the boxes of a vision_msgs/Detection2DArray about an image of ``size`` (H, W).

    A box that is turned becomes the upright one around it; its label is the most likely class.
    Those that are none, or outside the image, are left out; why is returned, too.
    """
    boxes, problems = [], []
    for number, detection in enumerate(message.detections):
        try:
            box = prompts.Box(_upright(detection.bbox))
            box.inside(size)
        except PromptError as error:
            problems.append(f'detections[{number}]: {error}')
            continue
        box.label = _class_of(detection)
        boxes.append(box)
    return boxes, problems


def _upright(bbox) -> tuple[float, float, float, float]:
    centre, turn = bbox.center.position, bbox.center.theta
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    width = bbox.size_x * cos + bbox.size_y * sin
    height = bbox.size_x * sin + bbox.size_y * cos
    return centre.x - width / 2, centre.y - height / 2, width, height


def _class_of(detection) -> str:
    best = max(detection.results, key=lambda result: result.hypothesis.score, default=None)
    return '' if best is None else best.hypothesis.class_id


def to_segmentation(answer: Answer, size: tuple[int, int], header, prompt_id: int) -> Segmentation:
    """Return the message of an answer in an image of ``size`` (H, W); its latency is left open."""
    x, y, width, height = answer.box
    hypothesis = MaskHypothesis(
        predicted_iou=float(answer.predicted_iou),
        stability=float(answer.stability),
        area_px=answer.area,
        roi=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
    )
    fill_image(hypothesis.mask, answer.crop.view(np.uint8) * np.uint8(255), 'mono8', header)
    return Segmentation(
        header=header,
        image_width=size[1],
        image_height=size[0],
        gaze=Point(x=float(answer.gaze[0]), y=float(answer.gaze[1]), z=0.0),
        gaze_id=prompt_id,
        hypotheses=[hypothesis],
        latency=math.nan,
        label=answer.label,
        label_probability=float(answer.label_probability or math.nan),
        agreement=[math.nan if a is None else float(a) for a in answer.agreement],
    )


def fill_labels(image: Image, labels: np.ndarray, header) -> None:
    """Fill an Image with labels (H, W) uint16 as mono16."""
    height, width = labels.shape
    fill_image(image, labels.view(np.uint8).reshape(height, 2 * width), 'mono16', header)
    image.width, image.is_bigendian = width, int(sys.byteorder == 'big')
