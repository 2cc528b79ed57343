# SPDX-License-Identifier: Apache-2.0
"""Engines that cannot be had or go on: what is said, and what to do; which one auto takes."""

import logging
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from micro import has_onnx, has_openvino

from stt_ros import engines
from stt_ros.engines import cache, choice
from stt_ros.engines.torch_engine import TorchEngine
from stt_ros.errors import EngineError


class Full:
    """A network on a device that has room for few gazes."""

    def __init__(self, network, room):
        self.network, self.room, self.asked = network, room, []

    def __call__(self, tokens, *more):
        self.asked.append(len(tokens))
        if len(tokens) > self.room:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
        return self.network(tokens, *more)


def full_engine(micro_weights, room):
    made = TorchEngine(micro_weights, 'cpu', 'fp32')
    made.batch = 32
    made._function = Full(made.network, room)
    return made


def test_out_of_memory_falls_back_to_a_smaller_batch(micro_weights, views, exact, caplog):
    tokens, valid = (np.concatenate([part, part[:3]]) for part in views)  # 8 gazes
    made = full_engine(micro_weights, room=2)
    with caplog.at_level(logging.WARNING):
        logits, ious = made.run(tokens, valid)
    assert made._function.asked == [8, 2, 2, 2, 2]
    assert 'no memory left for 8 gazes at once' in caplog.text and '2 at a time' in caplog.text
    np.testing.assert_allclose(ious[:5], exact[1], atol=1e-4)
    made.run(tokens, valid)
    assert made._function.asked[5:] == [2, 2, 2, 2]  # it has learnt


def test_out_of_memory_again_is_an_error_and_the_engine_lives(micro_weights, views):
    made = full_engine(micro_weights, room=0)
    with pytest.raises(EngineError, match='no memory left for 1 gaze.*smaller model.*CUDA out of'):
        made.run(*views)
    with pytest.raises(EngineError, match='no memory left'):
        made.run(views[0][:1], views[1][:1])
    made._function.room = 4
    assert np.isfinite(made.run(*views)[1]).all()


