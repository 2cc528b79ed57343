# SPDX-License-Identifier: Apache-2.0
"""Every engine computes the same network; what cannot be had is said, with what to do."""

import dataclasses
import json
import logging
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import cv2
import golden
import numpy as np
import pytest
import torch

from stt_ros import engines, masks, zoo
from stt_ros.engines import cache, choice
from stt_ros.engines.batching import needed
from stt_ros.engines.deploy import Network
from stt_ros.engines.recorded import Recorder
from stt_ros.engines.torch_engine import TorchEngine
from stt_ros.errors import EngineError, WeightsError
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing, normalise
from stt_ros.weights_io import save

PATTERN = FoveationPattern.standard()
CLIP = Path(engines.__file__).parent.parent / 'clips' / 'dog'
MICRO = [case for case in golden.cases('model') if case['encoder']['depth'] == 2]
GAZES = [(300, 200), (5.5, 470), (639, 0), (320, 240), (600, 20)]

has_openvino = pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino')
has_onnx = pytest.mark.skipif(
    not all(map(find_spec, ('onnx', 'onnxscript', 'onnxruntime'))), reason='needs stt_ros[onnx]'
)
EVERY = [
    'torch',
    pytest.param('openvino', marks=has_openvino),
    pytest.param('onnxruntime', marks=has_onnx),
]


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Return the file of the golden vectors' small model, float32."""
    encoder = MICRO[0]['encoder']
    config = ModelConfig(encoder['depth'], encoder['embedding_dim'], encoder['num_heads'])
    model = SegmentThisThing(config)
    seed = MICRO[0]['weight_seed']
    assert {case['weight_seed'] for case in MICRO} == {seed}
    model.load_state_dict(
        {
            key: torch.from_numpy(golden.weights(key, tuple(value.shape), seed))
            for key, value in model.state_dict().items()
        }
    )
    path = tmp_path_factory.mktemp('weights') / 'micro.safetensors'
    save(model, path, 'micro', torch.float32)
    return str(path)


@pytest.fixture(scope='module')
def views():
    """Return tokens (B,N,3,T,T) and valid (B,N) of some gazes."""
    return PATTERN.foveate(golden.image(500, 480, 640), GAZES)


@pytest.fixture(scope='module')
def exact(weights, views):
    """Return what the network itself says of the views, on all tokens: logits and ious."""
    model = zoo.load(weights)
    tokens, valid = map(torch.from_numpy, views)
    with torch.inference_mode():
        logits, ious = model(normalise(tokens), valid)
    return logits.numpy(), ious.numpy()


@pytest.fixture(scope='module', params=EVERY)
def engine(request, weights):
    """Return every engine in fp32 on the CPU."""
    made = engines.create(weights, 'cpu', 'fp32', request.param, threads=1)
    yield made
    made.close()


def seen_only(logits, valid):
    return logits.swapaxes(1, 2)[valid]


@pytest.mark.parametrize('case', MICRO, ids=[case['name'] for case in MICRO])
def test_golden_vectors(engine, case):
    tokens, valid = PATTERN.foveate(
        golden.image(case['image_seed'], *case['image_hw']), [case['gaze_xy']]
    )
    logits, ious = engine.run(tokens, valid)
    assert logits.dtype == ious.dtype == np.float32
    difference = np.abs(logits[0][:, valid[0]] - case['expected']['mask_logits'][:, valid[0]])
    assert difference.max() <= 1e-4
    assert np.abs(ious[0] - case['expected']['ious']).max() <= 1e-4
    assert (logits[0][:, ~valid[0]] == -np.inf).all()


@pytest.mark.parametrize('name', ['torch', pytest.param('openvino', marks=has_openvino)])
def test_golden_vectors_of_stt_b(name, tmp_path, monkeypatch):
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path / 'cache'))
    case = next(c for c in golden.cases('model') if c['name'] == 'stt-b')
    encoder = case['encoder']
    model = SegmentThisThing(
        ModelConfig(encoder['depth'], encoder['embedding_dim'], encoder['num_heads'])
    )
    model.load_state_dict(
        {
            key: torch.from_numpy(golden.weights(key, tuple(value.shape), case['weight_seed']))
            for key, value in model.state_dict().items()
        }
    )
    save(model, tmp_path / 'b.safetensors', 'stt-b', torch.float32)
    made = engines.create(str(tmp_path / 'b.safetensors'), 'cpu', 'fp32', name)
    image = golden.image(case['image_seed'], *case['image_hw'])
    tokens, valid = PATTERN.foveate(image, [case['gaze_xy']])
    logits, ious = made.run(tokens, valid)
    expected = case['expected']
    assert np.abs(logits[0] - expected['mask_logits'])[:, valid[0]].max() <= 1e-4
    assert np.abs(ious[0] - expected['ious']).max() <= 1e-4


