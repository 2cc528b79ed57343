# SPDX-License-Identifier: Apache-2.0
"""Foundation models: tiny random ones, saved as the real ones are, run for real."""

import numpy as np
import pytest

transformers = pytest.importorskip(
    'transformers', reason='needs the extra [prompts]: pip install -r requirements/prompts.txt'
)
pytest.importorskip('sentencepiece', reason='needs the extra [prompts]')

import torch  # noqa: E402

from stt_ros.frame import Frame  # noqa: E402
from stt_ros.prompts import Audio, Example, PromptError, Text, answer  # noqa: E402
from stt_ros.prompts.audio import Transcriber  # noqa: E402
from stt_ros.prompts.features import PatchFeatures  # noqa: E402
from stt_ros.prompts.hub import Loader  # noqa: E402
from stt_ros.prompts.pixels import HALF, prepare  # noqa: E402
from stt_ros.prompts.search import WordSearch  # noqa: E402
from stt_ros.segmenter import Segmenter  # noqa: E402

RGB = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)  # a square: no padding
SPEECH = np.random.default_rng(4).normal(0, 0.1, 12000).astype(np.float32)
SEARCHES = ('owlv2', 'clipseg', 'grounding_dino')


@pytest.fixture(scope='module')
def loader():
    return Loader('cpu', 'fp32', local_files_only=True)


# What the adapters make of the models is what transformers makes of them.


@pytest.mark.parametrize('kind, patch', [('dinov2', 14), ('dinov3', 16)])
def test_patch_features(models, loader, kind, patch):
    if kind == 'dinov3' and not hasattr(transformers, 'DINOv3ViTModel'):
        pytest.skip('DINOv3 needs transformers 4.56')
    rgb = np.zeros((90, 140, 3), np.uint8)
    rgb[:, 70:] = 255
    features = PatchFeatures(loader, models(kind), side=10 * patch)(rgb)
    assert features.shape == (6, 10, 16) and features.dtype == np.float32
    # The picture's halves differ: so do their features, more than those within a half.
    left, right = features[:, :4].reshape(-1, 16), features[:, 6:].reshape(-1, 16)
    assert np.linalg.norm(left.mean(0) - right.mean(0)) > np.linalg.norm(left.std(0))
    network = transformers.AutoModel.from_pretrained(models(kind)).eval()
    pixels = np.repeat(np.arange(10 * patch) >= 5 * patch, 3).reshape(-1, 3).T.astype(np.float32)
    pixels = (pixels - np.array([[0.485], [0.456], [0.406]])) / [[0.229], [0.224], [0.225]]
    batch = torch.tensor(pixels, dtype=torch.float32)[None, :, None].expand(-1, -1, 6 * patch, -1)
    with torch.inference_mode():
        wanted = network(pixel_values=batch).last_hidden_state[0, -60:].numpy()
    # Resizing blurs the edge in the middle, and attention spreads that a little.
    assert np.abs(features.reshape(-1, 16) - wanted).mean() < 0.1


def reference(kind, folder, rgb, words):
    """Return the inputs and outputs of a model as the processors of transformers make them."""
    pytest.importorskip('PIL', reason='needs Pillow')
    if kind == 'owlv2':
        pytest.importorskip('scipy', reason='needs SciPy')
        pictures = transformers.Owlv2ImageProcessor(size={'height': 64, 'width': 64})
        network = transformers.Owlv2ForObjectDetection.from_pretrained(folder)
    elif kind == 'clipseg':
        pictures = transformers.ViTImageProcessor(
            size={'height': 64, 'width': 64}, image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )  # fmt: skip
        network = transformers.CLIPSegForImageSegmentation.from_pretrained(folder)
    else:
        pictures = transformers.GroundingDinoImageProcessor()
        network = transformers.GroundingDinoForObjectDetection.from_pretrained(folder)
        words = f'{words}.'
    pixels = pictures(rgb, return_tensors='pt')['pixel_values']
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(words, return_tensors='pt')
    with torch.inference_mode():
        return network.eval()(pixel_values=pixels, **tokens)


# The size that each sees without resizing, which its processor does a little differently.
SIDES = {'owlv2': 64, 'clipseg': 64, 'grounding_dino': 800}


