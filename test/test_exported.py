# SPDX-License-Identifier: Apache-2.0
"""Exported files: one of ours is a model; any other is named, with what to do."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import has_onnx, seen_only

from stt_ros import engines, zoo
from stt_ros.errors import EngineError, WeightsError
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig


@pytest.fixture(scope='module')
def exported(micro_weights, tmp_path_factory):
    """Return an exported file."""
    from stt_ros.cli import main

    path = tmp_path_factory.mktemp('exported') / 'micro.onnx'
    arguments = ['export', '--engine', 'onnx', '--weights', micro_weights, '--out', str(path)]
    assert main(arguments) == 0
    return path


@has_onnx
def test_an_exported_file_is_a_model(exported, views, exact):
    made = engines.create(str(exported), 'cpu')
    assert 'onnxruntime' in made.description and 'exported file' in made.description
    np.testing.assert_allclose(made.run(*views)[1], exact[1], atol=1e-4)
    with pytest.raises(EngineError, match='is in fp32.*--precision fp16'):
        engines.create(str(exported), 'cpu', 'fp16')


@has_onnx
def test_one_file_with_batch_and_valid_mask(exported, views, exact):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported), providers=['CPUExecutionProvider'])
    tokens, valid = views
    logits, ious = session.run(
        ['logits', 'ious'], {'tokens': tokens, 'valid': valid, 'positions': np.arange(172)}
    )
    np.testing.assert_allclose(seen_only(logits, valid), seen_only(exact[0], valid), atol=1e-4)
    np.testing.assert_allclose(ious, exact[1], atol=1e-4)
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def changed(exported, path, **properties):
    """Write the exported file with other metadata (None: without) and return its path."""
    import onnx

    model = onnx.load(exported)
    found = {p.key: p.value for p in model.metadata_props} | properties
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: v for k, v in found.items() if v is not None})
    onnx.save(model, path)
    return str(path)


@has_onnx
@pytest.mark.parametrize(
    ('properties', 'words'),
    [
        ({'stt_ros': '0'}, 'is an export of version 0, this stt_ros reads version 1; export it'),
        ({'stt_ros': None}, 'is not an export of stt_ros; export it again: stt_ros export'),
        ({'config': 'other'}, 'is of another model than it says.*export it again'),
        ({'config': '{'}, 'describes its model wrongly'),
    ],
)
def test_an_exported_file_of_another_model_or_version(exported, tmp_path, properties, words):
    if properties.get('config') == 'other':
        other = ModelConfig(2, 96, 3, masks=2, pattern=FoveationPattern(8, (1, 2), (4, 4)))
        properties = {'config': json.dumps(dataclasses.asdict(other))}
    with pytest.raises(WeightsError, match=words):
        engines.create(changed(exported, tmp_path / 'other.onnx', **properties))


@has_onnx
def test_files_that_are_no_onnx(tmp_path, exported):
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(WeightsError, match='broken.onnx is not a whole ONNX file'):
        engines.create(str(broken))
    with pytest.raises(WeightsError, match='there is no exported file .*missing.onnx; export'):
        engines.create(str(tmp_path / 'missing.onnx'))


@has_onnx
def test_cuda_without_the_package_for_it(exported):
    import onnxruntime

    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this machine has the package')
    with pytest.raises(EngineError, match="device 'cuda'.*pip install onnxruntime-gpu"):
        engines.create(str(exported), 'cuda')


@has_onnx
def test_cuda_that_cannot_be_started_is_no_cpu(exported, tmp_path, monkeypatch):
    import onnxruntime

    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this machine has the package')
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    claimed = [f'{name}ExecutionProvider' for name in ('Tensorrt', 'CUDA', 'CPU')]
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: claimed)
    with pytest.raises(EngineError, match='could start none of TensorrtExec.*, CUDAExec.*cuDNN'):
        engines.create(str(exported), 'cuda')
    made = engines.create(str(exported), 'auto')  # goes on, and says with what
    assert 'on cpu with' in made.description and 'CPU fp32' in made.description


@has_onnx
@pytest.mark.parametrize(('precision', 'half'), [('auto', True), ('fp16', True), ('fp32', False)])
def test_tensorrt_is_told_the_precision(micro_weights, tmp_path, monkeypatch, precision, half):
    from stt_ros.engines import onnx_engine

    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    options = onnx_engine._provider_options(
        'TensorrtExecutionProvider', 'cuda:1', zoo.load(micro_weights).config, Path(micro_weights),
        precision != 'fp32',
    )  # fmt: skip
    assert options['trt_fp16_enable'] is half and options['device_id'] == '1'
    assert Path(options['trt_engine_cache_path']).is_dir()


@has_onnx
def test_a_model_of_the_zoo_in_half_precision(micro_weights, views, exact, tmp_path, monkeypatch):
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    made = engines.create(micro_weights, 'cpu', 'fp16', 'onnxruntime')
    assert 'fp16' in made.description
    assert np.abs(made.run(*views)[1] - exact[1]).max() <= 0.02


def test_exporting_with_an_old_pytorch(micro_weights, tmp_path, monkeypatch):
    from stt_ros.engines.onnx_export import export

    pytest.importorskip('onnxscript')
    monkeypatch.setattr(torch, '__version__', '2.2.1+cpu')
    with pytest.raises(EngineError, match=r'needs PyTorch 2.6 or newer, this is 2.2.1\+cpu'):
        export(micro_weights, tmp_path / 'x.onnx')


@pytest.mark.parametrize('name', ['openvino', 'onnxruntime'])
def test_no_weights_no_engine(name, tmp_path):
    pytest.importorskip(name)
    with pytest.raises(WeightsError, match='there is no weights file'):
        engines.create(str(tmp_path / 'missing.safetensors'), engine=name)


@has_onnx
@pytest.mark.parametrize('name', ['model.pt', 'missing/model.onnx'])
def test_where_an_export_cannot_go(name, micro_weights, tmp_path, capsys):
    from stt_ros.cli import main

    assert main(['export', '--weights', micro_weights, '--out', str(tmp_path / name)]) == 2
    assert 'must end in .onnx, in a folder that exists' in capsys.readouterr().err
