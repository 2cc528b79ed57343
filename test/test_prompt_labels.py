# SPDX-License-Identifier: Apache-2.0
"""Names for masks: a tiny random SigLIP, compared with what transformers makes of it."""

import logging

import numpy as np
import pytest

from stt_ros import prompts
from stt_ros.prompts import Answer, Labeller, Loader, PromptError, Region
from stt_ros.prompts.hub import PromptModelError
from stt_ros.prompts.labels import Label, crop
from stt_ros.prompts.vocabulary import COCO

RGB = np.random.default_rng(5).integers(0, 256, (80, 120, 3), np.uint8)
NAMES = ('dog', 'cat', 'swan', 'red mug')


def box(x, y, width, height):
    return Region((x, y, width, height), np.ones((height, width), bool))


NOTHING = Region((0, 0, 0, 0), np.zeros((0, 0), bool))
MASKS = [box(10, 10, 40, 30), box(60, 5, 20, 70), NOTHING, box(0, 0, 120, 80)]


@pytest.fixture(scope='module')
def siglip(tmp_path_factory):
    pytest.importorskip(
        'transformers', reason='needs the extra [prompts]: pip install -r requirements/prompts.txt'
    )
    pytest.importorskip('sentencepiece', reason='needs the extra [prompts]')
    import tiny_models

    return str(tiny_models.siglip(tmp_path_factory.mktemp('siglip')))


@pytest.fixture
def labeller(siglip, tmp_path):
    """Return a function that makes a labeller with a loader of its own, all with one cache."""

    def make(vocabulary=NAMES, **options):
        loader = Loader('cpu', 'fp32', local_files_only=True)
        return Labeller(loader, vocabulary, model=siglip, cache=tmp_path / 'cache', **options)

    return make


def reference(folder, picture, names):
    """Return SigLIP's logits (K,) of a square picture, by transformers' own tools."""
    import torch
    import transformers

    pytest.importorskip('PIL', reason='needs Pillow')
    model = transformers.SiglipModel.from_pretrained(folder).eval()
    pixels = transformers.SiglipImageProcessor(size={'height': 32, 'width': 32})(
        picture, return_tensors='pt'
    )
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        [f'a photo of a {name}.' for name in names],
        padding='max_length', max_length=16, truncation=True, return_tensors='pt',
    )  # fmt: skip
    with torch.inference_mode():
        out = model(input_ids=tokens['input_ids'], pixel_values=pixels['pixel_values'])
    return out.logits_per_image[0].numpy()


def test_one_name_has_siglips_own_probability(labeller, siglip):
    small = np.ascontiguousarray(RGB[:32, :32])
    mask = box(4, 4, 24, 24)
    square = crop(small, mask)
    assert square.shape == (32, 32, 3)  # as the model sees it: nothing is resized
    logits = reference(siglip, square, NAMES)
    for name, logit in zip(NAMES, logits, strict=True):
        [[probability]] = labeller([name]).probabilities(small, [mask])
        assert probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    [row] = labeller(NAMES).probabilities(small, [mask])
    weights = np.exp(logits)
    np.testing.assert_allclose(row, weights / (1 + weights.sum()), atol=1e-4)


def test_the_likeliest_name_or_others(labeller):
    rows = labeller().probabilities(RGB, [MASKS[k] for k in (0, 1, 3)])
    assert rows.shape == (3, 4) and (rows > 0).all() and (rows.sum(axis=1) < 1).all()
    labels = labeller(threshold=0.0)(RGB, MASKS)
    assert labels[2] == Label('others', 0.0)
    for row, label in zip(rows, [labels[k] for k in (0, 1, 3)], strict=True):
        assert label.name == NAMES[row.argmax()]
        assert label.probability == pytest.approx(row.max())
    strict = labeller(threshold=1.0)(RGB, MASKS)
    assert {label.name for label in strict} == {'others'}
    assert strict[0].probability == pytest.approx(1 - rows[0].sum(), abs=1e-6)


def test_labels_do_not_depend_on_the_other_masks(labeller):
    made = labeller(threshold=0.0)
    many = [box(k, k, 30, 20) for k in range(40)]  # more than one batch
    together = made(RGB, many)
    for k in (0, 17, 39):
        [alone] = made(RGB, [many[k]])
        assert alone.name == together[k].name
        assert alone.probability == pytest.approx(together[k].probability, abs=1e-5)
    assert made(RGB, []) == []


