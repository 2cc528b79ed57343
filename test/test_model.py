# SPDX-License-Identifier: Apache-2.0
"""The network equals the published one: golden vectors, state dicts, and what masking promises."""

import functools

import golden
import numpy as np
import pytest
import torch

from stt_ros import zoo
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing, normalise

PATTERN = FoveationPattern.standard()
CASES = golden.cases('model')
MICRO = ModelConfig(2, 96, 3)


@functools.lru_cache(maxsize=1)  # cases of one model follow each other; STT-B takes 360 MB
def model_of(depth, width, heads, seed):
    model = SegmentThisThing(ModelConfig(depth, width, heads)).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {key: torch.from_numpy(golden.weights(key, s, seed)) for key, s in shapes.items()}
    model.load_state_dict(state)
    return model


@pytest.fixture
def micro():
    return model_of(2, 96, 3, 7)


def view(seed, size, gaze):
    tokens, valid = PATTERN.foveate(golden.image(seed, *size), gaze)
    return normalise(torch.from_numpy(tokens)[None]), torch.from_numpy(valid)[None]


@pytest.mark.parametrize('case', CASES, ids=[case['name'] for case in CASES])
def test_golden_vectors(case):
    encoder = case['encoder']
    model = model_of(
        encoder['depth'], encoder['embedding_dim'], encoder['num_heads'], case['weight_seed']
    )
    tokens, valid = view(case['image_seed'], case['image_hw'], case['gaze_xy'])
    with torch.inference_mode():
        logits, ious = model(tokens, valid)
    seen = valid[0].numpy()
    difference = np.abs(logits[0].numpy() - case['expected']['mask_logits'])[:, seen]
    assert difference.max() <= 1e-4
    assert np.abs(ious[0].numpy() - case['expected']['ious']).max() <= 1e-4


@pytest.mark.parametrize('name', ['stt-b', 'stt-l', 'stt-h'])
def test_state_dict_has_the_published_keys_and_shapes(name):
    with torch.device('meta'):
        state = zoo.build(name).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == golden.state_shapes()[name]


@pytest.mark.parametrize(
    ('name', 'millions'), [('stt-b', 90.1), ('stt-l', 307.7), ('stt-h', 635.3)]
)
def test_parameter_count(name, millions):
    count = {model.name: model.parameters for model in zoo.models()}[name]
    assert round(count / 1e6, 1) == millions


def test_invalid_tokens_are_never_looked_at(micro):
    tokens, valid = view(500, (480, 640), (600, 20))
    other = torch.where(valid[..., None, None, None], tokens, torch.full_like(tokens, 7.0))
    with torch.inference_mode():
        (logits, ious), (logits_other, ious_other) = micro(tokens, valid), micro(other, valid)
    assert not valid.all()
    torch.testing.assert_close(ious, ious_other)
    torch.testing.assert_close(logits.movedim(2, 1)[valid], logits_other.movedim(2, 1)[valid])


def test_leaving_out_invalid_tokens_changes_nothing(micro):
    tokens, valid = view(500, (480, 640), (600, 20))
    positions = valid[0].nonzero()[:, 0]
    with torch.inference_mode():
        logits, ious = micro(tokens, valid)
        fewer = tokens[:, positions], valid[:, positions], positions[None]
        logits_fewer, ious_fewer = micro(*fewer)
    assert len(positions) < tokens.shape[1]
    torch.testing.assert_close(ious_fewer, ious, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits_fewer, logits[:, :, positions], rtol=1e-4, atol=1e-4)


def test_gazes_of_a_batch_do_not_influence_each_other(micro):
    views = [view(500, (480, 640), gaze) for gaze in ((10, 10), (320, 240), (639, 479))]
    tokens, valid = (torch.cat(parts) for parts in zip(*views, strict=True))
    with torch.inference_mode():
        together = micro(tokens, valid)
        for k, alone in enumerate(micro(*one) for one in views):
            torch.testing.assert_close(together[0][k], alone[0][0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(together[1][k], alone[1][0], rtol=1e-4, atol=1e-4)


def test_normalise_maps_the_mean_colour_to_zero():
    mean = torch.tensor([123.675, 116.28, 103.53])
    std = torch.tensor([58.395, 57.12, 57.375])
    tokens = torch.randint(0, 256, (2, 5, 3, 4, 4), dtype=torch.uint8)
    expected = (tokens - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    result = normalise(tokens)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected)


def test_other_patterns_and_decoder_sizes():
    pattern = FoveationPattern(8, (1, 2, 4), (4, 4, 6))
    config = ModelConfig(
        1, 48, 3, decoder_width=64, decoder_mlp=96, masks=2, registers=3, pattern=pattern
    )
    tokens, valid = pattern.foveate(golden.image(1, 100, 100), [(50, 50), (0, 99)])
    model = SegmentThisThing(config).eval()
    with torch.inference_mode():
        logits, ious = model(normalise(torch.from_numpy(tokens)), torch.from_numpy(valid))
    assert logits.shape == (2, 2, pattern.num_tokens, 8, 8)
    assert ious.shape == (2, 2)
    assert logits.isfinite().all()


def test_gradients_reach_every_parameter():
    model = SegmentThisThing(MICRO)
    logits, ious = model(*view(500, (300, 300), (100, 100)))
    (logits.square().mean() + ious.square().mean()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_one_mask_drawn_alone_equals_that_of_three(micro):
    views = [view(500, (480, 640), gaze) for gaze in ((10, 10), (320, 240), (639, 479))]
    tokens, valid = (torch.cat(parts) for parts in zip(*views, strict=True))
    mask = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        logits, ious = micro(tokens, valid)
        *seen, read_ious = micro.read(tokens, valid)
        alone = micro.draw(*seen, mask=mask)
    assert alone.shape == (3, 1, *logits.shape[2:])
    torch.testing.assert_close(read_ious, ious)
    torch.testing.assert_close(alone[:, 0], logits[range(3), mask], rtol=1e-4, atol=1e-5)