@pytest.mark.parametrize('kind', SEARCHES)
def test_word_search(models, loader, kind):
    times = -(-SIDES[kind] // 96)
    rgb = np.repeat(np.repeat(RGB, times, 0), times, 1)[: SIDES[kind], : SIDES[kind]]
    found = WordSearch(loader, models(kind))(rgb, 'a red dog')
    out = reference(kind, models(kind), rgb, 'a red dog')
    if kind == 'clipseg':
        wanted = out.logits.sigmoid().reshape(64, 64).numpy()
        np.testing.assert_allclose(found.heat, wanted, atol=1e-4)
        return
    assert found.heat is None
    wanted = out.logits[0].sigmoid().amax(dim=1).numpy()
    np.testing.assert_allclose(found.similarities, wanted, atol=1e-3)
    centres = found.boxes[:, :2] + found.boxes[:, 2:] / 2
    boxes = np.hstack([centres, found.boxes[:, 2:]]) / SIDES[kind]
    np.testing.assert_allclose(boxes, out.pred_boxes[0].numpy(), atol=1e-3)


def test_owlv2_boxes_of_a_wide_picture_are_in_its_pixels(models):
    loader = Loader('cpu', 'fp32', local_files_only=True)
    search = WordSearch(loader, models('owlv2'))
    network = loader.model(models('owlv2'), {'owlv2': 'Owlv2ForObjectDetection'})
    network.box_head.dense2.weight.zero_()  # every place finds a box of its own size there
    network.box_head.dense2.bias.zero_()
    boxes = search(np.zeros((60, 120, 3), np.uint8), 'dog').boxes
    # 4 x 4 places in a square of 120 pixels, the lower half of which is padding.
    places = np.stack(np.meshgrid(*[np.arange(1, 5) * 30] * 2), -1).reshape(-1, 2)
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, places, atol=0.1)
    np.testing.assert_allclose(boxes[:, 2:], 30, atol=0.1)


@pytest.mark.parametrize('mode', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(40, 30), (200, 160)])
def test_pictures_are_resized_as_pillow_does_it(loader, mode, size):
    image = pytest.importorskip('PIL.Image', reason='needs Pillow')
    rgb = RGB // 2 + 64  # Pillow clips what overshoots twice
    wanted = image.fromarray(rgb).resize(size[::-1], getattr(image.Resampling, mode.upper()))
    pixels = prepare(loader, rgb, size, HALF, mode)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose((pixels + 1) / 2 * 255, np.asarray(wanted), atol=1.5)


@pytest.mark.parametrize('kind', SEARCHES)
def test_words_that_are_too_long_for_a_model(models, loader, kind):
    words = 'dog ' * 60
    search = WordSearch(loader, models(kind))
    if kind == 'grounding_dino':
        assert len(search(RGB, words).boxes) == 20
        return
    with pytest.raises(PromptError, match=r'tokens long; .* takes (16|77): name the thing'):
        search(RGB, words)


@pytest.mark.parametrize('kind', ['moonshine', 'whisper'])
def test_transcriber(models, loader, kind):
    words = Transcriber(loader, models(kind))(SPEECH)
    network = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(models(kind)).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(models(kind))
    inputs = extractor(SPEECH, sampling_rate=16000, return_tensors='pt')
    tokens = network.generate(**inputs, max_new_tokens=5)  # 0.75 s
    tokenizer = transformers.AutoTokenizer.from_pretrained(models(kind))
    assert words == tokenizer.decode(tokens[0], skip_special_tokens=True)


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_every_model_runs_in_every_precision_of_a_cpu(models, precision):
    loader = Loader('cpu', precision, local_files_only=True)
    assert np.isfinite(PatchFeatures(loader, models('dinov2'))(RGB)).all()
    for kind in SEARCHES:
        found = WordSearch(loader, models(kind))(RGB, 'dog')
        values = found.similarities if found.heat is None else found.heat
        assert ((values >= 0) & (values <= 1)).all() and np.isfinite(found.boxes).all()
    for kind in ('moonshine', 'whisper'):
        assert isinstance(Transcriber(loader, models(kind))(SPEECH), str)


def test_prompts_of_real_models_go_all_the_way_to_masks(models, loader):
    segmenter = Segmenter.create(device='cpu', precision='fp32')
    rgb = np.full((120, 160, 3), 90, np.uint8)
    rgb[30:90, 40:110] = (200, 60, 30)
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:110] = True
    example = Example(rgb, mask, features=PatchFeatures(loader, models('dinov2'), side=112))
    text = Text('dog', loader, model=models('clipseg'), threshold=0.0)
    spoken = Audio(
        SPEECH[:9600], 16000, loader, speech=models('whisper'), model=models('owlv2'), threshold=0.0
    )
    for prompt in (example, text, spoken):
        assert len(prompt.propose(Frame(rgb)))
        answers = answer(segmenter, rgb, [prompt], 'all_instances')
        assert all(0 < found.score <= 1 and found.area for found in answers)
    assert spoken.label in spoken.listen()
    [best] = answer(segmenter, rgb, [example])
    assert best.area


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_models_run_on_cuda(models):
    loader = Loader('cuda', 'auto', local_files_only=True)
    assert np.isfinite(PatchFeatures(loader, models('dinov2'))(RGB)).all()
    for kind in SEARCHES:
        WordSearch(loader, models(kind))(RGB, 'dog')
    assert sum(loader.memory.values()) <= torch.cuda.memory_allocated()
