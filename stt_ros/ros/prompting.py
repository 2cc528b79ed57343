# SPDX-License-Identifier: Apache-2.0
"""Prompts to answers: on a thread of their own, so that frames and gazes go on meanwhile."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stt_ros import prompts, visualize
from stt_ros.frame import Frame
from stt_ros.msg import SegmentationArray
from stt_ros.prompts import Answer, Prompt, PromptError, records
from stt_ros.prompts.ask import Options, ask
from stt_ros.ros import images
from stt_ros.ros import prompt_messages as messages
from stt_ros.ros.monitor import Age
from stt_ros.ros.sharing import SharedEngine
from stt_ros.ros.worker import Worker
from stt_ros.segmenter import Segmenter

# Positive and negative points (x, y) in pixels.
Clicks = tuple[tuple, tuple]


@dataclass(frozen=True)
class Request:
    """What is meant; its prompts keep what they have found out from frame to frame."""

    id: int  # 0: of a service call
    prompts: list[Prompt]
    mode: str
    clicks: Clicks = ((), ())  # that corrected the one answer; new frames heed them, too

    def all_prompts(self) -> list[Prompt]:
        """Return the prompts, and the clicks as one more."""
        return [*self.prompts, prompts.Points(*self.clicks)] if any(self.clicks) else self.prompts


@dataclass(frozen=True)
class Outcome:
    """What was found in one image."""

    request: Request
    header: object
    frame: Frame
    answers: list[Answer]
    message: str = ''  # which prompts were left out, and why
    corrected: int = 0  # the answer that was corrected last
    clicks: Clicks = ((), ())  # by which it was

    def labels(self, cover: bool) -> np.ndarray:
        """Return which answer each pixel belongs to, (H, W) uint16; see ``label_image``."""
        size = self.frame.size
        if cover:
            return records.cover(self.answers, size).astype(np.uint16)
        return visualize.labels(self.answers, size)


class Prompting:
    """Answers prompts; all but ``on_...`` and ``clear`` run on its own ``worker``."""

    def __init__(self, node, pipeline) -> None:
        self._node = node
        self._pipeline = pipeline
        self._engine = SharedEngine(node.segmenter.engine, pipeline.worker)
        self._segmenter = Segmenter(self._engine, node.segmenter.scale)
        # For lists of points: like single ones they are answered to the end, also at the node's.
        engine = SharedEngine(node.segmenter.engine, pipeline.worker)
        self.segmenter = Segmenter(engine, node.segmenter.scale)
        self._models = node.prompt_models
        self._ids = itertools.count(1)
        self._current: Request | None = None  # what is applied to every new frame
        self._forgotten = 0  # requests up to this number are not to be applied to new frames
        self._age = Age(node.get_clock())  # of what is current
        self._last: Outcome | None = None
        self._detections: deque = deque(maxlen=1)  # of jobs: of a detector's stream the newest
        self._outputs = node.outputs.prompts
        self.worker = Worker(partial(pipeline.reject, 'prompt'))

    def close(self) -> None:
        """End what is being done, with its reason to who waits, and stop."""
        self._engine.close()
        self.worker.stop()

    @property
    def active(self) -> bool:
        """Whether there are prompts that are applied to new frames."""
        return self._current is not None

    def on_prompts(self, message) -> None:
        """Take a PromptArray."""
        job = self._job('prompt', message, self._convert)
        if job and not self.worker.post(job):
            self._pipeline.reject('prompt', PromptError('too many prompts wait to be answered'))

    def on_detections(self, message) -> None:
        """Take a vision_msgs/Detection2DArray: a thing is meant per box, none by an empty one."""
        job = self._job('detections', message, self._boxes)
        if job:
            if self._detections:
                self._pipeline.monitor.count('detections dropped')
            self._detections.append(job)
            self.worker.post(self._newest_detections)

    def on_image(self, image) -> None:
        """Apply the prompts in force to a new frame."""
        request, timeout = self._current, self._node.parameters['prompt_timeout']
        if request is None or self._node.parameters['mode'] == 'on_prompt':
            return
        if 0 < timeout < (self._age.seconds() or 0.0):
            self.clear()
        elif self._outputs.wanted() and self.worker.offer(partial(self._show, image, request)):
            self._pipeline.monitor.count('prompt frames dropped')

    def clear(self) -> bool:
        """Forget the prompts in force; returns whether there were any."""
        self.worker.withdraw()
        self._forgotten = next(self._ids)
        had, self._current = self.active, None
        return had

    def answer(self, image, request: Request) -> Outcome:
        """Return what is meant in an image message; raises ``ValueError`` with the reason."""
        return self._find(image.header, images.to_frame(image), request)

    def _find(self, header, frame: Frame, request: Request) -> Outcome:
        if not request.prompts:  # a detector sees nothing
            self._last = Outcome(request, header, frame, [])
            return self._last
        parameters = self._node.parameters
        options = Options(
            interpolation=parameters['interpolation'],
            min_region_area=parameters['min_region_area'],
            points_per_side=parameters['everything_points'],
            crop_layers=parameters['everything_crop_layers'],
            min_predicted_iou=parameters['everything_min_iou'],
            min_stability=parameters['everything_min_stability'],
            budget_ms=parameters['everything_budget'] * 1e3 or None,
            labeller=self._models.labeller,
        )
        reply = ask(self._segmenter, frame, request.all_prompts(), request.mode, options)
        problems = '; '.join(reply.problems)
        self._last = Outcome(request, header, frame, reply.answers, problems, clicks=request.clicks)
        if reply.problems:
            self._pipeline.reject('prompt', PromptError(self._last.message))
        return self._last

    def request(self, image, prompt_messages, mode: int, prompt_id: int = 0) -> Request:
        """Return the request of a list of Prompt messages; raises ``ValueError``."""
        found = messages.to_prompts(prompt_messages, self._models, images.size(image))
        return Request(prompt_id, found, messages.to_mode(mode))

    def refine(self, request, response) -> None:
        """Answer a Refine request: the last answer, corrected by clicks; raises ``ValueError``."""
        last = self._last
        if last is None or not last.answers:
            raise PromptError('there is no answer to refine yet: send prompts first')
        new = messages.to_points(request.positive), messages.to_points(request.negative)
        prompts.Points(*new)  # says what is wrong with them
        which = _meant(last.answers, [*new[0], *new[1]])
        old = last.clicks if which == last.corrected else ((), ())
        clicks = (*old[0], *new[0]), (*old[1], *new[1])
        answers = list(last.answers)
        answers[which] = prompts.refine(
            self._segmenter, last.frame, answers[which], *clicks, last.request.prompts,
            self._node.parameters['interpolation'],
        )  # fmt: skip
        self._last = replace(last, answers=answers, corrected=which, clicks=clicks)
        if last.request is self._current and last.request.mode == 'one_object':
            self._current = replace(last.request, clicks=clicks)
            self._last = replace(self._last, request=self._current)
        self._outputs.publish(self._last, self.message)
        response.results = [self.message(self._last).segmentations[which]]

    def set_reference(self, request, _response) -> None:
        """Keep a thing that examples are compared with; raises ``ValueError`` if none is shown."""
        if request.picture.width:
            picture = images.to_frame(request.picture).rgb()
            mask = messages.to_mask(request.mask)
        elif self._last is None or not self._last.answers:
            raise PromptError('picture is empty, and no answer to prompts shows a thing either')
        else:
            picture = self._last.frame.rgb()
            mask = self._last.answers[0].mask(self._last.frame.size)
        example = self._models.example(picture, mask)
        example.learn()  # a model that is missing is told now
        self._models.reference = example

    def message(self, outcome: Outcome) -> SegmentationArray:
        """Return the message of what was found, stamped with its latency as of now."""
        header, size = outcome.header, outcome.frame.size
        message = SegmentationArray(
            header=header, prompt_id=outcome.request.id, message=outcome.message
        )
        for found in outcome.answers:
            segmentation = messages.to_segmentation(found, size, header, outcome.request.id)
            segmentation.latency = self._pipeline.latency(header)
            message.segmentations.append(segmentation)
        cover = self._node.parameters['label_image'] == 'cover'
        messages.fill_labels(message.labels, outcome.labels(cover), header)
        return message

    def _job(self, source: str, message, convert) -> Callable[[], None] | None:
        """Return the job of answering a message in the frame it is about, None while paused."""
        if not self._pipeline.enabled:
            return None
        image = self._pipeline.frame_of(message.header)
        return partial(self._begin, source, image, partial(convert, message, next(self._ids)))

    def _newest_detections(self) -> None:
        if self._detections:
            self._detections.popleft()()

    def _begin(self, source: str, image, convert: Callable[..., Request]) -> None:
        """Answer new prompts; those that can be answered are in force from now on."""
        try:
            request = convert(image)
            outcome = self.answer(image, request)
        except ValueError as error:
            self._pipeline.reject(source, error)
            return
        if request.id > self._forgotten:
            self._age.start()
            self._current = request if request.prompts else None
        self._publish(outcome)

    def _show(self, image, request: Request) -> None:
        self._publish(self.answer(image, request))
        self._pipeline.monitor.count('prompt frames answered')

    def _publish(self, outcome: Outcome) -> None:
        self._outputs.publish(outcome, self.message)
        self._pipeline.monitor.answered()

    def _convert(self, message, number: int, image) -> Request:
        return self.request(image, message.prompts, message.mode, number)

    def _boxes(self, message, number: int, image) -> Request:
        boxes, problems = messages.to_boxes(message, images.size(image))
        if problems:
            self._pipeline.reject('detections', PromptError('; '.join(problems)))
        return Request(number, boxes, 'one_per_prompt')


def _meant(answers: list[Answer], clicks: list) -> int:
    """Return the number of the answer that clicks (x, y) correct: the one that has most of them."""
    return int(np.argmax([np.count_nonzero(answer.contains(clicks)) for answer in answers]))
