# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a ROS domain that nobody else uses, this machine only, room for images."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import stt_ros
from stt_ros.ros.demo.environment import free_domain

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests

PROFILE = Path(__file__).resolve().parent.parent / 'config' / 'fastdds.xml'
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


def pytest_configure(config):
    """Isolate this run, and every process that it starts, before anything imports rclpy."""
    # A shell may start us with Ctrl-C ignored, and every process that we start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    domain = free_domain()
    # What engines keep is kept for later test runs, too, but not where the user's own is.
    os.environ.setdefault('STT_ROS_CACHE', str(Path(tempfile.gettempdir(), 'stt_ros_test_cache')))
    os.environ['ROS_DOMAIN_ID'] = str(domain.__enter__())
    config.add_cleanup(lambda: domain.__exit__(None, None, None))
    os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')  # of messages, as Humble always does
    if os.environ.get('ROS_DISTRO') != 'humble':
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if not any(os.environ.get(name) for name in (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')):
        before_kilted = os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
        os.environ[PROFILE_VARIABLES[before_kilted]] = str(PROFILE)


def pytest_report_header():
    """Say which stt_ros is being tested: the sources, ./stt's or a colcon workspace's."""
    return f'stt_ros: {Path(stt_ros.__file__).parent}'


@pytest.fixture
def ros_domain(monkeypatch):
    """Give one test, and the processes that it starts, a ROS domain of its own."""
    with free_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        yield domain


@pytest.fixture(scope='session')
def cpu_segmenter():
    """Load the default model in float32 on the CPU, once for all tests."""
    from stt_ros.segmenter import Segmenter

    segmenter = Segmenter.create(device='cpu', precision='fp32')
    yield segmenter
    segmenter.close()


@pytest.fixture(scope='session')
def two_squares():
    """Draw a red and a blue thing on gray, (120, 160, 3) uint8 RGB; the red one is 40 x 40."""
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[20:60, 20:60] = (220, 40, 40)
    picture[40:80, 80:110] = (40, 60, 220)
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope='session')
def models(tmp_path_factory):
    """Return a function: the folder of a tiny foundation model of a kind; needs transformers."""
    import tiny_models

    root, made = tmp_path_factory.mktemp('models'), {}

    def folder(kind):
        if kind not in made:
            (root / kind).mkdir()
            made[kind] = str(getattr(tiny_models, kind)(root / kind))
        return made[kind]

    return folder


@pytest.fixture(scope='session')
def micro_weights(tmp_path_factory):
    """Return the file of the golden vectors' small model, float32."""
    from micro import MICRO, write_weights

    assert len({case['weight_seed'] for case in MICRO}) == 1
    return write_weights(MICRO[0], tmp_path_factory.mktemp('weights') / 'micro.safetensors')


@pytest.fixture(scope='session')
def views():
    """Return tokens (B,N,3,T,T) and valid (B,N) of some gazes."""
    import golden
    from micro import GAZES, PATTERN

    return PATTERN.foveate(golden.image(500, 480, 640), GAZES)


@pytest.fixture(scope='session')
def exact(micro_weights, views):
    """Return what the small model itself says of the views, on all tokens: logits and ious."""
    import torch

    from stt_ros import zoo
    from stt_ros.model import normalise

    model = zoo.load(micro_weights)
    tokens, valid = map(torch.from_numpy, views)
    with torch.inference_mode():
        logits, ious = model(normalise(tokens), valid)
    return logits.numpy(), ious.numpy()


@pytest.fixture(scope='module')
def running(request):
    """Run our node for all tests of a module, with the module's ROS_ARGUMENTS if it has some."""
    from ros_helpers import running_bench

    with running_bench(*getattr(request.module, 'ROS_ARGUMENTS', ())) as bench:
        yield bench


@pytest.fixture
def bench(running, request):
    """Return the running node with the module's PIXELS as its image and without a prompt."""
    running.set(mode='continuous')
    running.show(request.module.PIXELS)
    running.clear()
    return running


@pytest.fixture(scope='module')
def robot(running):
    """Return the running node before a real camera, whose calibration it has."""
    from robot import Robot

    return Robot(running)