def test_the_table_is_made_once_and_the_text_half_freed(labeller, tmp_path, caplog):
    first = labeller()
    wanted = first.probabilities(RGB, MASKS[:1])
    [stored] = (tmp_path / 'cache').iterdir()
    written = stored.stat().st_mtime_ns
    _, network = first._ready()
    assert not hasattr(network, 'text_model')
    assert sum(first.loader.memory.values()) == sum(4 * p.numel() for p in network.parameters())
    second = labeller()
    second._embed = None  # it must not be needed: the table is on disk
    np.testing.assert_allclose(second.probabilities(RGB, MASKS[:1]), wanted)
    assert stored.stat().st_mtime_ns == written
    labeller(('dog', 'cat'))(RGB, MASKS)
    assert len(list((tmp_path / 'cache').iterdir())) == 2  # another vocabulary, another table


def test_a_damaged_table_is_made_again(labeller, tmp_path, caplog):
    wanted = labeller().probabilities(RGB, MASKS[:1])
    [stored] = (tmp_path / 'cache').iterdir()
    stored.write_bytes(stored.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(labeller().probabilities(RGB, MASKS[:1]), wanted)
    assert 'it is made again' in caplog.text
    assert stored.stat().st_size > 100


def test_a_cache_that_cannot_be_written(siglip, tmp_path, caplog):
    (tmp_path / 'file').write_text('in the way')
    made = Labeller(Loader('cpu', 'fp32'), NAMES, model=siglip, cache=tmp_path / 'file' / 'cache')
    with caplog.at_level(logging.WARNING):
        assert made(RGB, MASKS[:1])
    assert 'cannot be kept' in caplog.text


def test_answers_get_names_but_keep_those_they_have(labeller):
    plain = [Answer(mask.box, mask.crop, (1.0, 1.0), 0.9, 0.9) for mask in MASKS]
    plain[1] = Answer(MASKS[1].box, MASKS[1].crop, (1.0, 1.0), 0.9, 0.9, label='by text')
    named = labeller(threshold=0.0).named(RGB, plain)
    labels = labeller(threshold=0.0)(RGB, MASKS)
    assert [answer.label for answer in named] == [
        labels[0].name, 'by text', 'others', labels[3].name,
    ]  # fmt: skip
    assert named[0].label_probability == pytest.approx(labels[0].probability)
    assert all(new.box == old.box for new, old in zip(named, plain, strict=True))


def test_a_crop_shows_the_thing_and_fades_what_is_around():
    rgb = np.full((80, 120, 3), 200, np.uint8)
    square = crop(rgb, box(0, 20, 20, 40))  # at the left border
    assert square.shape == (52, 52, 3)
    assert (square[6:46, 16:36] == 200).all()  # the thing
    assert (square[6:46, 36:] == 164).all()  # half faded to gray
    assert (square[:, :16] == 128).all()  # beyond the picture


def test_the_vocabulary_of_coco():
    assert len(COCO) == len(set(COCO)) == 133
    assert COCO[0] == 'person' and COCO[79] == 'toothbrush' and COCO[-1] == 'rug'
    assert Labeller(Loader()).vocabulary == COCO


@pytest.mark.parametrize(
    'vocabulary, reason',
    [
        ([], 'the vocabulary has 0 names'),
        (['dog'] * 2, "has 'dog' more than once"),
        (['dog', ' '], "has the name ' '; expected 1 to 100 characters"),
        (['x' * 101], 'expected 1 to 100 characters'),
        ([7], "has the name '7'"),
        ([f'name {k}' for k in range(10001)], 'has 10001 names; allowed: 1 to 10000'),
    ],
)
def test_vocabularies_that_make_no_sense(vocabulary, reason):
    with pytest.raises(PromptError, match=reason):
        Labeller(Loader(), vocabulary)


def test_a_threshold_that_makes_no_sense():
    with pytest.raises(PromptError, match='label threshold is 2'):
        Labeller(Loader(), threshold=2)


def test_without_weights(tmp_path):
    pytest.importorskip('transformers', reason='needs the extra [prompts]')
    made = Labeller(Loader('cpu', local_files_only=True), model=str(tmp_path), cache=tmp_path)
    with pytest.raises(PromptModelError, match='holds no config.json'):
        made(RGB, MASKS)
    assert prompts.PromptModelError is PromptModelError
