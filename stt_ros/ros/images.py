# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs images to frames and back. Needs the messages' fields only, no ROS at import."""

from __future__ import annotations

import struct
from array import array

import cv2
import numpy as np

from stt_ros.frame import Frame


class ImageError(ValueError):
    """An image message that cannot be read; the text says what is wrong with it."""


# Encodings that are read in place, and the order of their channels.
_IN_PLACE = {
    'rgb8': 'rgb',
    'bgr8': 'bgr',
    'rgba8': 'rgba',
    'bgra8': 'bgra',
    'mono8': 'mono',
    '8UC1': 'mono',
    '8UC3': 'bgr',
    '8UC4': 'bgra',
}
_YUV422 = {
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
}
# OpenCV names a Bayer pattern by its second row and column, ROS by the top-left corner.
_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg': cv2.COLOR_BayerGB2RGB,
}
_DEPTH = {'16UC1': np.uint16, 'mono16': np.uint16, '32FC1': np.float32}
_TWO_BYTES = ('mono16', *(f'{name}16' for name in _BAYER))
SUPPORTED = (*_IN_PLACE, *_YUV422, *(f'{name}8' for name in _BAYER), *_TWO_BYTES)

_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
_JPEG_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def to_frame(msg) -> Frame:
    """Return the frame in a sensor_msgs/Image or CompressedImage, without a copy where possible.

    rgb, bgr, rgba, bgra and mono are views of the message's buffer; 16-bit ones of its high bytes.
    Raises ``ImageError`` for an empty image, too little data, a wrong step, an encoding that
    nobody here can read (with cv_bridge, where it is installed, all of its encodings can be), and
    compressed data that does not decode to the end.
    """
    if hasattr(msg, 'format'):
        return _decompress(msg)
    encoding = msg.encoding
    _check_not_empty(msg)
    if encoding not in SUPPORTED:
        return _through_cv_bridge(msg)
    rows = _rows(msg)
    if encoding in _IN_PLACE:
        order = _IN_PLACE[encoding]
        channels = () if order == 'mono' else (len(order),)
        return Frame(rows.reshape(msg.height, msg.width, *channels), order)
    if encoding in _YUV422:
        pairs = rows.reshape(msg.height, msg.width, 2)
        return Frame(cv2.cvtColor(pairs, _YUV422[encoding]), 'rgb')
    if encoding in _TWO_BYTES:
        rows = rows[:, 0 if msg.is_bigendian else 1 :: 2]  # the more significant bytes
    if encoding == 'mono16':
        return Frame(rows, 'mono')
    conversion = _BAYER[encoding.rstrip('0123456789')]
    return Frame(cv2.cvtColor(np.ascontiguousarray(rows), conversion), 'rgb')


def size(msg) -> tuple[int, int]:
    """Return the size (H, W) of a message's picture, without converting or decoding it.

    Raises the ``ImageError`` that ``to_frame`` would, as far as the trouble shows without that.
    """
    if hasattr(msg, 'format'):
        return _encoded_size(msg, bytes(msg.data)) or to_frame(msg).size
    if msg.encoding in SUPPORTED:
        _rows(msg)
    else:
        to_frame(msg)
    return msg.height, msg.width


def depth_in_metres(msg) -> np.ndarray:
    """Return the depth (H, W) float32 in metres of a sensor_msgs/Image, 0 where it is unknown.

    The unit follows from the encoding (REP 118): 16UC1 and mono16 are millimetres, 32FC1 metres.
    Raises ``ImageError`` for other encodings and for too little data.
    """
    _check_not_empty(msg)
    if msg.encoding not in _DEPTH:
        raise ImageError(
            f"depth image has encoding '{msg.encoding}'; allowed: 16UC1 (millimetres) and 32FC1 "
            '(metres)'
        )
    kind = np.dtype(_DEPTH[msg.encoding]).newbyteorder('>' if msg.is_bigendian else '<')
    data = _checked_rows(msg, kind.itemsize)
    rows = data.reshape(-1).view(kind) if data.flags.c_contiguous else data.copy().view(kind)
    depth = rows.reshape(msg.height, msg.width)
    if kind.kind == 'u':
        return depth * np.float32(1e-3)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32, copy=False)


