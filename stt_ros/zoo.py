# SPDX-License-Identifier: Apache-2.0
"""The named models and where their weights are: embedded, published on the hub, or any file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from stt_ros import download, weights_io
from stt_ros.errors import DownloadError, UnknownModelError
from stt_ros.errors import WeightsError as WeightsError
from stt_ros.foveation import FoveationPattern
from stt_ros.model import ModelConfig, SegmentThisThing

CONFIGS = {
    'stt-s': ModelConfig(
        10, 192, 3, decoder_width=128, decoder_mlp=512, pixel_channels=16, calibration=9,
        pattern=FoveationPattern.of_default_model(),
    ),
    'stt-b': ModelConfig(12, 768, 12),
    'stt-l': ModelConfig(24, 1024, 16),
    'stt-h': ModelConfig(32, 1280, 16),
}  # fmt: skip
DEFAULT = 'stt-s'
EMBEDDED = {'stt-s': Path(__file__).parent / 'weights' / 'stt-s.safetensors'}
PUBLISHED = {
    'stt-b': ('stt-b-qbkbmb5qsb4q2.pth', '360 MB'),
    'stt-l': ('stt-l-hrcdm1dxzwvxhd.pth', '1.2 GB'),
    'stt-h': ('stt-h-kj16019k5mtg3.pth', '2.5 GB'),
}


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know of a named model without loading it."""

    name: str
    parameters: int
    licence: str
    download_size: str  # empty for an embedded model
    path: Path | None  # where its weights are on this machine, None if they are not yet


def build(name: str) -> SegmentThisThing:
    """Return the named model ('default' too) with random weights.

    Raises ``UnknownModelError``, a ``ValueError``, that lists the names there are.
    """
    return SegmentThisThing(CONFIGS[_known(name)])


def load(name: str = 'default', path: str | Path | None = None) -> SegmentThisThing:
    """Return a model with its weights, float32 on the CPU, in eval mode.

    ``name`` is 'default', a name of ``CONFIGS`` or the path of a .pth, .pt or .safetensors file.
    With a ``path`` besides, that file must hold the named model ('default': any model).
    Published weights are downloaded on first use.

    Raises ``WeightsError`` saying what to do: unknown name, no such file, a damaged or foreign
    file (never loaded in part), no connection.
    """
    name = str(name)
    if path is None and _is_path(name):
        name, path = 'default', name
    wanted = None if path is not None and name == 'default' else _known(name)
    path = weights_path(name) if path is None else Path(path).expanduser()
    tensors, metadata = weights_io.read(path)
    return weights_io.fit(tensors, metadata, path, CONFIGS, wanted)


def file_of(weights: str) -> Path:
    """Return the file that ``load(weights)`` reads, downloaded if need be; it may not exist."""
    return Path(weights).expanduser() if _is_path(weights) else weights_path(weights)


def weights_path(name: str, force_download: bool = False) -> Path:
    """Return the weights file of a named model, after downloading it if need be.

    Raises ``WeightsError`` if the name is unknown or the download fails.
    """
    name = _known(name)
    if name in EMBEDDED:
        return EMBEDDED[name]
    return download.fetch(*PUBLISHED[name], force=force_download)


def models() -> list[ModelInfo]:
    """List the named models, the default first. Uses no network."""
    return [_describe(name) for name in CONFIGS]


def _describe(name: str) -> ModelInfo:
    parameters = sum(torch.Size(s).numel() for s in weights_io.shapes(CONFIGS[name]).values())
    if name in EMBEDDED:
        return ModelInfo(name, parameters, 'Apache-2.0', '', EMBEDDED[name])
    file, size = PUBLISHED[name]
    try:
        path = download.cached(file)
    except DownloadError:  # no hub client installed, so no cache of its either
        path = None
    return ModelInfo(name, parameters, download.LICENCE, size, path)


def _known(name: str) -> str:
    """Resolve 'default' and refuse names that do not exist."""
    resolved = DEFAULT if name == 'default' else name
    if resolved not in CONFIGS:
        raise UnknownModelError(
            f'no model {name!r}; there are default (= {DEFAULT}), {", ".join(CONFIGS)}, or the '
            f'path of a {", ".join(weights_io.SUFFIXES)} file'
        )
    return resolved


def _is_path(name: str) -> bool:
    return name not in CONFIGS and ('/' in name or name.endswith(weights_io.SUFFIXES))
