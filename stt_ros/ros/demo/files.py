# SPDX-License-Identifier: Apache-2.0
"""Picture folders, single pictures, videos and webcams as camera input."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from stt_ros import pictures
from stt_ros.ros.demo.shots import InputError, Shot, compressed_message, image_message, pinhole

DEFAULT_RATE = 25.0  # Hz
_FRAME_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


class FolderSource:
    """Folders of pictures, one after the other, at a fixed rate.

    A folder holds the pictures itself, or ``frames/`` and, for pictures with a human mask of the
    thing to look at, ``masks/<name of the picture>.png`` (255 = thing).
    """

    live = False

    def __init__(self, folders: Sequence[Path], rate: float, transport: str) -> None:
        self._transport = transport
        self._frames = [frame for folder in folders for frame in _frames(folder)]
        self.period = 1 / rate
        self.has_masks = any(_mask_path(frame).is_file() for frame in self._frames)
        names = ', '.join(folder.name for folder in folders)
        self.description = f'{names} ({len(self._frames)} pictures at {rate:g} Hz)'

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures in the order of their names."""
        for k, path in enumerate(self._frames):
            pixels = _read(path)
            mask = _mask_path(path)
            yield Shot(
                due=k * self.period,
                image=self._message(path, pixels),
                info=pinhole(*pixels.shape[1::-1]),
                mask=compressed_message(mask.read_bytes(), 'png') if mask.is_file() else None,
            )

    def _message(self, path: Path, pixels: np.ndarray):
        if self._transport == 'compressed' and path.suffix.lower() in ('.jpg', '.jpeg'):
            content = path.read_bytes()
            if b'Exif' not in content[:64]:  # it may have to be turned, which a message cannot say
                return compressed_message(content, 'bgr8; jpeg compressed bgr8')
        return image_message(pixels, self._transport)


class PictureSource:
    """One picture, again and again."""

    live = False
    has_masks = False

    def __init__(self, path: Path, rate: float, transport: str) -> None:
        pixels = _read(path)
        self.period = 1 / rate
        self.description = f'{path} ({pixels.shape[1]}x{pixels.shape[0]} at {rate:g} Hz)'
        self._shot = Shot(0.0, image_message(pixels, transport), pinhole(*pixels.shape[1::-1]))

    def shots(self) -> Iterator[Shot]:
        """Yield the picture."""
        yield self._shot


class VideoSource:
    """A video file at its own rate, or at another one."""

    live = False
    has_masks = False

    def __init__(self, path: Path, rate: float | None, transport: str) -> None:
        self._path, self._transport = path, transport
        if not path.is_file():
            raise InputError(f'cannot read {path}: there is no such file')
        with _opened(str(path), f'cannot read {path}: not a video, or a damaged one') as capture:
            own = capture.get(cv2.CAP_PROP_FPS)
            if not capture.read()[0]:
                raise InputError(f'cannot read {path}: no picture in it can be decoded')
        own = own if math.isfinite(own) and 0 < own <= 1000 else DEFAULT_RATE
        self.period = 1 / (rate or own)
        self.description = f'{path} ({1 / self.period:g} Hz)'

    def shots(self) -> Iterator[Shot]:
        """Yield the video's pictures; a damaged rest of the file is its end."""
        with _opened(str(self._path), f'cannot read {self._path}') as capture:
            for k, pixels in enumerate(_pictures(capture)):
                yield _shot(k * self.period, pixels, self._transport)


class WebcamSource:
    """A camera that the system knows, at its own rate."""

    live = True
    has_masks = False
    period = 0.0

    def __init__(self, index: int, transport: str) -> None:
        self._index, self._transport = index, transport
        self.description = f'webcam {index}'
        with self._opened() as capture:
            if not capture.read()[0]:
                raise InputError(f'webcam {index} gives no picture: is another program using it?')

    def _opened(self):
        known = ', '.join(sorted(path.name[5:] for path in Path('/dev').glob('video*')))
        reason = f'cannot open webcam {self._index}; /dev/video* here: {known or "none"}'
        return _opened(self._index, reason)

    def shots(self) -> Iterator[Shot]:
        """Yield pictures as the camera gives them. Raises ``InputError`` when it stops."""
        with self._opened() as capture:
            for pixels in _pictures(capture):
                yield _shot(None, pixels, self._transport)
        raise InputError(f'{self.description} gives no more pictures')


def _shot(due: float | None, pixels: np.ndarray, transport: str) -> Shot:
    return Shot(due, image_message(pixels, transport), pinhole(*pixels.shape[1::-1]))


def _read(path: Path) -> np.ndarray:
    try:
        return pictures.read(path)[..., ::-1]
    except pictures.PictureError as error:
        raise InputError(str(error)) from error


def _frames(folder: Path) -> list[Path]:
    """Return the picture files of a folder, in the order of their names."""
    inside = folder / 'frames' if (folder / 'frames').is_dir() else folder
    if not inside.is_dir():
        raise InputError(f'cannot read {folder}: there is no such folder')
    found = sorted(path for path in inside.iterdir() if path.suffix.lower() in _FRAME_SUFFIXES)
    if not found:
        raise InputError(f'no pictures in {inside} (looked for *{", *".join(_FRAME_SUFFIXES)})')
    return found


def _mask_path(frame: Path) -> Path:
    return frame.parent.parent / 'masks' / f'{frame.stem}.png'


@contextlib.contextmanager
def _opened(what: str | int, reason: str) -> Iterator[cv2.VideoCapture]:
    """Open a video or a camera. Raises ``InputError`` with the reason when that fails."""
    backend = cv2.CAP_V4L2 if isinstance(what, int) else cv2.CAP_FFMPEG
    with _quiet_opencv():
        capture = cv2.VideoCapture(what, backend)
    try:
        if not capture.isOpened():
            raise InputError(reason)
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Have one clear line of ours instead of several of OpenCV and FFmpeg on the screen."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    logging = getattr(cv2.utils, 'logging', None)  # from OpenCV 4.6 on
    if logging is None:
        yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _pictures(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        good, pixels = capture.read()
        if not good:
            return
        yield pixels
