# SPDX-License-Identifier: Apache-2.0
"""Models of prompts by name: the real download code against a hub on this machine.

Each test is a process of its own: huggingface_hub reads its variables when it is imported.
"""

import io
import os
import socket
import subprocess
import sys

import hub as hubs
import pytest

import stt_ros

NAME = 'facebook/dinov2-small'
# Waiting between tries is the library's business; the tests need not wait with it.
LOAD = f"""
import sys, time
time.sleep = lambda seconds: None
from stt_ros.prompts.features import CLASSES
from stt_ros.prompts.hub import Loader, PromptModelError
loader = Loader('cpu', 'fp32', local_files_only='local' in sys.argv)
try:
    print(loader.model('{NAME}', CLASSES).config.model_type, loader.memory)
except PromptModelError as error:
    sys.exit(f'PromptModelError: {{error}}')
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Return name and content of the files of a repository."""
    pytest.importorskip(
        'transformers', reason='needs the extra [prompts]: pip install -r requirements/prompts.txt'
    )
    import tiny_models

    folder = tiny_models.dinov2(tmp_path_factory.mktemp('dinov2'))
    repository = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**repository, 'tf_model.h5': b'of another framework', 'README.md': b'a card'}


@pytest.fixture
def load(files, tmp_path):
    """Return a function that loads the model by name in a process of its own."""
    with hubs.running() as hub:
        hub.files.update(files)

        def run(*words, **more):
            environment = {
                **os.environ, 'HF_ENDPOINT': hub.endpoint, 'HF_HOME': str(tmp_path / 'hf'),
                'HF_HUB_DOWNLOAD_TIMEOUT': '5', 'HF_HUB_ETAG_TIMEOUT': '5',
                'PYTHONPATH': os.path.dirname(os.path.dirname(stt_ros.__file__)), **more,
            }  # fmt: skip
            return subprocess.run(
                [sys.executable, '-c', LOAD, *words],
                env=environment, capture_output=True, text=True, timeout=100,
            )  # fmt: skip

        run.hub = hub
        yield run


def test_a_name_is_fetched_once_and_then_needs_no_network(load):
    done = load()
    assert done.stdout.startswith('dinov2 {'), done.stderr
    assert f'downloading https://huggingface.co/{NAME}' in done.stderr
    fetched = {name for method, name, _ in load.hub.requests if method == 'GET'}
    assert {'config.json', 'model.safetensors'} <= fetched
    assert not {'tf_model.h5', 'README.md'} & fetched
    load.hub.requests.clear()
    assert load().stdout == done.stdout
    assert load.hub.requests == []


def test_local_files_only_never_asks_the_network(load):
    done = load('local')
    assert f'PromptModelError: {NAME} is not on this machine and local_files_only' in done.stderr
    assert f'hf download {NAME} --local-dir FOLDER' in done.stderr
    assert load.hub.requests == []


def test_a_download_that_broke_is_completed(load):
    load.hub.cuts = [100] * 100
    done = load()
    assert f'PromptModelError: cannot download {NAME}: ' in done.stderr
    load.hub.cuts = []
    assert load().stdout.startswith('dinov2 {')


def test_a_repository_without_weights_for_pytorch(load):
    del load.hub.files['model.safetensors']
    assert f'{NAME} has no weights for PyTorch' in load().stderr


def test_weights_of_the_old_form(load):
    import torch
    from safetensors.torch import load as unpack

    with io.BytesIO() as packed:
        torch.save(unpack(load.hub.files.pop('model.safetensors')), packed)
        load.hub.files['pytorch_model.bin'] = packed.getvalue()
    done = load()
    assert done.stdout.startswith('dinov2 {'), done.stderr
    assert load('local').stdout == done.stdout


def test_no_connection(load):
    with socket.socket() as nobody:
        nobody.bind(('127.0.0.1', 0))
        endpoint = f'http://127.0.0.1:{nobody.getsockname()[1]}'
        done = load(HF_ENDPOINT=endpoint)
    assert f'PromptModelError: cannot download {NAME}: ' in done.stderr
    assert f'run `hf download {NAME}` where there is a network' in done.stderr


def test_offline_by_environment(load):
    done = load(HF_HUB_OFFLINE='1')
    assert 'HF_HUB_OFFLINE forbids the network' in done.stderr
    assert load.hub.requests == []


def test_a_hub_that_refuses(load):
    load.hub.status = 403
    done = load()
    assert f'cannot download {NAME}: ' in done.stderr and '403' in done.stderr
