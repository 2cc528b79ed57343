# SPDX-License-Identifier: Apache-2.0
"""State dicts in files: read without running anything in them, and only loaded if they fit wholly.

``.safetensors`` files may carry metadata: ``model`` (a name) and ``config`` (JSON of the
``ModelConfig`` fields), which then describe the network; every other file is a PyTorch state dict.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from stt_ros.errors import WeightsError
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing

SUFFIXES = ('.pth', '.pt', '.safetensors')

Shapes = dict[str, tuple[int, ...]]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (floating ones as float32, on the CPU) and the metadata of a file.

    Raises ``WeightsError`` naming the file when it is missing, truncated, damaged, or holds
    anything but finite tensors.
    """
    archive = _check_file(path).startswith(b'PK')
    if path.suffix == '.safetensors':
        tensors, metadata = _read_safetensors(path)
    else:
        tensors, metadata = _read_torch(path, archive), {}
    if not isinstance(tensors, dict):
        raise WeightsError(f'{path} holds a {type(tensors).__name__}, not a state dict of tensors')
    foreign = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if foreign:
        raise WeightsError(f'{path} is not a plain state dict: {_some(foreign)} are not tensors')
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    # The sum of a tensor is finite only if all of it is, and much cheaper than looking at each.
    broken = [key for key, value in tensors.items() if not value.sum().isfinite()]
    if broken:
        raise WeightsError(f'{path} is damaged: NaN or infinity in {_some(broken)}')
    return tensors, metadata


def save(
    model: SegmentThisThing, path: Path, name: str, dtype: torch.dtype = torch.float16
) -> None:
    """Write a model's state dict as ``.safetensors`` with its name and numbers as metadata."""
    from safetensors.torch import save_file

    tensors = {key: t.detach().to(dtype).contiguous() for key, t in model.state_dict().items()}
    config = json.dumps(dataclasses.asdict(model.config))
    save_file(tensors, path, metadata={'model': name, 'config': config})


def fit(
    tensors: dict[str, Tensor],
    metadata: dict[str, str],
    path: Path,
    configs: dict[str, ModelConfig],
    wanted: str | None = None,
) -> SegmentThisThing:
    """Return a file's model in eval mode: the ``wanted`` one, or whichever of ``configs`` it is.

    Raises ``WeightsError`` when the model's keys and shapes are not exactly those of the file; it
    names the differences and the model that the file does fit.
    """
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    name, config = _choose(found, metadata, path, configs, wanted)
    expected = shapes(config)
    if found != expected:
        fitting = [other for other in configs if shapes(configs[other]) == found]
        raise WeightsError(_misfit(path, name, found, expected, fitting))
    with torch.device('meta'):
        model = SegmentThisThing(config)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


def shapes(config: ModelConfig) -> Shapes:
    """Return every key of a model's state dict with its shape, without allocating the model."""
    with torch.device('meta'):
        state = SegmentThisThing(config).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def _check_file(path: Path) -> bytes:
    """Return the first bytes; refuse what is no weights file at all, with the likely reason."""
    if not path.exists():
        raise WeightsError(f'there is no weights file {path}')
    if not path.is_file():
        raise WeightsError(f'{path} is not a file')
    try:
        with path.open('rb') as stream:
            head = stream.read(64)
    except OSError as error:
        raise WeightsError(f'cannot read {path}: {error.strerror}') from error
    if not head:
        raise WeightsError(f'{path} is empty')
    if head.startswith(b'version https://git-lfs'):
        raise WeightsError(f'{path} is a Git LFS pointer: fetch the file itself with git lfs pull')
    if head.lstrip()[:1] == b'<':
        raise WeightsError(f'{path} is a web page, not weights: download the file itself')
    return head


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise WeightsError(
            f'{path} needs the Python package safetensors: pip install safetensors'
        ) from error
    try:
        with safe_open(path, 'pt') as stream:
            # Copies: a view of the file would change, or crash, when the file is replaced.
            tensors = {key: stream.get_tensor(key).clone() for key in stream.keys()}
            return tensors, stream.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f'{path} is truncated or damaged: {error}') from error


def _read_torch(path: Path, archive: bool) -> object:
    """Read a PyTorch file; nothing in it is executed. PyTorch itself checks no checksums."""
    try:
        if archive:
            _check_archive(path)
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        kind = 'holds Python objects besides tensors, which are refused' if archive else (
            'is not a PyTorch or safetensors file (a safetensors file must end in .safetensors)'
        )  # fmt: skip
        raise WeightsError(f'{path} {kind}') from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f'{path} is truncated or damaged: {_line(error)}') from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise WeightsError(f'{path} is damaged: the checksum of {damaged} is wrong')


def _choose(
    found: Shapes,
    metadata: dict[str, str],
    path: Path,
    configs: dict[str, ModelConfig],
    wanted: str | None,
) -> tuple[str, ModelConfig]:
    """Return name and numbers of the model that the file has to fit."""
    named = metadata.get('model')
    if 'config' in metadata and wanted in (None, named):
        return named or path.stem, parse_config(metadata['config'], path)
    if wanted is None and named in configs:
        wanted = named
    if wanted is None:
        wanted = min(configs, key=lambda name: _distance(found, shapes(configs[name])))
    return wanted, configs[wanted]


def parse_config(text: str, path: Path) -> ModelConfig:
    """Return the numbers of a model from JSON; ``path`` is for the ``WeightsError``."""
    try:
        fields = json.loads(text)
        if 'pattern' in fields:
            fields['pattern'] = FoveationPattern(**fields['pattern'])
        config = ModelConfig(**fields)
        shapes(config)
        return config
    except (ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f'{path} describes its model wrongly ({_line(error)}): {text}'
        ) from error


def _distance(found: Shapes, expected: Shapes) -> int:
    return len(found.items() ^ expected.items())


def _misfit(path: Path, name: str, found: Shapes, expected: Shapes, fitting: list[str]) -> str:
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    reshaped = [
        f'{key} is {found[key]}, not {expected[key]}'
        for key in expected
        if key in found and found[key] != expected[key]
    ]
    differences = [
        f'{len(keys)} of its {len(expected)} keys {what}: {_some(keys)}'
        for keys, what in ((missing, 'missing'), (reshaped, 'mis-shaped'))
        if keys
    ]
    if unexpected:
        differences.append(f'{len(unexpected)} keys unexpected: {_some(unexpected)}')
    advice = f'; it holds the weights of {fitting[0]}' if fitting else ''
    return f'{path} does not fit the model {name}{advice}; ' + '; '.join(differences)


def _some(items: list[str], most: int = 3) -> str:
    """List the first few items."""
    return ', '.join(str(item) for item in items[:most]) + (', ...' if len(items) > most else '')


def _line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