def test_gazes_with_different_tokens_in_one_call(engine, views, exact):
    logits, ious = engine.run(*views)
    valid = views[1]
    np.testing.assert_allclose(
        seen_only(logits, valid), seen_only(exact[0], valid), rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(ious, exact[1], rtol=0, atol=1e-4)


def test_the_best_mask_alone(engine, views, exact):
    logits, ious = engine.run(*views, best_only=True)
    best = exact[1].argmax(1)
    assert logits.shape == (len(GAZES), 1, *exact[0].shape[2:]) and ious.shape == (len(GAZES), 1)
    np.testing.assert_allclose(ious[:, 0], exact[1].max(1), rtol=0, atol=1e-4)
    expected = exact[0][np.arange(len(best)), best][:, None]
    valid = views[1]
    np.testing.assert_allclose(
        seen_only(logits, valid), seen_only(expected, valid), rtol=0, atol=1e-4
    )


def test_reversed_channels_come_as_a_view(engine, views):
    tokens, valid = views
    straight = np.ascontiguousarray(tokens[:, :, ::-1])
    for a, b in zip(
        engine.run(tokens[:, :, ::-1], valid), engine.run(straight, valid), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_threads_share_an_engine(engine, views):
    tokens, valid = views
    alone = [engine.run(tokens[k : k + 1], valid[k : k + 1]) for k in range(len(GAZES))]
    together = threading.Barrier(len(GAZES))

    def run(k):
        together.wait()
        return [engine.run(tokens[k : k + 1], valid[k : k + 1]) for _ in range(3)]

    with ThreadPoolExecutor(len(GAZES)) as pool:
        for (logits, ious), answers in zip(alone, pool.map(run, range(len(GAZES))), strict=True):
            for other, other_ious in answers:
                np.testing.assert_array_equal(other, logits)
                np.testing.assert_array_equal(other_ious, ious)


def dog(step):
    """Yield RGB frames of the demo's clip with a point on the dog."""
    for path in sorted((CLIP / 'frames').glob('*.jpg'))[::step]:
        mask = cv2.imread(str(CLIP / 'masks' / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE) > 0
        yield cv2.imread(str(path))[..., ::-1].copy(), masks.interior_point(mask)


# OpenVINO keeps the sums between layers in bf16, too: one frame of five is at 0.9898.
below = pytest.mark.xfail(reason='bf16 in OpenVINO: mask IoU 0.9898 on one frame', strict=False)


@pytest.mark.parametrize('name', ['torch', pytest.param('openvino', marks=[has_openvino, below])])
def test_low_precision_on_the_demo_clip(name):
    from stt_ros.segmenter import Segmenter

    try:
        rough = Segmenter.create('default', 'cpu', 'bf16', name)
    except EngineError as error:
        pytest.skip(str(error))
    exact = Segmenter.create('default', 'cpu', 'fp32', 'torch')
    others = []
    for image, gaze in dog(12):
        tokens, valid = exact.pattern.foveate(image, [gaze])
        (logits, ious), (rough_logits, rough_ious) = (
            segmenter.engine.run(tokens, valid) for segmenter in (exact, rough)
        )
        assert np.abs(ious - rough_ious).max() <= 0.02
        same = [
            masks.iou(*(exact.pattern.paint(x, gaze, image.shape[:2]) > 0 for x in pair))
            for pair in zip(logits[0], rough_logits[0], strict=True)
        ]
        assert same[ious[0].argmax()] >= 0.99
        others += same
    assert np.mean(others) >= 0.99 and min(others) >= 0.97  # small and doubtful ones among them


def test_fp16_is_close_where_it_can_run(weights, views, exact):
    """As on CUDA, whose arithmetic in fp16 differs from a CPU's in the order of sums only."""
    network = Network(zoo.load(weights), torch.float16)
    tokens, valid = map(torch.from_numpy, views)
    with torch.inference_mode():
        logits, ious = network(tokens, valid, torch.arange(tokens.shape[1]))
    assert logits.dtype == ious.dtype == torch.float32
    inside, expected = (seen_only(x, views[1]) > 0 for x in (logits.numpy(), exact[0]))
    assert (inside & expected).sum() / (inside | expected).sum() >= 0.99
    assert np.abs(ious.numpy() - exact[1]).max() <= 0.02


@pytest.mark.parametrize('best_only', [False, True])
def test_recordings_on_a_cpu_without_recording(weights, views, best_only):
    """All of the way to a CUDA graph and back but the graph itself."""
    tokens, valid = views
    network = Network(zoo.load(weights))
    recorder = Recorder(network, torch.device('cpu'), exact=True)
    plain = TorchEngine(weights, 'cpu', 'fp32')
    with torch.inference_mode():
        for part in (slice(0, 3), slice(3, 4), slice(2, 5)):  # filled up to 4, alone, filled again
            seen = needed(valid[part].any(axis=0), (136, 172))
            logits, ious = recorder.run(tokens[part, :, ::-1], valid[part], seen, best_only)
            expected, expected_ious = plain.run(
                np.ascontiguousarray(tokens[part, :, ::-1]), valid[part], best_only
            )
            use = valid[part][:, seen]
            np.testing.assert_allclose(
                seen_only(logits, use), seen_only(expected[:, :, seen], use), atol=1e-4
            )
            kept = ious.max(1, keepdims=True) if best_only else ious
            np.testing.assert_allclose(kept, expected_ious, atol=1e-4)
    assert len(recorder._recordings) >= 2
    recorder.clear()
    assert not recorder._recordings


def test_needed_tokens_are_filled_up_to_few_sizes():
    seen = np.zeros(172, bool)
    seen[[3, 100, 171]] = True
    positions = needed(seen, (40, 172))
    assert len(positions) == 40 and {3, 100, 171} <= set(positions)
    assert (np.diff(positions) > 0).all()
    assert len(needed(np.ones(172, bool), (40, 172))) == 172
    assert len(needed(np.zeros(172, bool), (40, 172))) == 40


# -- what goes wrong


class Full:
    """A network on a device that has room for few gazes."""

    def __init__(self, network, room):
        self.network, self.room, self.asked = network, room, []

    def __call__(self, tokens, *more):
        self.asked.append(len(tokens))
        if len(tokens) > self.room:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
        return self.network(tokens, *more)


def full_engine(weights, room):
    made = TorchEngine(weights, 'cpu', 'fp32')
    made.batch = 32
    made._function = Full(made.network, room)
    return made


def test_out_of_memory_falls_back_to_a_smaller_batch(weights, views, exact, caplog):
    tokens, valid = (np.concatenate([part, part[:3]]) for part in views)  # 8 gazes
    made = full_engine(weights, room=2)
    with caplog.at_level(logging.WARNING):
        logits, ious = made.run(tokens, valid)
    assert made._function.asked == [8, 2, 2, 2, 2]
    assert 'no memory left for 8 gazes at once' in caplog.text and '2 at a time' in caplog.text
    np.testing.assert_allclose(ious[:5], exact[1], atol=1e-4)
    made.run(tokens, valid)
    assert made._function.asked[5:] == [2, 2, 2, 2]  # it has learnt


def test_out_of_memory_again_is_an_error_and_the_engine_lives(weights, views):
    made = full_engine(weights, room=0)
    with pytest.raises(EngineError, match='no memory left for 1 gaze.*smaller model.*CUDA out of'):
        made.run(*views)
    with pytest.raises(EngineError, match='no memory left'):
        made.run(views[0][:1], views[1][:1])
    made._function.room = 4
    assert np.isfinite(made.run(*views)[1]).all()


def test_other_errors_are_not_taken_for_memory(weights, views):
    made = TorchEngine(weights, 'cpu', 'fp32')
    made._function = lambda *more: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.run(*views)


def test_a_closed_engine_says_so(weights, views):
    made = engines.create(weights, 'cpu', 'fp32', 'torch')
    made.close()
    with pytest.raises(EngineError, match='closed'):
        made.run(*views)


@pytest.mark.parametrize('package', ['openvino', 'onnxruntime'])
def test_an_engine_that_is_not_installed_says_how(package, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    module = {'openvino': 'openvino_engine', 'onnxruntime': 'onnx_engine'}[package]
    monkeypatch.delitem(sys.modules, f'stt_ros.engines.{module}', raising=False)
    monkeypatch.delattr(engines, module, raising=False)
    with pytest.raises(EngineError, match=rf"'{package}' is not installed.*pip install 'stt_ros\["):
        engines.create(weights, engine=package)


@pytest.mark.parametrize(
    ('machine', 'there', 'device', 'name', 'why'),
    [
        ('x86_64', {'openvino'}, 'auto', 'openvino', 'x86'),
        ('AMD64', {'openvino'}, 'cpu', 'openvino', 'x86'),
        ('x86_64', set(), 'cpu', 'torch', r"not installed: pip install 'stt_ros\[openvino\]'"),
        ('aarch64', {'openvino'}, 'cpu', 'torch', 'aarch64'),
        ('x86_64', {'openvino'}, 'cuda', 'torch', 'CUDA graphs'),
        ('x86_64', {'openvino'}, 'cuda:1', 'torch', 'CUDA graphs'),
    ],
)
def test_the_table_of_auto(monkeypatch, machine, there, device, name, why):
    monkeypatch.setattr(choice.platform, 'machine', lambda: machine)
    monkeypatch.setattr(choice, 'find_spec', lambda package: package if package in there else None)
    monkeypatch.setattr(choice, '_cuda', lambda: False)
    chosen, reason = choice.choose('auto', device, 'default', False)
    assert chosen == name
    assert re.search(why, reason)


def test_auto_goes_on_without_an_openvino_that_is_broken(weights, monkeypatch):
    monkeypatch.setattr(choice, '_first', lambda *more: ('openvino', 'the fastest'))
    monkeypatch.setitem(sys.modules, 'stt_ros.engines.openvino_engine', None)
    monkeypatch.delattr(engines, 'openvino_engine', raising=False)
    made = engines.create(weights, 'cpu')
    assert re.search('with torch .*auto: openvino cannot be loaded', made.description)
    with pytest.raises(EngineError, match="engine 'openvino' is not installed"):
        engines.create(weights, 'cpu', engine='openvino')


def test_auto_takes_cuda_when_there_is_some(monkeypatch):
    monkeypatch.setattr(choice, '_cuda', lambda: True)
    assert choice.choose('auto', 'auto', 'default', False)[0] == 'torch'
    assert choice.choose('auto', 'cpu', 'model.onnx', False)[0] == 'onnxruntime'
    assert choice.choose('openvino', 'cpu', 'default', False) == ('openvino', '')


def test_the_description_says_what_and_why(weights):
    made = engines.create(weights, 'cpu')
    assert weights in made.description and 'on cpu with' in made.description
    assert '(auto: ' in made.description
    assert 'auto' not in engines.create(weights, 'cpu', engine='torch').description


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'weights': 'x.onnx', 'engine': 'torch'}, "x.onnx is an exported file.*'onnxruntime'"),
        ({'engine': 'openvino', 'compiled': True}, "compiling is for engine 'torch'"),
        pytest.param(
            {'engine': 'openvino', 'device': 'cuda'}, 'runs on the CPU', marks=has_openvino
        ),
        pytest.param({'engine': 'openvino', 'precision': 'fp16'}, 'fp16', marks=has_openvino),
        pytest.param({'engine': 'onnxruntime', 'precision': 'bf16'}, 'no bf16', marks=has_onnx),
    ],
)
def test_what_excludes_each_other(arguments, words, weights):
    with pytest.raises(EngineError, match=words):
        engines.create(**({'weights': weights} | arguments))


