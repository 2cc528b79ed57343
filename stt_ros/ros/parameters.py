# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node: one table, from which they are declared, checked and documented."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from stt_ros.engines import DEVICES, ENGINES, PRECISIONS
from stt_ros.foveation import SCALES
from stt_ros.gaze import fixation, stream
from stt_ros.gaze.rays import HANDEDNESS
from stt_ros.gaze.spaces import SPACES
from stt_ros.gaze.transforms import parse_static

START, CONFIGURE, LIVE = 'start', 'configure', 'live'


@dataclass(frozen=True)
class Spec:
    """One parameter; ``when`` says when a new value is taken: at start, at configure, or live."""

    name: str
    default: Any
    when: str
    description: str
    choices: Sequence[str | int] = ()
    low: float | None = None
    high: float | None = None
    check: Callable[[Any], Any] | None = None  # raises ValueError for a value that is not allowed

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return ' | '.join(map(str, self.choices))
        if self.low is not None:
            return f'{self.low:g} to {self.high:g}' if self.high is not None else f'>= {self.low:g}'
        return 'true | false' if isinstance(self.default, bool) else 'any'

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value of the right type, None if nothing is."""
        wrong = self.choices and value not in self.choices
        # 'cuda:1' chooses a device of several.
        wrong = wrong and not (self.name == 'device' and value.startswith('cuda:'))
        if self.low is not None and isinstance(value, (int, float)):
            high = math.inf if self.high is None else self.high
            wrong = not self.low <= value <= high
        if self.check and not wrong:
            try:
                self.check(value)
            except ValueError as error:
                return f'{self.name}: {error}'
        return f'{self.name} is {value!r}; allowed: {self.allowed}' if wrong else None


TABLE = (
    Spec('weights', 'default', CONFIGURE,
         'Model: default (embedded, Apache-2.0), stt-b, stt-l or stt-h (downloaded on first use, '
         'CC BY-NC 4.0), or the path of a .safetensors, .pth or exported .onnx file.'),
    Spec('engine', 'auto', CONFIGURE,
         'What runs the network; auto takes the fastest that is installed, by a table.', ENGINES),
    Spec('device', 'auto', CONFIGURE,
         'Where the network runs; auto takes CUDA when there is some; cuda:1 the second device.',
         DEVICES),
    Spec('precision', 'auto', CONFIGURE,
         'Numbers of the network; auto takes bf16 where the device has it natively (fp16 on older '
         'GPUs; onnxruntime: that of the file); int8 is for engine openvino: faster, masks a '
         'little rougher.', PRECISIONS),
    Spec('cpu_threads', 0, CONFIGURE,
         'Threads of the network on a CPU; 0: all cores but one, 4 at most.',
         low=0, high=256),
    Spec('torch_compile', False, CONFIGURE,
         'Have PyTorch compile the network: some minutes at every start, faster afterwards.'),
    Spec('scale', 0, CONFIGURE,
         'Pixels of the image, each way, that the network reads as one; 0: the default model reads '
         'images whose longer side is over 1131 pixels as if they were as small as those it was '
         'trained on, other models all as they are. 1 is for small things in large images.',
         (0, *SCALES)),
    Spec('image_transport', 'raw', CONFIGURE,
         'raw subscribes to the image topic, compressed to its /compressed.',
         ('raw', 'compressed')),
    Spec('mode', 'continuous', LIVE,
         'continuous applies the last prompt to every new frame; on_prompt gives one result per '
         'prompt.', ('continuous', 'on_prompt')),
    Spec('gaze_space', 'auto', LIVE,
         'What the numbers on the gaze topic are: pixels; normalized to [0, 1] with the origin '
         'top-left or bottom-left; metres in the optical frame of the camera (camera_3d) or in '
         "the message's own frame (world_3d); a direction from where that frame is (ray). auto: "
         'pixels if frame_id is empty, or that of the image with z = 0, else world_3d.', SPACES),
    Spec('clicked_point_space', 'auto', LIVE, 'The same for the clicked_point topic.', SPACES),
    Spec('handedness', 'right', LIVE,
         'Axes of gazes in space: as in ROS, or those of Unity (left-handed: x right, y up, z '
         'forward), as headsets send them.', HANDEDNESS),
    Spec('ray_depth', 2.0, LIVE,
         'Metres from its origin at which a gaze ray is taken to end when there is no depth image.',
         low=0.05, high=1000.0),
    Spec('image_rectified', False, LIVE,
         'The image is rectified: P and R of camera_info describe it, instead of K and D.'),
    Spec('static_transform', '', LIVE,
         'Where frames are, instead of what tf2 says: x y z qx qy qz qw frame child, metres, the '
         "pose of child in frame; several separated by ';'. One of the two is the frame of the "
         'camera.',
         check=parse_static),
    Spec('max_sync_offset', 0.5, LIVE,
         'Seconds that the stamps of a gaze and of its image may differ.', low=0.0, high=60.0),
    Spec('gaze_time_offset', 0.0, LIVE,
         'Seconds added to the stamps of the gaze topics, for a tracker whose clock is not the '
         "camera's; stt_ros estimate-offset finds it.", low=-1e10, high=1e10),
    Spec('gaze_confidence', '', CONFIGURE,
         'Where the confidence of each gaze sample is: empty: there is none; z: in the z of the '
         'gaze message (of pixels and normalized ones); else the name of a std_msgs/Float32 topic '
         'whose latest value counts.'),
    Spec('min_confidence', 0.6, LIVE,
         'Samples of less confidence are taken for closed eyes.', low=0.0, high=1.0),
    Spec('blink_hold', 0.4, LIVE,
         'Seconds that the gaze is held while the eyes are not seen.', low=0.0, high=10.0),
    Spec('gaze_smoothing', 0.0, LIVE,
         'Cutoff of the 1 euro filter for a gaze at rest, in Hz: less is smoother; 0 is off.',
         low=0.0, high=100.0),
    Spec('gaze_smoothing_beta', 0.007, LIVE,
         'By how many Hz the cutoff grows per pixel/second of gaze speed: more means less lag.',
         low=0.0, high=10.0),
    Spec('gaze_mode', 'every_sample', LIVE,
         'What of the gaze stream is a prompt: every sample; each fixation once; or a dwell, '
         'which is a click.', stream.MODES),
    Spec('fixation_method', 'ivt', LIVE,
         'What a fixation is: slow movement (I-VT) or little extent (I-DT).', fixation.METHODS),
    Spec('fixation_min', 0.1, LIVE, 'Seconds that a fixation lasts at least.', low=0.0, high=10.0),
    Spec('fixation_velocity', 30.0, LIVE,
         'Degrees per second below which the eye fixates (I-VT), where CameraInfo gives degrees.',
         low=0.1, high=1000.0),
    Spec('fixation_dispersion', 1.0, LIVE,
         'Degrees that the samples of a fixation may cover, width plus height (I-DT).',
         low=0.01, high=90.0),
    Spec('fixation_velocity_px', 450.0, LIVE,
         'The same as fixation_velocity in pixels per second, without CameraInfo.',
         low=1.0, high=1e5),
    Spec('fixation_dispersion_px', 20.0, LIVE,
         'The same as fixation_dispersion in pixels, without CameraInfo.', low=1.0, high=1e4),
    Spec('dwell_time', 0.8, LIVE,
         'Seconds that a fixation must last to be a click in gaze_mode dwell.',
         low=0.05, high=60.0),
    Spec('multi', False, LIVE,
         'Follow several clicks at once, each with its gaze_id, and the gaze stream beside them; '
         'else the latest prompt wins.'),
    Spec('max_gazes', 4, LIVE,
         'Clicks that are followed at once with multi; a further one replaces the oldest.',
         low=1, high=32),
    Spec('prompt_timeout', 0.0, LIVE,
         'Seconds without a new prompt after which the last one is forgotten; 0 keeps it.',
         low=0.0, high=86400.0),
    Spec('max_hypotheses', 3, LIVE, 'Masks per result, best first.', low=1, high=3),
    Spec('interpolation', 'bilinear', LIVE,
         'How coarse outer tokens are painted: smooth, or in squares as published.',
         ('bilinear', 'nearest')),
    Spec('mask_threshold', 0.0, LIVE, 'Logit above which a pixel is in the mask.',
         low=-20.0, high=20.0),
    Spec('overlay_alpha', 0.5, LIVE, 'Share of the tint in the overlay.', low=0.0, high=1.0),
    Spec('text_model', 'owlv2', CONFIGURE,
         'What finds words: owlv2, clipseg, grounding-dino, or the name or folder of a checkpoint '
         'of such a model.'),
    Spec('speech_model', 'moonshine', CONFIGURE,
         'What understands speech: moonshine (English), whisper, or the name or folder of a '
         'checkpoint of such a model.'),
    Spec('example_model', 'facebook/dinov2-small', CONFIGURE,
         'What compares with an example: the name or folder of a DINOv2 or DINOv3 model.'),
    Spec('label_model', '', CONFIGURE,
         'What names the answers: the name or folder of a SigLIP model, for example '
         'google/siglip-base-patch16-224; empty: they get no names.'),
    Spec('vocabulary', '', CONFIGURE,
         'The names that answers may get, separated by commas; empty: the 133 classes of COCO.'),
    Spec('local_files_only', False, CONFIGURE,
         'Never download a model of a prompt: what is not on this machine is an error.'),
    Spec('everything_points', 16, LIVE,
         'Gazes per side of the grid of an EVERYTHING prompt that stands alone: 16 are 256 gazes.',
         low=1, high=64),
    Spec('everything_budget', 0.0, LIVE,
         'Seconds that an EVERYTHING prompt may look; 0: until all is seen.', low=0.0, high=3600.0),
    Spec('everything_crop_layers', 0, LIVE,
         'An EVERYTHING prompt looks at enlarged parts, too: 1: 2 x 2 of them, 2: also 4 x 4 ...',
         low=0, high=4),
    Spec('everything_min_iou', 0.3, LIVE,
         'Predicted IoU above which masks of an EVERYTHING prompt are kept; 0 keeps nearly all.',
         low=0.0, high=1.0),
    Spec('everything_min_stability', 0.0, LIVE,
         'Stability from which masks of an EVERYTHING prompt are kept.', low=0.0, high=1.0),
    Spec('min_region_area', 0, LIVE,
         'Pixels: in answers to prompts smaller holes are filled, smaller islands taken away.',
         low=0, high=1000000),
    Spec('label_image', 'first', LIVE,
         'Whose pixels are in the label image: the first answer that has them, or cover: every '
         'pixel belongs to one answer, the first that has it or the nearest.',
         ('first', 'cover')),
    Spec('autostart', True, START,
         'Configure and activate at start, without a lifecycle manager.'),
)  # fmt: skip
BY_NAME = {spec.name: spec for spec in TABLE}


class Parameters:
    """The declared parameters of a node; ``parameters['mode']`` is the value in force."""

    def __init__(self, node) -> None:
        self._node = node
        self._values = {spec.name: spec.default for spec in TABLE}
        self.refused: list[str] = []  # at start: why a value was not taken
        self.configured = False  # while true, values taken at configure are refused
        node.add_on_set_parameters_callback(self._on_set)
        for spec in TABLE:
            self._declare(spec)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def _declare(self, spec: Spec) -> None:
        """Declare with the user's value; a bad one is logged and the default taken."""
        descriptor = ParameterDescriptor(
            description=spec.description,
            additional_constraints=f'{spec.allowed}; taken {when_in_words(spec.when)}',
            read_only=spec.when == START,
        )
        try:
            self._node.declare_parameter(spec.name, spec.default, descriptor)
        except InvalidParameterValueException as error:
            self._declare_default(spec, descriptor, error)
        except InvalidParameterTypeException:
            self._declare_another_type(spec, descriptor)

    def _declare_another_type(self, spec: Spec, descriptor) -> None:
        """Take a whole number for a float, as people write it in YAML; refuse other types."""
        anything = ParameterDescriptor(dynamic_typing=True)
        try:
            value = self._node.declare_parameter(spec.name, spec.default, anything).value
        except InvalidParameterValueException as error:
            self._declare_default(spec, descriptor, error)
            return
        self._node.undeclare_parameter(spec.name)
        self._node.declare_parameter(spec.name, float(value), descriptor, ignore_override=True)

    def _declare_default(self, spec: Spec, descriptor, reason: Exception) -> None:
        self.refused.append(f'{reason}; using the default {spec.default!r}')
        self._node.get_logger().error(self.refused[-1])
        self._node.declare_parameter(spec.name, spec.default, descriptor, ignore_override=True)

    def _on_set(self, parameters) -> SetParametersResult:
        """Check all values, then take all: what is refused changes nothing."""
        own = [p for p in parameters if p.name in BY_NAME]
        for parameter in own:
            problem = self._refusal(BY_NAME[parameter.name], parameter.value)
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        self._values.update({p.name: type(BY_NAME[p.name].default)(p.value) for p in own})
        return SetParametersResult(successful=True)

    def _refusal(self, spec: Spec, value: Any) -> str | None:
        whole = type(value) is int and type(spec.default) is float
        if type(value) is not type(spec.default) and not whole:
            kind = type(spec.default).__name__
            return f'{spec.name} is {value!r}; must be of type {kind} ({spec.allowed})'
        if spec.when == CONFIGURE and self.configured and value != self[spec.name]:
            return (
                f'{spec.name} is taken when the node is configured: deactivate and clean it up '
                'first, then set it and configure again'
            )
        return spec.problem(value)


def when_in_words(when: str) -> str:
    """Say when a parameter's value is taken."""
    words = {START: 'at start', CONFIGURE: 'when the node is configured', LIVE: 'at any time'}
    return words[when]
