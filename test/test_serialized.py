# SPDX-License-Identifier: Apache-2.0
"""Images read from their serialized form, as the middleware's own reading has them."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from builtin_interfaces.msg import Time  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stt_ros.ros import serialized  # noqa: E402
from stt_ros.ros.images import to_frame  # noqa: E402

TEXTS = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=12)
HEADERS = st.builds(
    Header,
    stamp=st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)),
    frame_id=TEXTS,
)
NUMBERS = st.integers(0, 2**32 - 1)
IMAGES = st.builds(
    Image, header=HEADERS, height=NUMBERS, width=NUMBERS, encoding=TEXTS,
    is_bigendian=st.integers(0, 255), step=NUMBERS, data=st.binary(max_size=40),
)  # fmt: skip
COMPRESSED = st.builds(CompressedImage, header=HEADERS, format=TEXTS, data=st.binary(max_size=40))


def fields(message):
    names = ('height', 'width', 'encoding', 'is_bigendian', 'step', 'format')
    found = {name: getattr(message, name) for name in names if hasattr(message, name)}
    return found | {'header': message.header, 'data': bytes(message.data)}


@settings(max_examples=100, deadline=None)
@given(IMAGES)
def test_a_raw_image_has_the_fields_that_it_was_sent_with(message):
    assert fields(serialized.image(serialize_message(message))) == fields(message)


@settings(max_examples=60, deadline=None)
@given(COMPRESSED)
def test_a_compressed_image_has_the_fields_that_it_was_sent_with(message):
    assert fields(serialized.compressed_image(serialize_message(message))) == fields(message)


def test_big_endian_numbers_are_read():
    data = b'\0\0\0\0' + struct.pack('>iII', 5, 7, 4) + b'cam\0'
    data += struct.pack('>III', 1, 2, 6) + b'mono8\0\0\0' + struct.pack('>II', 2, 2) + b'\x10\x20'
    message = serialized.image(data)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 7)
    assert (message.header.frame_id, message.encoding, message.step) == ('cam', 'mono8', 2)
    assert bytes(message.data) == b'\x10\x20'


def test_pixels_are_not_copied():
    sent = Image(height=2, width=2, step=6, encoding='rgb8', data=bytes(range(12)))
    buffer = serialize_message(sent)
    pixels = to_frame(serialized.image(buffer)).pixels
    assert np.shares_memory(pixels, np.frombuffer(buffer, np.uint8))
    np.testing.assert_array_equal(pixels.ravel(), np.arange(12))


@pytest.mark.parametrize(
    ('read', 'message'),
    [
        (serialized.image, Image(height=1, width=2, step=2, encoding='mono8', data=b'ab')),
        (serialized.compressed_image, CompressedImage(format='jpeg', data=b'abc')),
    ],
)
def test_other_forms_are_left_to_the_middleware(read, message, monkeypatch):
    monkeypatch.setattr(serialized, '_ORDERS', {})  # as if the middleware's own were unknown
    found = read(serialize_message(message))
    assert type(found) is type(message) and found == message


@pytest.mark.parametrize('read', [serialized.image, serialized.compressed_image])
@pytest.mark.parametrize('start', [b'', b'\0', b'\xff\xfe'])
def test_what_the_middleware_cannot_read_either_is_named(read, start):
    with pytest.raises(ValueError, match=f'of form {start.hex()} cannot be read'):
        read(start)


@pytest.mark.parametrize('kept', [4, 11, 18, 40, -1])
def test_a_buffer_that_ends_early_is_refused(kept):
    message = Image(height=2, width=2, step=6, encoding='rgb8', data=bytes(12))
    with pytest.raises(ValueError, match='serialized image'):
        serialized.image(serialize_message(message)[:kept])
