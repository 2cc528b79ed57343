# SPDX-License-Identifier: Apache-2.0
"""Folders for what engines make out of a weights file and can use again."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger('stt_ros')
_SOURCES = ('model.py', 'layers.py')


def root() -> Path:
    """Return $STT_ROS_CACHE, else stt_ros in the user's cache folder; it may not exist."""
    chosen = os.environ.get('STT_ROS_CACHE')
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'stt_ros'


def key(file: Path, *details: str) -> str:
    """Return a name for what is made of a file: its content, our code, the details."""
    digest = hashlib.sha256(repr(details).encode())
    here = Path(__file__).resolve().parent
    for path in (*(here.parent / name for name in _SOURCES), *sorted(here.glob('*.py')), file):
        with path.open('rb') as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def folder(name: str, make: Callable[[Path], None], quick: bool = False) -> Path | None:
    """Return a folder of the cache; if there is none yet, ``make`` fills a new one.

    Says that it does, unless it is ``quick``. Returns None, and says so, when the cache cannot be
    written.
    """
    path = root() / name
    if path.is_dir():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f'{path.name}.', dir=path.parent))
    except OSError as error:
        _LOG.warning(
            'cannot write into the cache %s (%s): every start will take seconds longer. '
            'Make it writable, or set STT_ROS_CACHE to a folder that is', root(), error.strerror,
        )  # fmt: skip
        return None
    if not quick:
        _LOG.warning('first use of this model here: preparing %s (up to a minute, once)', path)
    try:
        make(new)
        new.rename(path)  # whole or not at all
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if path.is_dir():  # another process was faster
            return path
        _LOG.warning('cannot fill the cache %s (%s): is the disk full?', path, error)
        return None
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return path