@has_openvino
def test_a_cache_that_cannot_be_written(weights, views, exact, tmp_path, monkeypatch, caplog):
    blocked = tmp_path / 'file'
    blocked.write_text('no folder')
    monkeypatch.setenv('STT_ROS_CACHE', str(blocked / 'cache'))
    with caplog.at_level(logging.WARNING):
        made = engines.create(weights, 'cpu', 'fp32', 'openvino')
    assert f'cannot write into the cache {blocked}/cache' in caplog.text
    assert 'set STT_ROS_CACHE' in caplog.text
    np.testing.assert_allclose(made.run(*views)[1], exact[1], atol=1e-4)


@has_openvino
def test_converted_once_and_again_when_damaged(weights, views, exact, tmp_path, monkeypatch):
    from stt_ros.engines import openvino_convert

    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    conversions = []
    convert = openvino_convert.convert
    monkeypatch.setattr(
        openvino_convert, 'convert', lambda model: conversions.append(1) or convert(model)
    )
    for damage, expected in ((False, 1), (False, 1), (True, 2), (False, 2)):
        if damage:
            [file] = tmp_path.glob('openvino/*/read.xml')
            file.write_text('<damaged')
        made = engines.create(weights, 'cpu', 'fp32', 'openvino')
        np.testing.assert_allclose(made.run(*views)[1], exact[1], atol=1e-4)
        assert len(conversions) == expected


