# SPDX-License-Identifier: Apache-2.0
"""Named models and weight files: what loads, and what is refused with which words."""

import dataclasses
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from stt_ros import weights_io, zoo
from stt_ros.errors import UnknownModelError, WeightsError
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing

MICRO = ModelConfig(1, 48, 3, decoder_width=64, decoder_mlp=96)
MICRO_FIELDS = dataclasses.asdict(MICRO)
OTHER = ModelConfig(2, 32, 2, decoder_width=32, decoder_mlp=64)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Add two models so small that their files cost nothing."""
    monkeypatch.setitem(zoo.CONFIGS, 'micro', MICRO)
    monkeypatch.setitem(zoo.CONFIGS, 'other', OTHER)


@pytest.fixture
def state():
    return SegmentThisThing(MICRO).state_dict()


@pytest.fixture
def saved(tmp_path, state):
    path = tmp_path / 'weights.pth'
    torch.save(state, path)
    return path


def refused(path, name='default'):
    """Return the text with which a file is refused."""
    with pytest.raises(WeightsError) as caught:
        zoo.load(name, path)
    text = str(caught.value)
    assert str(path) in text
    assert '\n' not in text
    return text


def assert_equal(model, state, **tolerance):
    loaded = model.state_dict()
    assert list(loaded) == list(state)
    for key, expected in state.items():
        torch.testing.assert_close(loaded[key], expected.float(), **tolerance)


# What loads


@pytest.mark.parametrize('name', ['default', *zoo.CONFIGS])
def test_build_returns_the_named_model(name):
    with torch.device('meta'):
        model = zoo.build(name)
    assert model.config == zoo.CONFIGS[zoo.DEFAULT if name == 'default' else name]


def test_embedded_default():
    model = zoo.load()
    assert model.config == zoo.CONFIGS[zoo.DEFAULT]
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.device.type for p in model.parameters()} == {'cpu'}
    pattern = model.config.pattern
    size = pattern.token_size
    tokens = torch.zeros(1, pattern.num_tokens, 3, size, size)
    with torch.inference_mode():
        logits, ious = model(tokens, torch.ones(1, pattern.num_tokens, dtype=torch.bool))
    assert logits.isfinite().all()
    assert ious.isfinite().all()


def test_embedded_default_is_small_and_names_itself():
    path = zoo.weights_path('default')
    assert path.stat().st_size <= 16e6
    tensors, metadata = weights_io.read(path)
    assert metadata['model'] == zoo.DEFAULT
    assert weights_io.shapes(zoo.CONFIGS[zoo.DEFAULT]) == {k: t.shape for k, t in tensors.items()}


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.safetensors'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_a_path_is_recognised_by_its_shapes(tmp_path, state, suffix, dtype):
    path = tmp_path / f'weights{suffix}'
    state = {key: value.to(dtype) for key, value in state.items()}
    (save_file if suffix == '.safetensors' else torch.save)(state, path)
    for model in (zoo.load(str(path)), zoo.load(path=path), zoo.load('micro', path)):
        assert model.config == MICRO
        assert not model.training
        assert_equal(model, state, rtol=0, atol=0)


def test_an_old_pytorch_file_loads(tmp_path, state):
    path = tmp_path / 'old.pth'
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert_equal(zoo.load(str(path)), state)


def test_a_path_in_the_home_folder(saved, state, monkeypatch):
    monkeypatch.setenv('HOME', str(saved.parent))
    assert_equal(zoo.load(f'~/{saved.name}'), state)


def test_loaded_weights_do_not_depend_on_the_file(tmp_path, state):
    path = tmp_path / 'weights.safetensors'
    save_file(state, path)
    model = zoo.load(str(path))
    path.write_bytes(b'\xff' * path.stat().st_size)
    assert_equal(model, state)


def test_metadata_describes_a_model_that_no_name_has(tmp_path):
    config = dataclasses.replace(
        OTHER, heads=4, masks=2, pattern=FoveationPattern(8, (1, 2), (4, 4))
    )
    model = SegmentThisThing(config)
    weights_io.save(model, tmp_path / 'mine.safetensors', 'mine')
    loaded = zoo.load(str(tmp_path / 'mine.safetensors'))
    assert loaded.config == config
    assert_equal(loaded, model.state_dict(), rtol=1e-3, atol=1e-3)


def test_metadata_tells_heads_apart_which_shapes_cannot(tmp_path):
    model = SegmentThisThing(dataclasses.replace(MICRO, heads=6))
    weights_io.save(model, tmp_path / 'six.safetensors', 'micro', torch.float32)
    assert zoo.load('micro', tmp_path / 'six.safetensors').config.heads == 6


def test_models_lists_all_without_network(monkeypatch):
    monkeypatch.delitem(zoo.CONFIGS, 'micro')
    monkeypatch.delitem(zoo.CONFIGS, 'other')
    monkeypatch.setattr(zoo.download, 'cached', {'stt-b-qbkbmb5qsb4q2.pth': 'there'}.get)
    models = {model.name: model for model in zoo.models()}
    assert list(models) == ['stt-s', 'stt-b', 'stt-l', 'stt-h']
    assert models['stt-s'].licence == 'Apache-2.0'
    assert models['stt-b'].path == 'there'
    assert models['stt-l'].path is None
    assert {models[name].licence for name in zoo.PUBLISHED} == {'CC BY-NC 4.0'}


# What is refused


@pytest.mark.parametrize('name', ['stt-x', '', 'STT-B', 'vit_b'])
def test_an_unknown_name_lists_the_names(name):
    for function in (zoo.build, zoo.load, zoo.weights_path):
        with pytest.raises(UnknownModelError, match='stt-s, stt-b, stt-l, stt-h') as caught:
            function(name)
        assert repr(name) in str(caught.value)
        assert isinstance(caught.value, ValueError)


def test_missing_file_and_folder(tmp_path):
    assert 'there is no' in refused(tmp_path / 'nothing.pth')
    assert 'not a file' in refused(tmp_path)
    with pytest.raises(WeightsError, match='there is no weights file /nowhere/x.safetensors'):
        zoo.load('/nowhere/x.safetensors')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('kept', [0, 3, 100, 0.5, 0.99])
def test_truncated_files(tmp_path, state, suffix, kept):
    path = tmp_path / f'weights{suffix}'
    (save_file if suffix == '.safetensors' else torch.save)(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert ('empty' if kept == 0 else 'truncated or damaged') in refused(path)


def test_a_flipped_bit_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    assert 'checksum' in refused(saved)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_not_finite(saved, state, value):
    state['image_encoder.neck.fc.bias'][3] = value
    torch.save(state, saved)
    assert 'NaN or infinity in image_encoder.neck.fc.bias' in refused(saved)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'Git LFS pointer'),
        (b'<!doctype html><html></html>', 'web page'),
        (b'These are not weights.', 'not a PyTorch or safetensors file'),
        (pickle.dumps(print, 2), 'not a PyTorch or safetensors file'),
    ],
    ids=['lfs', 'html', 'text', 'pickle'],
)
def test_files_of_another_kind(tmp_path, content, words):
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    assert words in refused(path)


class Trap:
    """Would create a file if it were unpickled."""

    def __init__(self, path):
        """Aim at a path."""
        self.path = path

    def __reduce__(self):
        """Ask the unpickler to open the file for writing."""
        return open, (str(self.path), 'w')


def test_code_in_a_file_is_not_executed(saved, state):
    target = saved.parent / 'trapped'
    torch.save({**state, 'trap': Trap(target)}, saved)
    assert 'Python objects' in refused(saved)
    assert not target.exists()


def test_a_file_without_a_state_dict(saved, state):
    torch.save([1, 2], saved)
    assert 'holds a list' in refused(saved)
    torch.save({'epoch': 3, 'model': state}, saved)
    assert 'epoch, model are not tensors' in refused(saved)


def test_the_wrong_model_is_named(saved, tmp_path):
    text = refused(saved, 'other')
    assert 'does not fit the model other; it holds the weights of micro' in text
    weights_io.save(SegmentThisThing(OTHER), tmp_path / 'other.safetensors', 'other')
    assert 'it holds the weights of other' in refused(tmp_path / 'other.safetensors', 'micro')


def test_differences_are_named_and_counted(saved, state):
    for key in [key for key in state if 'blocks.0.mlp' in key]:
        state['foreign.' + key] = state.pop(key)
    state['image_encoder.pos_enc'] = torch.zeros(5, 48)
    torch.save(state, saved)
    text = refused(saved)
    assert 'does not fit the model micro' in text
    total = len(SegmentThisThing(MICRO).state_dict())
    assert f'4 of its {total} keys missing: image_encoder.blocks.0.mlp.layers.0.0.weight' in text
    assert '4 keys unexpected: foreign.image_encoder.blocks.0.mlp.layers.0.0.weight' in text
    assert f'1 of its {total} keys mis-shaped: image_encoder.pos_enc is (5, 48), not (172' in text


def test_one_missing_or_one_extra_key_is_enough(saved, state):
    torch.save({**state, 'extra': torch.zeros(1)}, saved)
    assert '1 keys unexpected: extra' in refused(saved)
    state.popitem()
    torch.save(state, saved)
    assert 'keys missing' in refused(saved)


def test_another_network_altogether(saved):
    torch.save(torch.nn.Linear(2, 3).state_dict(), saved)
    text = refused(saved)
    assert '2 keys unexpected: weight, bias' in text
    assert 'holds the weights of' not in text


@pytest.mark.parametrize(
    'config',
    ['not json', '[]', '{"depth": 2}', '{"depth": "x", "width": 8, "heads": 1}', '{"colour": 1}']
    + [
        json.dumps({**MICRO_FIELDS, 'pattern': {**MICRO_FIELDS['pattern'], **wrong}})
        for wrong in ({'token_size': 0}, {'usual_side': -1}, {'usual_side': 1.5})
    ],
    ids=['text', 'list', 'incomplete', 'type', 'field', 'pattern', 'negative', 'fraction'],
)
def test_broken_metadata(tmp_path, state, config):
    path = tmp_path / 'weights.safetensors'
    save_file(state, path, metadata={'config': config})
    assert 'describes its model wrongly' in refused(path)


def test_damaged_pickles_whatever_they_raise(tmp_path):
    path = tmp_path / 'bad.pth'
    path.write_bytes(b'\x80\x02X\x05\x00\x00\x00\xff\xfe\xfd\xfc\xfbq\x00.')
    with pytest.raises(WeightsError, match='bad.pth'):
        zoo.load(str(path))
