# SPDX-License-Identifier: Apache-2.0
"""The foundation models behind some prompts, as the node's parameters choose them."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import KeyValue

from stt_ros.prompts import Audio, Example, Labeller, Loader, Prompt, PromptError, Text
from stt_ros.prompts.features import PatchFeatures


class PromptModels:
    """Makes the prompts that need a model; models are loaded when first used, each once."""

    def __init__(self, parameters) -> None:
        self._parameters = parameters
        chosen = (parameters[name] for name in ('device', 'precision', 'local_files_only'))
        self._loader = Loader(*chosen)
        self._features = PatchFeatures(self._loader, parameters['example_model'])
        self._reference: Prompt | None = None
        self.labeller = self._make_labeller() if parameters['label_model'] else None

    def text(self, words: str) -> Prompt:
        """Return a prompt of words; raises ``PromptError``."""
        return Text(words, self._loader, model=self._parameters['text_model'])

    def audio(self, samples: np.ndarray, rate: int) -> Prompt:
        """Return a prompt of speech, samples (N,) float32 in [-1, 1]; raises ``PromptError``."""
        chosen = {
            'speech': self._parameters['speech_model'], 'model': self._parameters['text_model'],
        }  # fmt: skip
        return Audio(samples, rate, self._loader, **chosen)

    def example(self, picture: np.ndarray, mask: np.ndarray) -> Prompt:
        """Return a prompt of a picture (H, W, 3) RGB and a mask (H, W); raises ``PromptError``."""
        return Example(picture, mask, features=self._features)

    @property
    def reference(self) -> Prompt:
        """The example that was set; raises ``PromptError`` when none was."""
        if self._reference is None:
            raise PromptError('picture is empty and no reference is set: call ~/set_reference')
        return self._reference

    @reference.setter
    def reference(self, example: Prompt) -> None:
        self._reference = example

    def memory(self) -> list[KeyValue]:
        """What the loaded models take of the device's memory, as diagnostic values."""
        return [
            KeyValue(key=f'prompt model {name} (MiB)', value=f'{size / 2**20:.0f}')
            for name, size in self._loader.memory.items()
        ]

    def close(self) -> None:
        """Forget the models."""
        self._loader.close()

    def _make_labeller(self):
        words = [word.strip() for word in self._parameters['vocabulary'].split(',')]
        named = {'vocabulary': words} if any(words) else {}
        return Labeller(self._loader, model=self._parameters['label_model'], **named).named