def test_what_takes_long_at_the_first_start_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    for told in (True, False):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cache.folder('a', lambda folder: None)
        assert (f'preparing {tmp_path}/a (up to a minute, once)' in caplog.text) == told
    cache.folder('b', lambda folder: None, quick=True)
    assert 'preparing' not in caplog.text


def test_a_cache_has_a_key_per_content(tmp_path):
    a, b = tmp_path / 'a', tmp_path / 'b'
    a.write_bytes(b'1')
    b.write_bytes(b'2')
    assert cache.key(a, 'x') == cache.key(a, 'x')
    assert len({cache.key(a, 'x'), cache.key(b, 'x'), cache.key(a, 'y')}) == 3


def test_a_cache_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))

    def fail(folder):
        (folder / 'half').write_text('')
        raise RuntimeError('interrupted')

    with pytest.raises(RuntimeError):
        cache.folder('some/thing', fail)
    assert list((tmp_path / 'some').iterdir()) == []
    made = cache.folder('some/thing', lambda folder: (folder / 'all').write_text('x'))
    assert made == tmp_path / 'some' / 'thing' and (made / 'all').is_file()
    assert cache.folder('some/thing', fail) == made


# -- exported files


@pytest.fixture(scope='module')
def exported(weights, tmp_path_factory):
    """Return an exported file."""
    from stt_ros.cli import main

    path = tmp_path_factory.mktemp('exported') / 'micro.onnx'
    arguments = ['export', '--engine', 'onnx', '--weights', weights, '--out', str(path)]
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
def test_tensorrt_is_told_the_precision(weights, tmp_path, monkeypatch, precision, half):
    from stt_ros.engines import onnx_engine

    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    options = onnx_engine._provider_options(
        'TensorrtExecutionProvider', 'cuda:1', zoo.load(weights).config, Path(weights),
        precision != 'fp32',
    )  # fmt: skip
    assert options['trt_fp16_enable'] is half and options['device_id'] == '1'
    assert Path(options['trt_engine_cache_path']).is_dir()


