# SPDX-License-Identifier: Apache-2.0
"""Images read where the middleware has put them, in their serialized form.

Taking a message apart into a Python one copies its pixels twice. What is here has the fields of a
sensor_msgs/Image or CompressedImage, and its pixels are those of the buffer. The form is plain CDR
(OMG DDSI-RTPS 2.3, 10.5; OMG CORBA 3.3, 9.3): numbers are aligned to their size, counted from
behind four bytes that say the order of bytes; texts and sequences begin with their length.
Any other form is left to the middleware.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

_START = 4
# Plain CDR and its second version, which differs in numbers of eight bytes only.
_ORDERS = {b'\0\0': '>', b'\0\1': '<', b'\0\6': '>', b'\0\7': '<'}


@dataclass(frozen=True, eq=False)
class RawView:
    """The fields of a sensor_msgs/Image; ``data`` is a view of the buffer it came in."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True, eq=False)
class CompressedView:
    """The fields of a sensor_msgs/CompressedImage; ``data`` is a view of the buffer it came in."""

    header: Header
    format: str
    data: memoryview


def image(buffer: bytes) -> RawView | Image:
    """Read a serialized sensor_msgs/Image. Raises ``ValueError`` if it cannot be read."""
    if buffer[:2] not in _ORDERS:
        return _by_the_middleware(buffer, Image)
    reader = _Reader(buffer)
    return RawView(
        reader.header(), reader.number(), reader.number(), reader.text(), reader.byte(),
        reader.number(), reader.octets(),
    )  # fmt: skip


def compressed_image(buffer: bytes) -> CompressedView | CompressedImage:
    """Read a serialized CompressedImage. Raises ``ValueError`` if it cannot be read."""
    if buffer[:2] not in _ORDERS:
        return _by_the_middleware(buffer, CompressedImage)
    reader = _Reader(buffer)
    return CompressedView(reader.header(), reader.text(), reader.octets())


def _by_the_middleware(buffer: bytes, kind: type):
    """Read a form that only the middleware itself knows, with its copies of the pixels."""
    try:
        return deserialize_message(buffer, kind)
    except Exception as error:  # each middleware has its own
        form = bytes(buffer[:2]).hex()
        raise ValueError(f'serialized image of form {form} cannot be read: {error}') from error


class _Reader:
    """Reads one value after the other."""

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._at = _START
        order = _ORDERS[buffer[:2]]
        self._signed, self._unsigned = struct.Struct(f'{order}i'), struct.Struct(f'{order}I')

    def header(self) -> Header:
        stamp = Time(sec=self.number(self._signed), nanosec=self.number())
        return Header(stamp=stamp, frame_id=self.text())

    def number(self, kind: struct.Struct | None = None) -> int:
        self._at += -self._at % 4
        try:
            [value] = (kind or self._unsigned).unpack_from(self._buffer, self._at)
        except struct.error as error:
            raise ValueError(f'serialized image: {error}') from None
        self._at += 4
        return value

    def byte(self) -> int:
        [value] = self._take(1)
        return value

    def text(self) -> str:
        return bytes(self.octets()).rstrip(b'\0').decode(errors='replace')

    def octets(self) -> memoryview:
        return self._take(self.number())

    def _take(self, length: int) -> memoryview:
        begin, self._at = self._at, self._at + length
        if self._at > len(self._buffer):
            raise ValueError(
                f'serialized image: it has {len(self._buffer)} bytes, its fields need {self._at}'
            )
        return memoryview(self._buffer)[begin : self._at]
