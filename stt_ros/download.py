# SPDX-License-Identifier: Apache-2.0
"""The published weights: fetched once from the Hugging Face hub, then taken from its cache.

The hub's own environment variables apply: HF_HOME (where the cache is), HF_ENDPOINT (a mirror),
HF_HUB_OFFLINE (never use the network).
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from stt_ros.errors import DownloadError

REPO = 'facebook/segment_this_thing'
LICENCE = 'CC BY-NC 4.0'

_log = logging.getLogger(__name__)


def cached(file: str) -> Path | None:
    """Return where the published file already lies on this machine, without using the network."""
    path = import_hub().try_to_load_from_cache(REPO, file)
    return Path(path) if isinstance(path, str) else None


def fetch(file: str, size: str = '', force: bool = False) -> Path:
    """Return the path of a published file, downloading it (with a progress bar) on first use.

    A connection that breaks is resumed where it broke (older versions of huggingface_hub do so in
    the next call); the checksum of the whole file is compared with the hub's. ``size`` is for the
    user to read; ``force`` downloads again what is there. Raises ``DownloadError``.
    """
    hub = import_hub()
    path = None if force else cached(file)
    if path:
        return path
    url = hub.hf_hub_url(REPO, file)
    _log.warning(
        'downloading %s %s\nThese weights are licensed %s: not for commercial use '
        '(https://creativecommons.org/licenses/by-nc/4.0/).', url, size, LICENCE,
    )  # fmt: skip
    try:
        path = Path(hub.hf_hub_download(REPO, file, force_download=force))
        _verify(path)
        return path
    # Which HTTP library, and so which exceptions, depends on the version of huggingface_hub.
    except Exception as error:
        raise DownloadError(_advice(file, url, one_line(error))) from error


def import_hub():
    """Import huggingface_hub when it is needed: it reads its environment variables then."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DownloadError(
            'published weights need the Python package huggingface_hub: pip install huggingface_hub'
        ) from error
    return huggingface_hub


def _verify(path: Path) -> None:
    """Compare the file with the SHA-256 that is its name in the cache; remove it if wrong."""
    if not path.is_symlink():
        return  # a file system without links: the cache does not keep the checksum
    blob = path.parent / os.readlink(path)
    if len(blob.name) != 64:
        return  # not a SHA-256: the hub has those of large files only
    digest = hashlib.sha256()
    with blob.open('rb') as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != blob.name:
        path.unlink()
        blob.unlink()
        raise OSError(f'the file arrived damaged (SHA-256 {digest.hexdigest()}), it was removed')


def one_line(error: BaseException) -> str:
    """Put the cause of a failed download into one line."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # it only says that there is no cached file either
    if isinstance(error, OfflineModeIsEnabled):
        return 'HF_HUB_OFFLINE forbids the network and the file is not in the cache'
    lines = [line.strip(' .') for line in str(error).splitlines() if line.strip()]
    return ': '.join([type(error).__name__, *lines[:1]])


def _advice(file: str, url: str, reason: str) -> str:
    return (
        f'cannot download {url}: {reason}. Try again, name a mirror in the environment variable '
        f'HF_ENDPOINT, or fetch the file on another machine and give its path as the weights: '
        f'weights:=/path/to/{file} for the node, --weights /path/to/{file} on the command line'
    )
