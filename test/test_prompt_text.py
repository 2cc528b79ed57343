# SPDX-License-Identifier: Apache-2.0
"""Words, written and spoken: with a search that knows colours, so that the answer is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prompt_example import BLUE, RED, picture, region

from stt_ros import prompts
from stt_ros.frame import Frame
from stt_ros.prompts import PromptError, Region
from stt_ros.prompts.audio import Audio, check_sound, resample
from stt_ros.prompts.hub import Loader, PromptModelError
from stt_ros.prompts.search import Findings
from stt_ros.prompts.text import Text

COLOURS = {'red': RED, 'blue': BLUE}
SCENE = picture((60, 60, RED), (250, 170, RED), (160, 120, BLUE))


def likeness(rgb, words):
    """Return how near each pixel is to the colour that the words begin with, in [0, 1]."""
    distance = np.linalg.norm(rgb.astype(float) - COLOURS[words.split()[0]], axis=2)
    return np.exp(-((distance / 60) ** 2))


def warm(rgb, words):
    """Find a heat map, at a quarter of the size."""
    heat = cv2.resize(likeness(rgb, words), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return Findings(np.empty((0, 4)), np.empty(0), 0.4, heat)


def boxed(rgb, words):
    """Find boxes, each twice as detectors do, the rightmost thing the most similar."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((likeness(rgb, words) > 0.5).view(np.uint8))
    boxes = stats[1:, :4].astype(float)
    similarities = 0.2 + 0.5 * boxes[:, 0] / rgb.shape[1]
    return Findings(
        np.concatenate([boxes, boxes + 3]), np.concatenate([similarities, similarities / 2]), 0.1
    )


def test_words_are_tidied_and_name_the_answers():
    assert Text('  red\n ball ', search=warm).label == 'red ball'


@pytest.mark.parametrize('search', [warm, boxed])
def test_every_instance_is_proposed_and_nothing_else(search):
    prompt = Text('red ball', search=search)
    gazes = prompt.propose(Frame(SCENE))
    first, second = region(60, 60).contains(gazes), region(250, 170).contains(gazes)
    assert first.any() and second.any()
    assert (first | second).all()
    assert len(prompt.instances) == 2
    for instance in prompt.instances:
        assert min(abs(instance.box[0] - 30), abs(instance.box[0] - 220)) < 5
        assert instance.box[2:] == pytest.approx((61, 61), abs=8)
    similarities = [instance.similarity for instance in prompt.instances]
    assert similarities == sorted(similarities, reverse=True)


@pytest.mark.parametrize('search', [warm, boxed])
def test_the_whole_thing_scores_best(search):
    prompt = Text('red ball', search=search)
    prompt.propose(Frame(SCENE))
    whole, part, large, other, none = prompt.score(
        [
            region(250, 170), region(250, 170, 15), region(250, 170, 55), region(160, 120),
            Region.of_mask(np.zeros(SCENE.shape[:2], bool)),
        ]
    )  # fmt: skip
    assert whole > 0.7
    assert part < 0.6 * whole and large < 0.7 * whole
    assert other == none == 0


@pytest.mark.parametrize('search', [warm, boxed])
def test_all_instances_are_answered_with_scores(cpu_segmenter, search):
    answers = prompts.answer(cpu_segmenter, SCENE, [Text('red', search=search)], 'all_instances')
    for wanted in (region(60, 60), region(250, 170)):
        assert max(answer.iou(wanted) for answer in answers) > 0.7
    assert max(answer.iou(region(160, 120)) for answer in answers) < 0.1
    assert all(answer.label == 'red' and 0 < answer.score <= 1 for answer in answers)


@pytest.mark.parametrize('search', [warm, boxed])
def test_words_and_a_point_pick_one_of_several(cpu_segmenter, search):
    together = [Text('red', search=search), prompts.Points([(60, 60)])]
    [answer] = prompts.answer(cpu_segmenter, SCENE, together)
    assert answer.iou(region(60, 60)) > 0.7


@pytest.mark.parametrize('search', [warm, boxed])
def test_what_is_not_there_has_no_gaze(search):
    prompt = Text('blue ball', search=search)
    frame = picture((60, 60, RED))
    assert prompt.propose(Frame(frame)).shape == (0, 2)
    assert prompt.instances == []
    assert prompt.score([region(60, 60)])[0] == 0
    assert prompts.answer(None, frame, [prompt], 'all_instances') == []


def test_the_threshold_decides_what_is_an_instance():
    assert Text('red', search=warm, threshold=1.0).propose(Frame(SCENE)).shape == (0, 2)
    strict = Text('red', search=boxed, threshold=0.4)
    strict.propose(Frame(SCENE))
    assert len(strict.instances) == 1 and strict.instances[0].box[0] > 160


def test_boxes_beside_the_frame_are_left_out():
    outside = np.array([[-50, 10, 30, 30], [400, 10, 30, 30], [20, 20, 90, 90], [50, 50, 0, 0]])
    found = Findings(outside.astype(float), np.array([0.9, 0.9, 0.8, 0.95]), 0.1)
    prompt = Text('red', search=lambda rgb, words: found)
    gazes = prompt.propose(Frame(SCENE))
    assert [instance.box for instance in prompt.instances] == [(20, 20, 90, 90)]
    assert (gazes >= 0).all() and (gazes < (320, 240)).all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_a_model_finds_gazes_are_in_the_frame_and_scores_in_range(data):
    number = data.draw(st.integers(0, 6))
    values = st.lists(st.floats(-400, 700), min_size=4 * number, max_size=4 * number)
    boxes = np.array(data.draw(values), float).reshape(-1, 4)
    boxes[:, 2:] = np.abs(boxes[:, 2:])
    found = Findings(boxes, np.linspace(0, 1, number), 0.1)
    prompt = Text('red', search=lambda rgb, words: found)
    gazes = prompt.propose(Frame(SCENE))
    assert (gazes >= 0).all() and (gazes < (320, 240)).all()
    scores = prompt.score([region(60, 60), region(160, 120)])
    assert (scores >= 0).all() and (scores <= 1).all()


