# SPDX-License-Identifier: Apache-2.0
"""The services: segment once, pause, forget the prompt."""

from __future__ import annotations

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from stt_ros.ros.pipeline import Pipeline
from stt_ros.srv import Segment

_INACTIVE = 'the node is not active: ros2 lifecycle set <node> activate'


class Services:
    """The node's services; while it is not active they say so."""

    def __init__(self, node) -> None:
        self._node = node
        # In a group of its own: images and gazes go on while a request is being answered.
        own = ReentrantCallbackGroup()
        node.create_service(Segment, '~/segment', self._segment, callback_group=own)
        node.create_service(SetBool, '~/enable', self._enable)
        node.create_service(Trigger, '~/clear', self._clear)

    async def _segment(self, request, response):
        """Answer from the worker thread; meanwhile the node goes on listening."""
        pipeline = self._node.pipeline
        if pipeline is None:
            response.message = _INACTIVE
            return response
        image = request.image if request.image.width else pipeline.latest()
        done = Future(executor=self._node.executor)
        done.add_done_callback(lambda _: None)  # wakes the executor

        def job() -> None:
            try:
                response.results = _results(pipeline, image, request.points)
                response.success = True
            except Exception as error:
                response.message = str(error)
                pipeline.reject('segment', error)
            finally:
                done.set_result(None)

        if pipeline.worker.post(job):
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


def _results(pipeline: Pipeline, image, points: list) -> list:
    if not points:
        raise ValueError('points is empty; at least one point (x, y) in pixels is needed')
    if image is None:
        raise ValueError('no image in the request, and none has been received yet')
    _, results = pipeline.segment(image, [(p.x, p.y) for p in points])
    return [pipeline.message(result, image.header, 0) for result in results]