@pytest.mark.skipif(sys.platform != 'linux', reason='limits the memory as Linux does')
def test_a_cpu_without_memory_falls_back_too():
    """In a process of its own that may grow by 270 MB only: the allocations that fail are real."""
    code = """
import logging, resource, numpy as np
from stt_ros import engines
logging.basicConfig(level=logging.WARNING)
made = engines.create('default', 'cpu', 'fp32', 'torch', threads=1)
made.batch = 32
tokens = np.random.default_rng(0).integers(0, 256, (32, 172, 3, 16, 16), np.uint8)
valid = np.ones((32, 172), bool)
expected = made.run(tokens[:8], valid[:8])[1]
size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 270_000_000, resource.RLIM_INFINITY))
ious = made.run(tokens, valid)[1]
assert made.batch == 8 and np.allclose(ious[:8], expected, atol=1e-4)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert 'cpu has no memory left for 32 gazes at once' in done.stderr, done.stderr


def test_other_errors_are_not_taken_for_memory(micro_weights, views):
    made = TorchEngine(micro_weights, 'cpu', 'fp32')
    made._function = lambda *more: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.run(*views)


def test_a_closed_engine_says_so(micro_weights, views):
    made = engines.create(micro_weights, 'cpu', 'fp32', 'torch')
    made.close()
    with pytest.raises(EngineError, match='closed'):
        made.run(*views)


@pytest.mark.parametrize('package', ['openvino', 'onnxruntime'])
def test_an_engine_that_is_not_installed_says_how(package, micro_weights, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    module = {'openvino': 'openvino_engine', 'onnxruntime': 'onnx_engine'}[package]
    monkeypatch.delitem(sys.modules, f'stt_ros.engines.{module}', raising=False)
    monkeypatch.delattr(engines, module, raising=False)
    with pytest.raises(EngineError, match=rf"'{package}' is not installed.*pip install o"):
        engines.create(micro_weights, engine=package)


@has_onnx
def test_an_engine_without_pytorch_asks_for_that():
    code = (
        'import sys\n'
        'from stt_ros import engines\n'
        "sys.modules['torch'] = None\n"
        "engines.create('default', engine='onnxruntime')"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert re.search("'onnxruntime' is not installed.*pip install torch", done.stderr)


@pytest.mark.parametrize(('numpy', 'added'), [('1.26.4', " 'numpy<2'"), ('2.1.0', '')])
def test_lines_to_be_typed_keep_the_numpy_that_apt_built_for(numpy, added):
    code = (
        f'import numpy; numpy.__version__ = {numpy!r}\n'
        'from stt_ros import engines, errors\n'
        "print(engines._CLASSES['onnxruntime'][2], errors.KEEP_NUMPY, sep='|')"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    line, kept = done.stdout.rstrip('\n').split('|')
    assert kept == added and f'onnxscript onnxruntime{added}, for' in line


@pytest.mark.parametrize(
    ('machine', 'there', 'device', 'name', 'why'),
    [
        ('x86_64', {'openvino'}, 'auto', 'openvino', 'x86'),
        ('AMD64', {'openvino'}, 'cpu', 'openvino', 'x86'),
        ('x86_64', set(), 'cpu', 'torch', 'not installed: pip install openvino'),
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


def test_auto_goes_on_without_an_openvino_that_is_broken(micro_weights, monkeypatch):
    monkeypatch.setattr(choice, '_first', lambda *more: ('openvino', 'the fastest'))
    monkeypatch.setitem(sys.modules, 'stt_ros.engines.openvino_engine', None)
    monkeypatch.delattr(engines, 'openvino_engine', raising=False)
    made = engines.create(micro_weights, 'cpu')
    assert re.search('with torch .*auto: openvino cannot be loaded', made.description)
    with pytest.raises(EngineError, match="engine 'openvino' is not installed"):
        engines.create(micro_weights, 'cpu', engine='openvino')


def test_auto_takes_cuda_when_there_is_some(monkeypatch):
    monkeypatch.setattr(choice, '_cuda', lambda: True)
    assert choice.choose('auto', 'auto', 'default', False)[0] == 'torch'
    assert choice.choose('auto', 'cpu', 'model.onnx', False)[0] == 'onnxruntime'
    assert choice.choose('openvino', 'cpu', 'default', False) == ('openvino', '')


def test_the_description_says_what_and_why(micro_weights):
    made = engines.create(micro_weights, 'cpu')
    assert micro_weights in made.description and 'on cpu with' in made.description
    assert '(auto: ' in made.description
    assert 'auto' not in engines.create(micro_weights, 'cpu', engine='torch').description


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
def test_what_excludes_each_other(arguments, words, micro_weights):
    with pytest.raises(EngineError, match=words):
        engines.create(**({'weights': micro_weights} | arguments))


@has_openvino
def test_a_cache_that_cannot_be_written(micro_weights, views, exact, tmp_path, monkeypatch, caplog):
    blocked = tmp_path / 'file'
    blocked.write_text('no folder')
    monkeypatch.setenv('STT_ROS_CACHE', str(blocked / 'cache'))
    with caplog.at_level(logging.WARNING):
        made = engines.create(micro_weights, 'cpu', 'fp32', 'openvino')
    assert f'cannot write into the cache {blocked}/cache' in caplog.text
    assert 'set STT_ROS_CACHE' in caplog.text
    np.testing.assert_allclose(made.run(*views)[1], exact[1], atol=1e-4)


@has_openvino
def test_converted_once_and_again_when_damaged(micro_weights, views, exact, tmp_path, monkeypatch):
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
        made = engines.create(micro_weights, 'cpu', 'fp32', 'openvino')
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


SIGNALLED = """
import gc, signal
from stt_ros.segmenter import Segmenter
signal.signal(signal.SIGUSR1, lambda *_: print('heard'))
segmenters = [Segmenter.create(device='cpu', precision='fp32', engine='openvino') for _ in range(2)]
while segmenters:  # the first first
    segmenters.pop(0).close()
    gc.collect()
signal.raise_signal(signal.SIGUSR1)
"""


@has_openvino
def test_signals_are_heard_after_the_end_of_several_engines():
    """OpenVINO replaces the stack of a thread's signals, and its end puts an old one back."""
    command = [sys.executable, '-c', SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, 'heard\n'), done.stderr
