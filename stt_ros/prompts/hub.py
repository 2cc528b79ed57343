# SPDX-License-Identifier: Apache-2.0
"""The foundation models behind some prompts: Hugging Face ``transformers``, loaded when needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stt_ros.download import import_hub, one_line
from stt_ros.errors import KEEP_NUMPY, DownloadError, EngineError
from stt_ros.prompts.base import PromptError

PACKAGES = f"pip install 'transformers>=4.51,<6' sentencepiece protobuf scipy{KEEP_NUMPY}"
WEIGHTS = ('model.safetensors', 'model-*.safetensors')
OLD_WEIGHTS = ('pytorch_model.bin', 'pytorch_model-*.bin')
VOCABULARIES = ('tokenizer.json', 'vocab.json', 'vocab.txt', '*.model')
SETTINGS = ('*.json', '*.txt', '*.model')

_log = logging.getLogger(__name__)


class PromptModelError(PromptError):
    """The model behind a prompt cannot be had or run; the text says what to install or fetch."""


class Loader:
    """Loads models by name or folder, each once; one loader is shared by all prompts of a node.

    ``device`` ('auto', 'cpu', 'cuda', 'cuda:1') and ``precision`` ('auto', 'fp32', 'bf16',
    'fp16') mean what they mean for the segmenter; its 'int8', which these models do not have, is
    'auto' here. A name is one of the Hugging Face hub ('facebook/dinov2-small'), fetched on first
    use unless ``local_files_only``; or a folder that holds config.json, the weights and, where
    words are read, the tokenizer. Nothing is imported or loaded before it is asked for, and every
    method may be called from any thread.
    """

    def __init__(
        self, device: str = 'auto', precision: str = 'auto', local_files_only: bool = False
    ) -> None:
        self.local_files_only = local_files_only
        self._wanted = device, precision
        self._kept: dict[Any, Any] = {}
        self._bytes: dict[str, int] = {}
        self._lock = threading.RLock()

    def once(self, key, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned the first time it was asked for under this key."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]

    @property
    def device(self):
        """The torch.device that models run on; raises ``PromptModelError`` if there is none."""
        return self.once('device', self._placement)[0]

    @property
    def dtype(self):
        """The torch.dtype that models are kept in."""
        return self.once('device', self._placement)[1]

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of weights of each loaded model, by name: of ``device``'s memory."""
        return dict(self._bytes)  # without the lock: a download may hold it for minutes

    def config(self, name: str):
        """Return a model's configuration; raises ``PromptModelError`` saying what to do."""
        return self.once(('config', name), lambda: self._read('AutoConfig', name))

    def tokenizer(self, name: str):
        """Return a model's tokenizer; raises ``PromptModelError`` saying what to do."""

        def make():
            # Without these files transformers makes one that knows no words, and says nothing.
            if not _has(self.folder(name), VOCABULARIES):
                raise PromptModelError(
                    f'{name} has no tokenizer: {self.folder(name)} holds none of '
                    f'{", ".join(VOCABULARIES)}'
                )
            return self._read('AutoTokenizer', name)

        return self.once(('tokenizer', name), make)

    def feature_extractor(self, name: str):
        """Return what prepares sound for a model; raises ``PromptModelError``."""
        make = lambda: self._read('AutoFeatureExtractor', name)  # noqa: E731
        return self.once(('feature extractor', name), make)

    def model(self, name: str, classes: Mapping[str, str], exact: Sequence[str] = ()):
        """Return a model on the device, ready to run.

        ``classes`` maps the kinds that will do (``model_type`` of config.json) to the class of
        transformers that loads them; the kinds of ``exact`` stay float32. Raises
        ``PromptModelError``: packages or weights that are missing (with the command that gets
        them), another kind, a damaged or incomplete file.
        """

        def make():
            kept = self.config(name).model_type in exact
            return self.place(name, self.load(name, classes), kept)

        return self.once(('model', name), make)

    def load(self, name: str, classes: Mapping[str, str]):
        """Read a model into main memory, float32, and keep nothing; see ``model``."""
        kind = self.config(name).model_type
        if kind not in classes:
            raise PromptModelError(
                f'{name} is a model of kind {kind!r}; here one of these is needed: '
                f'{", ".join(classes)}'
            )
        model, info = self._read(classes[kind], name, output_loading_info=True)
        if info['missing_keys']:
            missing = sorted(info['missing_keys'])
            raise PromptModelError(
                f'the weights of {name} are incomplete: {missing[0]} and '
                f'{len(missing) - 1} others are missing; fetch them again: hf download {name}'
            )
        return model.float()

    def place(self, name: str, model, exact: bool = False):
        """Put a model on the device, in the loader's precision or ``exact``, and tell its size."""
        dtype = model.dtype if exact else self.dtype
        size = sum(p.numel() for p in model.parameters()) * dtype.itemsize
        with self.running(name):
            model = model.to(self.device, dtype).eval().requires_grad_(False)
        precision = str(dtype).removeprefix('torch.')
        _log.info('%s on %s, %s: %.0f MB', name, self.device, precision, size / 1e6)
        with self._lock:
            self._bytes[name] = size
        return model

    def tensor(self, array: np.ndarray):
        """Return an array on the device, floating numbers in the loader's precision."""
        import torch

        tensor = torch.as_tensor(array).to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Run a model in here: without gradients; ``PromptModelError`` when memory runs out."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except torch.cuda.OutOfMemoryError as error:
            raise PromptModelError(
                f'{self.device} has no memory left for {name}: use a smaller model, or run the '
                f'prompts on another device ({str(error).splitlines()[0]})'
            ) from error

    def close(self) -> None:
        """Forget all models and give accelerator memory back; they load again when needed."""
        with self._lock:
            cuda = self._bytes and self.device.type == 'cuda'
            self._kept.clear()
            self._bytes.clear()
        if cuda:
            import torch

            torch.cuda.empty_cache()

    def folder(self, name: str) -> Path:
        """Return where a model's files lie, downloading them if need be and allowed.

        Raises ``PromptModelError``: no such folder, not on this machine, no connection.
        """
        return self.once(('folder', name), lambda: _folder(name, self.local_files_only))

    def _read(self, kind: str, name: str, **options):
        """Load something of a model's folder with one of the classes of transformers."""
        transformers = _transformers()
        folder = self.folder(name)
        try:
            return getattr(transformers, kind).from_pretrained(
                folder, local_files_only=True, **options
            )
        except ImportError as error:
            raise PromptModelError(
                f'{name} needs more Python packages: {PACKAGES} ({_first(error)})'
            ) from error
        # What a damaged file or a foreign folder raises depends on the version and the file.
        except Exception as error:
            raise PromptModelError(
                f'{name} cannot be loaded from {folder}: {_first(error)}'
            ) from error

    def _placement(self) -> tuple:
        try:
            import torch

            from stt_ros.engines.torch_engine import choose_device, choose_precision

            device = choose_device(self._wanted[0])
            own = 'auto' if self._wanted[1] == 'int8' else self._wanted[1]  # the segmenter's alone
            precision = choose_precision(own, device)
        except (ImportError, EngineError) as error:
            raise PromptModelError(f'no device for the models of prompts: {error}') from error
        dtypes = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
        return device, dtypes[precision]


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise PromptModelError(
            f'this kind of prompt needs the Python package transformers ({error}): {PACKAGES}'
        ) from error
    return transformers


