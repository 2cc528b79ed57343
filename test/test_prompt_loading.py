# SPDX-License-Identifier: Apache-2.0
"""Foundation models are loaded once, from a folder or the hub; what is wrong with one is told."""

import json
import logging
import shutil
import sys
import threading

import numpy as np
import pytest

pytest.importorskip(
    'transformers', reason='needs the extra [prompts]: pip install -r requirements/prompts.txt'
)
pytest.importorskip('sentencepiece', reason='needs the extra [prompts]')

import torch  # noqa: E402

from stt_ros.frame import Frame  # noqa: E402
from stt_ros.prompts import Text  # noqa: E402
from stt_ros.prompts.features import CLASSES  # noqa: E402
from stt_ros.prompts.hub import Loader, PromptModelError  # noqa: E402
from stt_ros.prompts.search import WordSearch  # noqa: E402

RGB = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)


@pytest.fixture
def copy(models, tmp_path):
    """Return a function: a folder with a copy of a model, to damage."""
    return lambda kind: shutil.copytree(models(kind), tmp_path / kind)


def test_a_model_is_loaded_once_and_its_memory_is_told(models, caplog):
    loader = Loader('cpu', 'bf16', local_files_only=True)
    assert loader.memory == {}
    with caplog.at_level(logging.INFO, 'stt_ros.prompts.hub'):
        first = loader.model(models('dinov2'), CLASSES)
        assert loader.model(models('dinov2'), CLASSES) is first
    assert [f'{models("dinov2")} on cpu, bfloat16: 0 MB'] == caplog.messages
    assert loader.memory == {models('dinov2'): 2 * sum(p.numel() for p in first.parameters())}
    assert first.dtype == torch.bfloat16 and not first.training
    loader.close()
    assert loader.memory == {}
    assert loader.model(models('dinov2'), CLASSES) is not first


def test_memory_is_told_while_a_model_loads():
    loader, loading, go_on = Loader('cpu'), threading.Event(), threading.Event()
    thread = threading.Thread(
        target=loader.once, args=('slow', lambda: loading.set() or go_on.wait(30))
    )
    thread.start()
    try:
        assert loading.wait(30)
        assert loader.memory == {}
    finally:
        go_on.set()
        thread.join()


def test_without_transformers(models, monkeypatch):
    prompt = Text('dog', Loader('cpu', local_files_only=True), model=models('owlv2'))
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(PromptModelError, match=r"needs the Python package.*pip install 'transf"):
        prompt.propose(Frame(RGB))


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    prompt = Text('dog', Loader('cpu', local_files_only=True))
    with pytest.raises(
        PromptModelError,
        match='google/owlv2-base-patch16-ensemble is not on this machine and local_files_only '
        'forbids fetching it: run `hf download google/owlv2-base-patch16-ensemble`',
    ):
        prompt.propose(Frame(RGB))


@pytest.mark.parametrize('name', ['', '/no/such/folder', './none', '~/none', 'a/b/c'])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(PromptModelError, match='there is no folder'):
        Loader('cpu').model(name, CLASSES)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(PromptModelError, match=f'{tmp_path} holds no config.json'):
        Loader('cpu').model(str(tmp_path), CLASSES)


def test_a_model_of_another_kind(models):
    with pytest.raises(PromptModelError, match="kind 'owlv2'; here one of these is needed: dinov2"):
        Loader('cpu').model(models('owlv2'), CLASSES)


def test_damaged_weights(copy):
    folder = copy('dinov2')
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PromptModelError, match='dinov2 cannot be loaded from'):
        Loader('cpu').model(str(folder), CLASSES)


def test_incomplete_weights_are_never_loaded_in_part(copy):
    from safetensors.torch import load_file, save_file

    folder = copy('dinov2')
    tensors = load_file(folder / 'model.safetensors')
    del tensors['layernorm.weight']
    save_file(tensors, folder / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(PromptModelError, match='are incomplete: layernorm.weight and 0 others'):
        Loader('cpu').model(str(folder), CLASSES)


def test_a_folder_without_weights(copy):
    folder = copy('dinov2')
    (folder / 'model.safetensors').unlink()
    with pytest.raises(PromptModelError, match='cannot be loaded'):
        Loader('cpu').model(str(folder), CLASSES)


def test_damaged_settings(copy):
    folder = copy('dinov2')
    (folder / 'config.json').write_text('{"model_type": "dinov2",')
    with pytest.raises(PromptModelError, match='cannot be loaded'):
        Loader('cpu').model(str(folder), CLASSES)
    (folder / 'config.json').write_text(json.dumps({'model_type': 'nothing known'}))
    with pytest.raises(PromptModelError, match='cannot be loaded'):
        Loader('cpu').model(str(folder), CLASSES)


def test_a_folder_without_the_tokenizer(copy):
    folder = copy('owlv2')
    for file in ('vocab.json', 'merges.txt', 'tokenizer_config.json'):
        (folder / file).unlink()
    with pytest.raises(PromptModelError, match='owlv2 has no tokenizer'):
        WordSearch(Loader('cpu'), str(folder))(RGB, 'dog')


def test_a_failed_load_is_tried_again(copy):
    folder, loader = copy('dinov2'), Loader('cpu', local_files_only=True)
    (folder / 'config.json').rename(folder / 'away')
    with pytest.raises(PromptModelError):
        loader.model(str(folder), CLASSES)
    (folder / 'away').rename(folder / 'config.json')
    assert loader.model(str(folder), CLASSES)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_a_device_that_is_not_there(models):
    with pytest.raises(
        PromptModelError, match="no device for the models of prompts: device 'cuda'"
    ):
        Loader('cuda').model(models('dinov2'), CLASSES)
