# SPDX-License-Identifier: Apache-2.0
"""The node: camera and gaze messages in, masks of what is looked at out."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from stt_ros.allocator import keep_memory
from stt_ros.ros import dds
from stt_ros.ros.inputs import Inputs
from stt_ros.ros.log import ThrottledLog
from stt_ros.ros.monitor import SILENCE, Monitor
from stt_ros.ros.outputs import Outputs
from stt_ros.ros.parameters import Parameters
from stt_ros.ros.pipeline import Pipeline
from stt_ros.ros.prompt_models import PromptModels
from stt_ros.ros.services import Services
from stt_ros.segmenter import Segmenter

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class SttNode(LifecycleNode):
    """A managed node: the model is loaded in configure, topics are connected in activate."""

    def __init__(self, **kwargs) -> None:
        super().__init__('stt', **kwargs)
        self.parameters = Parameters(self)
        self.monitor = Monitor(self.get_clock())
        self.log = ThrottledLog(self.get_logger())
        self.segmenter: Segmenter | None = None
        self.outputs: Outputs | None = None
        self.prompt_models: PromptModels | None = None
        self.pipeline: Pipeline | None = None
        self._inputs: Inputs | None = None
        self._problem = ''  # why it could not be configured or activated
        self._service_change_state.callback = self._refusing(self._service_change_state.callback)
        Services(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Diagnostics must not stop when simulated time does.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._diagnose, clock=steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; on failure log the reason and stay unconfigured."""
        self._problem = ''
        chosen = {k: self.parameters[k] for k in ('weights', 'device', 'precision', 'engine')}
        try:
            self.segmenter = Segmenter.create(
                **chosen,
                threads=self.parameters['cpu_threads'],
                compiled=self.parameters['torch_compile'],
                scale=self.parameters['scale'],
            )
            self.segmenter.warm_up()
            self.outputs = Outputs(self)
            self.prompt_models = PromptModels(self.parameters)
        except Exception as error:  # whatever a model file or a driver comes up with
            self._failed(f'cannot be configured: {error}')
            self._release()
            return FAILURE
        self.parameters.configured = True
        self.get_logger().info(f'model: {self.segmenter.engine.description}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Connect the topics and start to work; on failure log the reason and stay inactive."""
        self._problem = ''
        self.monitor = Monitor(self.get_clock())
        try:
            self.pipeline = Pipeline(self)
            self._inputs = Inputs(self, self.pipeline)
        except Exception as error:  # a remapped name or a QoS override that is none
            self._failed(f'cannot be activated: {error}')
            self._disconnect()
            return FAILURE
        self.get_logger().info(
            f'active: images from {self._inputs.image_topic}, mode {self.parameters["mode"]}'
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disconnect; the model stays loaded."""
        self._disconnect()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and everything else that configure made."""
        self._problem = ''
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo everything, from whatever state."""
        self.close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured, from where the node can be configured again."""
        self.close()
        return SUCCESS

    def close(self) -> None:
        """Undo everything, from whatever state."""
        self._disconnect()
        self._release()

    def _refusing(self, change_state: Callable) -> Callable:
        """Refuse a transition that the state does not have: before Kilted rclpy lets it end us."""
        def refusing(request, response):
            try:
                return change_state(request, response)
            except RuntimeError as error:  # rclpy's RCLError
                self.get_logger().warning(f'transition refused: {error}')
                response.success = False
                return response

        return refusing

    def _failed(self, problem: str) -> None:
        self._problem = problem
        self.get_logger().error(problem)

    def _disconnect(self) -> None:
        for part in (self._inputs, self.pipeline):
            if part is not None:
                part.close()
        self._inputs = self.pipeline = None

    def _release(self) -> None:
        if self.outputs is not None:
            self.outputs.destroy()
        for part in (self.segmenter, self.prompt_models):
            if part is not None:
                part.close()
        self.outputs = self.segmenter = self.prompt_models = None
        self.parameters.configured = False

    def _diagnose(self) -> None:
        level, message = self._health()
        values, hardware = self.monitor.values(), ''
        if self.segmenter is not None:
            hardware = self.segmenter.engine.description
            used = self.segmenter.engine.device_memory() / 2**20
            values.append(KeyValue(key='device memory (MiB)', value=f'{used:.0f}'))
            values += self.prompt_models.memory()
        status = DiagnosticStatus(
            level=level,
            name=f'{self.get_fully_qualified_name().lstrip("/")}: segmentation',
            message=message,
            hardware_id=hardware,
            values=values,
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _health(self) -> tuple[bytes, str]:
        if self._problem:
            return DiagnosticStatus.ERROR, self._problem
        if self.segmenter is None:
            return DiagnosticStatus.WARN, 'not configured'
        if self._inputs is None or self.pipeline is None:
            return DiagnosticStatus.OK, 'inactive'
        if not self.pipeline.enabled:
            return DiagnosticStatus.OK, 'paused by ~/enable'
        age = self.monitor.frame_age()
        if age > SILENCE:
            message = f'stale: no image for {age:.0f} s'
            self.log.warning('camera', f'{message}; {self._inputs.why_no_image()}')
            return DiagnosticStatus.WARN, message
        if not self.get_clock().now().nanoseconds and self.monitor.age() > SILENCE:
            message = 'use_sim_time is set, but no time has come on /clock'
            self.log.warning('clock', message)
            return DiagnosticStatus.WARN, message
        prompted = self.monitor.prompt_age() is not None or self.pipeline.prompting.active
        if prompted and not (self.outputs.wanted() or self.outputs.prompts.wanted()):
            return DiagnosticStatus.OK, 'idle: nobody listens to the outputs'
        if trouble := self.monitor.trouble():
            return DiagnosticStatus.WARN, trouble
        if self.parameters.refused:
            return DiagnosticStatus.WARN, '; '.join(self.parameters.refused)
        return DiagnosticStatus.OK, 'segmenting' if prompted else 'waiting for a prompt'


def importing(frame: FrameType | None) -> bool:
    """Whether what is being run is part of an import."""
    while frame and not frame.f_code.co_filename.startswith('<frozen importlib'):
        frame = frame.f_back
    return frame is not None


def main(args: list[str] | None = None) -> None:
    """Run the node until it is interrupted."""
    keep_memory()
    dds.use_profile()
    loading = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Loading or downloading a model ends at once, but after an import that is under way: an
        # exception in torch's start would abort the process. Spinning is ended by rclpy, in order.
        if loading and importing(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.02)  # come back
        elif loading:
            raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupt)  # before rclpy, which calls the handlers that it finds
    rclpy.init(args=args)
    node = None
    try:
        node = SttNode()
        if node.parameters['autostart'] and node.trigger_configure() == SUCCESS:
            node.trigger_activate()
        loading = False
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:  # an interrupt takes the context away from whatever is being done
        if rclpy.ok():
            raise
    finally:
        loading = False
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        for number in SIGNALS:  # a second one, while Python ends
            signal.signal(number, signal.SIG_IGN)


if __name__ == '__main__':
    main()