def _folder(name: str, local_files_only: bool) -> Path:
    path = Path(name).expanduser()
    if name and path.is_dir():
        if not (path / 'config.json').is_file():
            raise PromptModelError(
                f'{path} holds no config.json: expected a folder as `hf download` fills it, with '
                'config.json, the weights and the tokenizer'
            )
        return path
    if not name or name[0] in '/.~' or name.count('/') > 1:
        raise PromptModelError(
            f'there is no folder {name!r}; expected one with config.json and the weights, or a '
            'name of the Hugging Face hub such as facebook/dinov2-small'
        )
    found = _cached(name)
    if found:
        return found
    if local_files_only:
        raise PromptModelError(
            f'{name} is not on this machine and local_files_only forbids fetching it: '
            + _advice(name)
        )
    return _download(name)


def _cached(name: str) -> Path | None:
    """Return a model's folder in the hub's cache if all of it is there; uses no network."""
    try:
        hub = import_hub()
    except DownloadError as error:
        raise PromptModelError(str(error)) from error
    for weights in (WEIGHTS, OLD_WEIGHTS):
        try:
            found = Path(
                hub.snapshot_download(
                    name, allow_patterns=[*SETTINGS, *weights], local_files_only=True
                )
            )
        except Exception:  # which one says "not all is there" depends on the version
            continue
        if _has(found, ('config.json',)) and _has(found, weights):
            return found
    return None


def _download(name: str) -> Path:
    hub = import_hub()
    _log.warning('downloading https://huggingface.co/%s (its licence is stated there)', name)
    try:
        found = Path(hub.snapshot_download(name, allow_patterns=[*SETTINGS, *WEIGHTS]))
        if not _has(found, WEIGHTS + OLD_WEIGHTS):
            found = Path(hub.snapshot_download(name, allow_patterns=[*SETTINGS, *OLD_WEIGHTS]))
    # Which HTTP library, and so which exceptions, depends on the version of huggingface_hub.
    except Exception as error:
        raise PromptModelError(
            f'cannot download {name}: {one_line(error)}: {_advice(name)}'
        ) from error
    if not _has(found, WEIGHTS + OLD_WEIGHTS):
        raise PromptModelError(f'{name} has no weights for PyTorch on the Hugging Face hub')
    return found


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def _advice(name: str) -> str:
    return (
        f'run `hf download {name}` where there is a network, or fetch it on another machine with '
        f'`hf download {name} --local-dir FOLDER` and give that folder in place of the name'
    )


def _first(error: BaseException) -> str:
    lines = [line.strip(' .') for line in str(error).splitlines() if line.strip()]
    return ': '.join([type(error).__name__, *lines[:1]])
