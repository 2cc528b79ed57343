# SPDX-License-Identifier: Apache-2.0
"""The services: segment once, refine, show an example, pause, forget the prompt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from stt_ros.ros.pipeline import Pipeline
from stt_ros.ros.worker import Worker
from stt_ros.segmenter import Segmenter
from stt_ros.srv import ClearGaze, Refine, Segment, SetReference

# More points than this are segmented in the pauses between frames.
_FEW = 4

_INACTIVE = 'the node is not active: ros2 lifecycle set <node> activate'


class Services:
    """The node's services; while it is not active they say so."""

    def __init__(self, node) -> None:
        self._node = node
        # In a group of its own: images and gazes go on while a request is being answered.
        own = ReentrantCallbackGroup()
        node.create_service(Segment, '~/segment', self._segment, callback_group=own)
        node.create_service(Refine, '~/refine', self._refine, callback_group=own)
        node.create_service(
            SetReference, '~/set_reference', self._set_reference, callback_group=own
        )
        node.create_service(SetBool, '~/enable', self._enable)
        node.create_service(Trigger, '~/clear', self._clear)
        node.create_service(ClearGaze, '~/clear_gaze', self._clear_gaze)

    async def _segment(self, request, response):
        """Segment at points as a gaze does, or by prompts."""
        pipeline = self._node.pipeline
        if pipeline is None:
            response.message = _INACTIVE
            return response
        image = request.image if request.image.width else pipeline.latest()
        worker, work = pipeline.worker, _segment_points
        if request.prompts:
            worker, work = pipeline.prompting.worker, _answer
        elif len(request.points) > _FEW:
            worker, work = pipeline.prompting.worker, _segment_many_points
        return await self._done(
            worker, 'segment', response, partial(work, pipeline, image, request, response)
        )

    async def _refine(self, request, response):
        """Correct the last answer to prompts."""
        return await self._prompting('refine', request, response)

    async def _set_reference(self, request, response):
        """Keep what examples are compared with."""
        return await self._prompting('set_reference', request, response)

    async def _prompting(self, name: str, request, response):
        """Let the prompting's method of this name answer."""
        if self._node.pipeline is None:
            response.message = _INACTIVE
            return response
        prompting = self._node.pipeline.prompting
        work = partial(getattr(prompting, name), request, response)
        return await self._done(prompting.worker, name, response, work)

    async def _done(self, worker: Worker, name: str, response, work: Callable[[], None]):
        """Do some work on a worker's thread; meanwhile the node goes on listening."""
        pipeline = self._node.pipeline
        done = Future(executor=self._node.executor)
        done.add_done_callback(lambda _: None)  # wakes the executor

        def job() -> None:
            try:
                work()
                response.success = True
            except Exception as error:
                response.message = str(error) or type(error).__name__
                pipeline.reject(name, error)
            finally:
                done.set_result(None)

        if worker.post(job):
            await done
        else:
            response.message = 'too many requests wait, try again later'
        return response

    def _enable(self, request, response):
        pipeline = self._node.pipeline
        response.success = pipeline is not None
        response.message = _INACTIVE
        if pipeline is not None:
            pipeline.enable(request.data)
            response.message = 'segmenting' if request.data else 'paused'
        return response

    def _clear(self, request, response):
        pipeline = self._node.pipeline
        response.success = pipeline is not None
        response.message = _INACTIVE
        if pipeline is not None:
            response.message = 'prompt forgotten' if pipeline.clear() else 'there was no prompt'
        return response

    def _clear_gaze(self, request, response):
        pipeline, gaze_id = self._node.pipeline, request.gaze_id
        response.message = _INACTIVE
        if pipeline is not None:
            response.success = pipeline.clear_gaze(gaze_id or None)
            left = ', '.join(map(str, pipeline.gaze_ids())) or 'none'
            what = f'gaze {gaze_id}' if gaze_id else 'all'
            done = f'{what} forgotten' if response.success else f'there is no {what}'
            response.message = f'{done}; followed now: {left}'
        return response


def _segment_many_points(pipeline: Pipeline, image, request, response) -> None:
    _segment_points(pipeline, image, request, response, pipeline.prompting.segmenter)


def _segment_points(
    pipeline: Pipeline, image, request, response, segmenter: Segmenter | None = None
) -> None:
    if not request.points:
        raise ValueError('points is empty; at least one point (x, y) in pixels is needed')
    _check_image(image)
    _, results = pipeline.segment(image, [(p.x, p.y) for p in request.points], segmenter)
    response.results = [pipeline.message(result, image.header, 0) for result in results]


def _answer(pipeline: Pipeline, image, request, response) -> None:
    if request.points:
        raise ValueError(
            f'there are {len(request.points)} points and {len(request.prompts)} prompts; either '
            'points, each a gaze of its own, or prompts (of kind POINTS for one thing)'
        )
    _check_image(image)
    prompting = pipeline.prompting
    outcome = prompting.answer(image, prompting.request(image, request.prompts, request.mode))
    message = prompting.message(outcome)
    response.results, response.labels = message.segmentations, message.labels
    response.message = message.message


def _check_image(image) -> None:
    if image is None:
        raise ValueError('no image in the request, and none has been received yet')
