# SPDX-License-Identifier: Apache-2.0
"""Picture files in and out, with errors that name the file and the reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

LOSSLESS = ('.png', '.bmp', '.tif', '.tiff')
WRITABLE = (*LOSSLESS, '.jpg', '.jpeg', '.webp')


class PictureError(ValueError):
    """A picture that cannot be read or written."""


def read(path: Path) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB, turned upright as its EXIF data says.

    Gray becomes three equal channels, 16 bit becomes 8, transparency is left out. Raises
    ``PictureError`` when there is no such file or it is not a picture that OpenCV can decode.
    """
    return cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> np.ndarray:
    """Return what is not black in a picture of any depth, (H, W) bool; raises as ``read`` does."""
    return (_decoded(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) > 0).any(axis=2)


def _decoded(path: Path, flags: int) -> np.ndarray:
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise PictureError(f'cannot read {path}: {error.strerror}') from error
    try:
        image = cv2.imdecode(content, flags) if content.size else None
    except cv2.error as error:  # more pixels than OpenCV allows
        raise PictureError(f'cannot read {path}: {error.err}') from error
    if image is None:
        raise PictureError(f'cannot read {path}: not a picture, or a damaged one')
    return image


def check_writable(path: Path, suffixes: tuple[str, ...] = WRITABLE) -> None:
    """Raise ``PictureError`` if a file's kind or folder makes writing it impossible."""
    if path.suffix.lower() not in suffixes:
        raise PictureError(f'cannot write {path}: the name must end in {", ".join(suffixes)}')
    if not path.parent.is_dir():
        raise PictureError(f'cannot write {path}: there is no folder {path.parent}')
    if path.is_dir():
        raise PictureError(f'cannot write {path}: it is a folder')


def write(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) RGB or (H, W) gray uint8, in the format of the file's suffix.

    Raises ``PictureError``.
    """
    check_writable(path)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        encoded, content = cv2.imencode(path.suffix, pixels)
    except cv2.error:
        encoded = False
    if not encoded:
        size = f'{image.shape[1]} x {image.shape[0]}'
        raise PictureError(f'cannot write {path}: {size} pixels do not fit its format')
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise PictureError(f'cannot write {path}: {error.strerror}') from error
