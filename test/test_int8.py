# SPDX-License-Identifier: Apache-2.0
"""The encoder in bytes: what is rounded, how far the answers move, and who can have it."""

from importlib.util import find_spec

import golden
import numpy as np
import pytest
from micro import MICRO, PATTERN, has_openvino

from stt_ros import engines, zoo
from stt_ros.engines import choice
from stt_ros.errors import EngineError
from stt_ros.prompts import Loader


@pytest.fixture
def vnni():
    """Skip where the CPU multiplies no bytes."""
    from stt_ros.engines import openvino_int8

    try:
        openvino_int8.require_instructions()
    except EngineError as error:
        pytest.skip(str(error))


def constants(product):
    """Return the bytes (out, in) and scales (out, 1) that a product's matrix is stored as."""
    scaled = product.input_value(1).get_node()
    stored, scale = (value.get_node() for value in scaled.input_values())
    return stored.input_value(0).get_node().data, scale.data


@has_openvino
@pytest.mark.parametrize('saved', [False, True])
def test_matrices_of_the_encoder_are_bytes_within_half_a_step(saved, micro_weights, tmp_path):
    import openvino as ov

    from stt_ros.engines.openvino_convert import convert
    from stt_ros.engines.openvino_int8 import encoder_products, quantise

    model = zoo.load(micro_weights)
    blocks = model.image_encoder.blocks
    exact = [
        matrix.detach().numpy().copy()
        for block in blocks
        for matrix in (
            block.attn.in_proj_weight, block.attn.out_proj.weight,
            block.mlp.layers[0][0].weight, block.mlp.fc.weight,
        )
    ]  # fmt: skip
    graph = convert(model)['read']
    if saved:
        ov.save_model(graph, tmp_path / 'read.xml', compress_to_fp16=False)
        graph = ov.Core().read_model(tmp_path / 'read.xml')
    products = encoder_products(graph, model.config)
    quantise(graph, model.config)
    assert len(products) == 1 + 4 * len(blocks) == 1 + len(exact)
    for product, matrix in zip(products[1:], exact, strict=True):
        stored, scale = constants(product)
        assert stored.dtype == np.int8 and np.abs(stored).max(axis=1).min() == 127
        assert (np.abs(stored * scale - matrix) <= 0.5001 * scale).all()


@has_openvino
@pytest.mark.parametrize('case', MICRO, ids=[case['name'] for case in MICRO])
def test_golden_vectors_roughly(case, micro_weights, vnni):
    """Random weights, whose logits are noise: what is rounded must be small beside them."""
    made = engines.create(micro_weights, 'cpu', 'int8', 'openvino', threads=1)
    image = golden.image(case['image_seed'], *case['image_hw'])
    tokens, valid = PATTERN.foveate(image, [case['gaze_xy']])
    logits, ious = made.run(tokens, valid)
    expected = case['expected']['mask_logits'][:, valid[0]]
    error = logits[0][:, valid[0]] - expected
    assert 0 < np.sqrt((error**2).mean() / (expected**2).mean()) <= 0.05
    assert np.abs(ious[0] - case['expected']['ious']).max() <= 0.05
    assert (logits[0][:, ~valid[0]] == -np.inf).all()


@has_openvino
def test_one_gaze_that_sees_all_has_a_graph_of_its_own(micro_weights, vnni):
    """Which answers as the other one does, but for the order of sums."""
    made = engines.create(micro_weights, 'cpu', 'int8', 'openvino', threads=1)
    tokens, valid = PATTERN.foveate(golden.image(7, 1400, 1400), [(700, 700), (650, 720)])
    assert valid.all()
    used = []
    infer = made._infer
    made._infer = lambda graph, arrays: used.append(graph) or infer(graph, arrays)
    logits, ious = made.run(tokens, valid)
    for k in range(2):
        alone, alone_ious = made.run(tokens[k : k + 1], valid[k : k + 1])
        assert np.sqrt(((alone[0] - logits[k]) ** 2).mean()) <= 0.05 * logits.std()
        np.testing.assert_allclose(alone_ious[0], ious[k], atol=0.05)
    assert used == ['read', 'draw', 'read_all', 'draw', 'read_all', 'draw']


@has_openvino
def test_it_says_what_it_is_and_auto_never_takes_it(micro_weights, vnni):
    made = engines.create(micro_weights, 'cpu', 'int8', threads=1)
    assert 'with openvino int8 (encoder; the rest' in made.description
    assert 'agree with fp32 by an IoU of' in made.description
    for engine in ('auto', 'openvino'):
        assert 'int8' not in engines.create(micro_weights, 'cpu', 'auto', engine).description


@pytest.mark.parametrize('engine', ['torch', 'onnxruntime'])
def test_engines_without_it_say_so(engine, micro_weights):
    if find_spec(engine) is None:
        pytest.skip(f'needs {engine}')
    words = f"'int8' is for engine 'openvino' on an x86 CPU; '{engine}' takes 'auto', 'fp32'"
    with pytest.raises(EngineError, match=words):
        engines.create(micro_weights, 'cpu', 'int8', engine)


def test_without_openvino_it_says_how_to_get_it(micro_weights, monkeypatch):
    monkeypatch.setattr(choice, 'find_spec', lambda name: None)
    monkeypatch.setattr(choice.platform, 'machine', lambda: 'x86_64')
    words = r"'int8' is for engine 'openvino'.*'torch' \(auto: .*pip install openvino"
    with pytest.raises(EngineError, match=words):
        engines.create(micro_weights, 'cpu', 'int8')


@has_openvino
def test_a_cpu_without_the_instructions_is_told(tmp_path):
    from stt_ros.engines.openvino_int8 import require_instructions

    flags = tmp_path / 'cpuinfo'
    flags.write_text('flags : fpu avx2 avx512f avx512_bf16\n')
    with pytest.raises(EngineError, match=r"'int8': this CPU has no instructions.*'auto', 'fp32'"):
        require_instructions(flags)
    for there in ('avx512_vnni', 'avx_vnni'):
        flags.write_text(f'flags : fpu avx2 {there}\n')
        require_instructions(flags)
    require_instructions(tmp_path / 'no_linux')


@has_openvino
def test_a_network_that_is_arranged_otherwise_is_refused(micro_weights):
    from stt_ros.engines.openvino_convert import convert
    from stt_ros.engines.openvino_int8 import quantise

    model = zoo.load(micro_weights)
    graphs = convert(model)
    with pytest.raises(EngineError, match="'int8': OpenVINO .* not known here; use 'auto'"):
        quantise(graphs['draw'], model.config)


def test_models_of_prompts_take_their_own_precision():
    pytest.importorskip('torch')
    assert Loader('cpu', 'int8')._placement() == Loader('cpu', 'auto')._placement()