def fill_image(msg, pixels: np.ndarray, encoding: str, header) -> None:
    """Fill a sensor_msgs/Image with pixels (H, W) or (H, W, C) uint8 and a header."""
    pixels = np.ascontiguousarray(pixels)
    msg.header = header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding = encoding
    msg.step = pixels.nbytes // max(1, msg.height)
    data = array('B')  # the type of the field: assigned as it is, checked element by element if not
    data.frombytes(pixels.data)
    msg.data = data


def _rows(msg) -> np.ndarray:
    """Return a view (height, bytes of a row) of a message's pixels, row padding left out."""
    _check_not_empty(msg)
    width, height, encoding = msg.width, msg.height, msg.encoding
    if encoding in _YUV422 and width % 2:
        raise ImageError(f'{encoding} image is {width} pixels wide; must be even')
    if encoding.startswith('bayer') and min(width, height) < 2:
        raise ImageError(f'{encoding} image is {width} x {height} pixels; at least 2 x 2')
    return _checked_rows(msg, _pixel_size(encoding))


def _checked_rows(msg, pixel_size: int) -> np.ndarray:
    width, height, encoding = msg.width, msg.height, msg.encoding
    needed = width * pixel_size
    if msg.step < needed:
        raise ImageError(f'step is {msg.step} bytes; {width} pixels of {encoding} need {needed}')
    if len(msg.data) < height * msg.step:
        raise ImageError(
            f'data has {len(msg.data)} bytes; {height} rows of step {msg.step} need '
            f'{height * msg.step}'
        )
    data = np.frombuffer(msg.data, np.uint8, height * msg.step)
    return data.reshape(height, msg.step)[:, :needed]


def _pixel_size(encoding: str) -> int:
    """Bytes per pixel of a supported encoding."""
    if encoding in _IN_PLACE:
        return 1 if _IN_PLACE[encoding] == 'mono' else len(_IN_PLACE[encoding])
    return 2 if encoding in _YUV422 or encoding in _TWO_BYTES else 1


def _check_not_empty(msg) -> None:
    if msg.width == 0 or msg.height == 0:
        raise ImageError(f'image is empty: {msg.width} x {msg.height} pixels')


def _decompress(msg) -> Frame:
    data = bytes(msg.data)
    _encoded_size(msg, data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # more pixels than OpenCV accepts, or than there is memory for
        raise ImageError(f'{_description(msg)} does not decode: {error}') from None
    if pixels is None:
        raise ImageError(f'{_description(msg)} does not decode as a picture')
    return Frame(pixels, 'bgr')


def _encoded_size(msg, data: bytes) -> tuple[int, int] | None:
    """Return the size (H, W) in a JPEG's or PNG's header; None for other files.

    Raises ``ImageError`` for an incomplete file: decoders fill what is missing with gray, silently.
    """
    if not data:
        raise ImageError(f'{_description(msg)} is empty')
    if data.startswith(_PNG):
        complete, size = _png_ends(data), _png_size(data)
    elif data.startswith(_JPEG):
        complete, size = b'\xff\xd9' in data[-1024:], _jpeg_size(data)
    else:
        return None
    if not complete:
        raise ImageError(f'{_description(msg)} is cut short')
    if not size or not all(size):
        raise ImageError(f'{_description(msg)} does not decode: no size in its header')
    return size


def _png_ends(data: bytes) -> bool:
    """Tell whether a PNG's chunks lead to its end; OpenCV believes lengths, up to 4 GB of them."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack('>I4s', data[at : at + 8])
        at += 12 + length
        if kind == b'IEND':
            return at <= len(data)
    return False


def _png_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack('>II', data[16:24].ljust(8, b'\0'))
    return (height, width) if data[12:16] == b'IHDR' else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack('>BH', data[at + 1 : at + 4])
        if marker in _JPEG_FRAME_MARKERS:
            return struct.unpack('>HH', data[at + 5 : at + 9])
        at += 1 if marker == 0xFF else 2 + length  # a fill byte, or a segment
    return None


def _description(msg) -> str:
    return f"compressed image ('{msg.format}', {len(msg.data)} bytes)"


def _through_cv_bridge(msg) -> Frame:
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # built against another NumPy it fails with more than ImportError
        raise ImageError(
            f"encoding '{msg.encoding}' is not supported; supported: {', '.join(SUPPORTED)} "
            f'(others through cv_bridge, which cannot be imported here: {error})'
        ) from None
    try:
        return Frame(CvBridge().imgmsg_to_cv2(msg, 'rgb8'), 'rgb')
    except Exception as error:
        raise ImageError(f"cv_bridge cannot read encoding '{msg.encoding}': {error}") from None