@has_onnx
def test_a_model_of_the_zoo_in_half_precision(weights, views, exact, tmp_path, monkeypatch):
    monkeypatch.setenv('STT_ROS_CACHE', str(tmp_path))
    made = engines.create(weights, 'cpu', 'fp16', 'onnxruntime')
    assert 'fp16' in made.description
    assert np.abs(made.run(*views)[1] - exact[1]).max() <= 0.02


def test_exporting_with_an_old_pytorch(weights, tmp_path, monkeypatch):
    from stt_ros.engines.onnx_export import export

    pytest.importorskip('onnxscript')
    monkeypatch.setattr(torch, '__version__', '2.2.1+cpu')
    with pytest.raises(EngineError, match=r'needs PyTorch 2.6 or newer, this is 2.2.1\+cpu'):
        export(weights, tmp_path / 'x.onnx')


@pytest.mark.parametrize('name', ['openvino', 'onnxruntime'])
def test_no_weights_no_engine(name, tmp_path):
    pytest.importorskip(name)
    with pytest.raises(WeightsError, match='there is no weights file'):
        engines.create(str(tmp_path / 'missing.safetensors'), engine=name)


@has_onnx
@pytest.mark.parametrize('name', ['model.pt', 'missing/model.onnx'])
def test_where_an_export_cannot_go(name, weights, tmp_path, capsys):
    from stt_ros.cli import main

    assert main(['export', '--weights', weights, '--out', str(tmp_path / name)]) == 2
    assert 'must end in .onnx, in a folder that exists' in capsys.readouterr().err
