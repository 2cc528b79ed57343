# SPDX-License-Identifier: Apache-2.0
"""Spoken words: speech becomes text, and text finds the thing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from stt_ros.errors import KEEP_NUMPY
from stt_ros.frame import Frame
from stt_ros.prompts.base import Candidate, PromptError
from stt_ros.prompts.hub import Loader, PromptModelError
from stt_ros.prompts.search import Search
from stt_ros.prompts.text import Text

MODELS = {'moonshine': 'UsefulSensors/moonshine-tiny', 'whisper': 'openai/whisper-base'}
CLASSES = {
    'moonshine': 'MoonshineForConditionalGeneration',
    'whisper': 'WhisperForConditionalGeneration',
}
RATE = 16000  # samples per second that the models hear
RATES = (4000, 384000)
SECONDS = (0.1, 30.0)
SILENCE = 10 ** (-60 / 20)  # root mean square, full scale 1: quieter than any microphone's speech
TOKENS_PER_SECOND = 6.5  # nobody speaks faster; more is a model that repeats itself


class Audio:
    """Speech that names things: mono ``samples`` (N,), int16 or floats in [-1, 1].

    ``rate`` is in samples per second. ``speech`` is 'moonshine' (English), 'whisper', or the name
    or folder of a checkpoint of such a model; ``transcribe`` takes its place: any function of
    samples (N,) float32 at 16 kHz that returns the words. ``model``, ``search`` and ``threshold``
    are those of ``Text``, which does the rest.

    ``label`` is what was understood, once ``propose`` or ``listen`` was called. Raises
    ``PromptError`` for sound that is silent, too short, too long (30 s) or of a wrong form.
    """

    def __init__(
        self,
        samples: np.ndarray,
        rate: int = RATE,
        loader: Loader | None = None,
        *,
        speech: str = 'moonshine',
        transcribe: Callable[[np.ndarray], str] | None = None,
        model: str = 'owlv2',
        search: Search | None = None,
        threshold: float | None = None,
    ) -> None:
        self._samples = check_sound(samples, rate)
        self._rate = int(rate)
        loader = loader or Loader()
        self._transcribe = transcribe or Transcriber(loader, speech)
        self._make_text = lambda words: Text(
            words, loader, model=model, search=search, threshold=threshold
        )
        self._text: Text | None = None

    @property
    def label(self) -> str:
        """The words that were understood; empty before ``listen``."""
        return self._text.label if self._text else ''

    @property
    def instances(self) -> list:
        """What was found, as in ``Text``."""
        return self._text.instances if self._text else []

    def listen(self) -> str:
        """Return the words, understood now or before.

        Raises ``PromptError`` when there are none, ``PromptModelError`` when the model of speech
        cannot be had.
        """
        if self._text is None:
            words = self._transcribe(resample(self._samples, self._rate)).strip(' \n.!?')
            if not words:
                raise PromptError('no words were understood in the sound; speak again')
            self._text = self._make_text(words)
        return self._text.label

    def propose(self, frame: Frame) -> np.ndarray:
        """Return the gazes of all that is so named, (K, 2) pixels; raises as ``listen`` does."""
        self.listen()
        return self._text.propose(frame)

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return how similar each candidate is to the words, (C,) in [0, 1]."""
        return self._text.score(candidates)


class Transcriber:
    """Writes down speech at 16 kHz with Moonshine or Whisper."""

    def __init__(self, loader: Loader, model: str = 'moonshine') -> None:
        self.loader = loader
        self.model = MODELS.get(model, model)

    def __call__(self, samples: np.ndarray) -> str:
        """Return the words in samples (N,) float32 at 16 kHz; raises ``PromptModelError``."""
        network = self.loader.model(self.model, CLASSES)
        extractor = self.loader.feature_extractor(self.model)
        inputs = extractor(samples, sampling_rate=RATE, return_tensors='np')
        inputs = {name: self.loader.tensor(values) for name, values in inputs.items()}
        limit = max(4, math.ceil(len(samples) / RATE * TOKENS_PER_SECOND))
        with self.loader.running(self.model):
            tokens = network.generate(**inputs, max_new_tokens=limit)
        tokenizer = self.loader.tokenizer(self.model)
        return tokenizer.batch_decode(tokens.cpu().numpy(), skip_special_tokens=True)[0]


def check_sound(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return mono samples (N,) as float32 in [-1, 1]; raises ``PromptError`` with the reason."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or samples.dtype not in (np.int16, np.float32, np.float64):
        raise PromptError(
            f'the sound is {samples.dtype} of shape {samples.shape}; expected mono samples (N,), '
            'int16 or floats in [-1, 1]'
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise PromptError(
            f'the sound has {rate} samples per second; allowed: {RATES[0]} to {RATES[1]}'
        )
    if not SECONDS[0] <= len(samples) / rate <= SECONDS[1]:
        raise PromptError(
            f'the sound lasts {len(samples) / rate:.3g} s; allowed: {SECONDS[0]:g} to '
            f'{SECONDS[1]:g} s'
        )
    if samples.dtype == np.int16:
        samples = samples / 32768
    loudest = np.abs(samples).max()
    if not loudest <= 1.5:  # NaN fails too; some recorders overshoot a little
        raise PromptError(f'the loudest sample is {loudest:g}; floats must be in [-1, 1]')
    # A microphone's constant offset is no sound.
    level = float(np.std(samples))
    if level < SILENCE:
        raise PromptError(
            f'the sound is silent: its level is {20 * math.log10(max(level, 1e-9)):.0f} dB of full '
            f'scale, speech has more than {20 * math.log10(SILENCE):.0f} dB; is the microphone on?'
        )
    return np.clip(samples, -1, 1).astype(np.float32)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return samples (N,) float32 at 16 kHz; raises ``PromptModelError`` when SciPy is missing."""
    if rate == RATE:
        return samples
    try:
        from scipy.signal import resample_poly
    except ImportError as error:
        raise PromptModelError(
            f'sound at {rate} instead of {RATE} samples per second needs SciPy: '
            f'pip install scipy{KEEP_NUMPY}'
        ) from error
    common = math.gcd(rate, RATE)
    return resample_poly(samples, RATE // common, rate // common).astype(np.float32)