@pytest.mark.parametrize(
    'words, reason',
    [
        ('', "the text is ''; expected words"),
        (' \n\t', 'expected words that name a thing'),
        (' ' * 5000, "the text is ''; expected words"),
        (7, 'the text is 7'),
        ('x' * 10000, 'the text has 10000 characters; at most 300'),
    ],
)
def test_words_that_make_no_sense(words, reason):
    with pytest.raises(PromptError, match=reason):
        Text(words, search=warm)


@pytest.mark.parametrize('threshold', [-0.1, 1.5, float('nan')])
def test_a_threshold_that_makes_no_sense(threshold):
    with pytest.raises(PromptError, match='text threshold is'):
        Text('red', search=warm, threshold=threshold)


# Speech: 'red' is a tone of 440 Hz, 'blue' one of 660 Hz.


def tone(frequency, rate=16000, seconds=0.5, level=0.3):
    return level * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def write_down(samples):
    """Return the colour that sounds loudest; the samples must be at 16 kHz for this to be right."""
    spectrum = np.abs(np.fft.rfft(samples))
    loudest = np.fft.rfftfreq(len(samples), 1 / 16000)[spectrum.argmax()]
    return {440: ' Red ball.', 660: 'blue'}.get(round(loudest / 20) * 20, '').lower()


@pytest.mark.parametrize('rate', [16000, 48000, 44100, 8000])
@pytest.mark.parametrize('form', [np.float32, np.float64, np.int16])
def test_speech_is_heard_at_any_rate_and_finds_the_thing(rate, form):
    pytest.importorskip('scipy', reason='needs requirements/prompts.txt')
    samples = tone(440, rate) * (32767 if form is np.int16 else 1)
    prompt = Audio(samples.astype(form), rate, transcribe=write_down, search=warm)
    assert prompt.label == ''
    gazes = prompt.propose(Frame(SCENE))
    assert prompt.label == 'red ball'
    assert len(prompt.instances) == 2
    assert (region(60, 60).contains(gazes) | region(250, 170).contains(gazes)).all()
    assert prompt.score([region(60, 60)])[0] > 0.7


def test_speech_is_understood_once():
    heard = []
    prompt = Audio(tone(660), transcribe=lambda s: heard.append(1) or write_down(s), search=warm)
    assert prompt.listen() == 'blue'
    for _ in range(2):
        gazes = prompt.propose(Frame(SCENE))
    assert region(160, 120).contains(gazes).all() and len(gazes)
    assert len(heard) == 1


def test_sound_without_words():
    prompt = Audio(tone(900), transcribe=write_down, search=warm)
    with pytest.raises(PromptError, match='no words were understood'):
        prompt.propose(Frame(SCENE))


@pytest.mark.parametrize('rate', [8000, 44100, 48000])
def test_resampling_keeps_the_sound(rate):
    pytest.importorskip('scipy', reason='needs requirements/prompts.txt')
    heard = resample(tone(1000, rate).astype(np.float32), rate)
    assert heard.dtype == np.float32 and len(heard) == 8000
    np.testing.assert_allclose(heard[500:-500], tone(1000)[500:-500], atol=0.01)


def test_resampling_without_scipy(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'scipy.signal', None)
    with pytest.raises(PromptModelError, match='needs SciPy: pip install scipy'):
        resample(np.zeros(8000, np.float32), 8000)


@pytest.mark.parametrize(
    'samples, rate, reason',
    [
        (np.zeros(16000, np.float32), 16000, 'the sound is silent: its level is -180 dB'),
        (np.full(16000, 0.5, np.float32), 16000, 'is silent'),  # a microphone's offset
        (np.ones(16000, np.int16), 16000, 'is silent'),
        (tone(440)[:100], 16000, 'the sound lasts 0.00625 s; allowed: 0.1 to 30 s'),
        (np.zeros(0, np.float32), 16000, 'the sound lasts 0 s'),
        (np.tile(tone(440), 61), 16000, 'the sound lasts 30.5 s'),
        (tone(440), 0, 'the sound has 0 samples per second; allowed: 4000 to 384000'),
        (tone(440), -16000, 'the sound has -16000 samples'),
        (tone(440) * 32767, 16000, 'the loudest sample is 9[0-9.]*; floats must be in'),
        (np.append(tone(440), np.nan), 16000, 'the loudest sample is nan'),
        (np.stack([tone(440)] * 2), 16000, r'float64 of shape \(2, 8000\); expected mono'),
        (np.zeros(16000, np.uint8), 16000, 'the sound is uint8'),
    ],
)
def test_sound_that_makes_no_sense(samples, rate, reason):
    with pytest.raises(PromptError, match=reason):
        check_sound(samples, rate)
    with pytest.raises(PromptError, match=reason):
        Audio(samples, rate, Loader(local_files_only=True))
