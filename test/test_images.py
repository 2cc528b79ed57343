# SPDX-License-Identifier: Apache-2.0
"""Image messages to frames: every encoding against a slow conversion, and what is refused."""

import re
import sys
import types
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')

from ros_messages import compressed_image, picture  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stt_ros.foveation import FoveationPattern  # noqa: E402
from stt_ros.ros import images  # noqa: E402
from stt_ros.ros.images import SUPPORTED, ImageError, fill_image, size, to_frame  # noqa: E402

CHANNELS = {
    'rgb8': 'rgb', 'bgr8': 'bgr', 'rgba8': 'rgba', 'bgra8': 'bgra',
    '8UC3': 'bgr', '8UC4': 'bgra', 'mono8': 'm', '8UC1': 'm',
}  # fmt: skip
IN_PLACE = (*CHANNELS, 'mono16')
BAYER = [encoding for encoding in SUPPORTED if encoding.startswith('bayer')]
YUV = {'yuv422': 'uyvy', 'uyvy': 'uyvy', 'yuv422_yuy2': 'yuyv', 'yuyv': 'yuyv'}
COLOURS = {'r': (255, 0, 0), 'g': (0, 255, 0), 'b': (0, 0, 255)}


def bytes_per_pixel(encoding):
    if encoding in CHANNELS:
        return len(CHANNELS[encoding])
    return 2 if encoding in YUV or encoding.endswith('16') else 1


@st.composite
def messages(draw, encodings):
    """Image messages of noise, with row padding, of either byte order."""
    encoding = draw(st.sampled_from(encodings))
    height, width = draw(st.integers(2, 7)), 2 * draw(st.integers(1, 4))
    msg = Image(encoding=encoding, height=height, width=width)
    msg.is_bigendian = draw(st.integers(0, 1))
    msg.step = width * bytes_per_pixel(encoding) + draw(st.integers(0, 5))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    msg.data = noise.bytes(height * msg.step + draw(st.integers(0, 3)))
    return msg


def slow_pixel(msg, x, y):
    """Return the RGB of a pixel, read byte by byte."""
    encoding = msg.encoding
    at = y * msg.step + x * bytes_per_pixel(encoding)
    if encoding in CHANNELS:
        order = CHANNELS[encoding]
        return tuple(msg.data[at + order.index(c if c in order else 'm')] for c in 'rgb')
    if encoding == 'mono16':
        pair = bytes(msg.data[at : at + 2])
        return (int.from_bytes(pair, 'big' if msg.is_bigendian else 'little') >> 8,) * 3
    first = y * msg.step + x // 2 * 4
    values = dict(zip(('u', '0', 'v', '1') if YUV[encoding] == 'uyvy' else ('0', 'u', '1', 'v'),
                      msg.data[first : first + 4], strict=True))  # fmt: skip
    luma, u, v = 1.164 * max(0, values[str(x % 2)] - 16), values['u'] - 128, values['v'] - 128
    return luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u


@given(messages([encoding for encoding in SUPPORTED if encoding not in BAYER]))
def test_every_encoding_against_a_slow_conversion(msg):
    slow = [[slow_pixel(msg, x, y) for x in range(msg.width)] for y in range(msg.height)]
    rgb = to_frame(msg).rgb()
    tolerance = 2 if msg.encoding in YUV else 0  # of OpenCV's fixed-point arithmetic
    assert np.abs(np.clip(slow, 0, 255) - rgb).max() <= tolerance
    assert size(msg) == (msg.height, msg.width)


def mosaic(pixels, encoding, big_endian=0, padding=0):
    """Return what a sensor with a colour filter sees of a picture, as a message."""
    pattern = encoding.removeprefix('bayer_')[:4]
    height, width = pixels.shape[:2]
    seen = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            seen[y, x] = pixels[y, x, 'rgb'.index(pattern[2 * (y % 2) + x % 2])]
    if encoding.endswith('16'):
        seen = seen.astype(np.uint16) << 8 | 0x5A
        seen = seen.astype('>u2' if big_endian else '<u2').view(np.uint8)
    seen = np.pad(seen, ((0, 0), (0, padding)), constant_values=0xEE)
    return Image(encoding=encoding, height=height, width=width, step=seen.shape[1],
                 is_bigendian=big_endian, data=seen.tobytes())  # fmt: skip


@pytest.mark.parametrize('encoding', BAYER)
@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('colour', COLOURS)
def test_colours_come_back_through_a_bayer_filter(encoding, big_endian, colour):
    pixels = np.full((6, 8, 3), COLOURS[colour], np.uint8)
    assert np.array_equal(to_frame(mosaic(pixels, encoding, big_endian, 3)).rgb(), pixels)


@pytest.mark.parametrize('encoding', BAYER)
def test_bayer_keeps_what_was_measured(encoding):
    noise = np.random.default_rng(1).integers(0, 256, (9, 10, 3), np.uint8)
    rgb = to_frame(mosaic(noise, encoding)).rgb()
    pattern = encoding.removeprefix('bayer_')[:4]
    for y in range(1, 8):
        for x in range(1, 9):
            channel = 'rgb'.index(pattern[2 * (y % 2) + x % 2])
            assert rgb[y, x, channel] == noise[y, x, channel]


@given(messages(IN_PLACE))
def test_read_in_place(msg):
    """No copy of the frame, and the strided view foveates like a copy of it."""
    frame = to_frame(msg)
    assert np.shares_memory(frame.pixels, np.frombuffer(msg.data, np.uint8))
    pattern = FoveationPattern(2, (1, 2), (2, 3))
    gaze = (msg.width / 2, msg.height / 2)
    seen, _ = pattern.foveate(frame.pixels, gaze, frame.filler)
    expected, _ = pattern.foveate(frame.pixels.copy(), gaze, frame.filler)
    assert np.array_equal(seen, expected)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(['mono8', 'rgb8', 'bgra8']))
def test_fill_image_is_read_back(height, width, encoding):
    shape = (height, width, bytes_per_pixel(encoding))[: 2 if encoding == 'mono8' else 3]
    pixels = np.random.default_rng(height * width).integers(0, 256, shape, np.uint8)
    msg = Image()
    fill_image(msg, pixels[::-1], encoding, Header(frame_id='camera'))
    assert np.array_equal(to_frame(msg).pixels, pixels[::-1])
    assert (msg.header.frame_id, msg.step) == ('camera', pixels[0].nbytes)


def image(encoding='rgb8', height=4, width=6, step=None, data=None):
    step = width * bytes_per_pixel(encoding) if step is None else step
    return Image(encoding=encoding, height=height, width=width, step=step,
                 data=bytes(height * step) if data is None else data)  # fmt: skip


def png_of_size(width, height, length=b'\0'):
    """Return a PNG of this size without pixels; ``length`` begins the length of its data."""
    def chunk(kind, body):
        check = zlib.crc32(kind + body).to_bytes(4, 'big')
        return len(body).to_bytes(4, 'big') + kind + body + check

    head = width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + bytes([8, 2, 0, 0, 0])
    data = length + chunk(b'IDAT', b'')[1:]
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + data + chunk(b'IEND', b'')


JPEG = bytes(compressed_image(picture(), 'jpeg', Header()).data)


def compressed(data):
    return CompressedImage(format='jpeg', data=data)


REFUSED = {
    'empty message': (Image(), 'image is empty: 0 x 0'),
    'no width': (image(width=0), 'image is empty: 0 x 4'),
    'no height': (image(height=0), 'image is empty: 6 x 0'),
    'small step': (image(step=17), 'step is 17 bytes; 6 pixels of rgb8 need 18'),
    'small 16-bit step': (image('mono16', step=11), 'step is 11 bytes; 6 pixels of mono16 need 12'),
    'short data': (image(data=bytes(71)), 'data has 71 bytes; 4 rows of step 18 need 72'),
    'no data': (image(data=b''), 'data has 0 bytes; 4 rows of step 18 need 72'),
    'huge': (image(height=2**31, data=b''), r'data has 0 bytes; 2147483648 rows'),
    'encoding': (image('32FC1', data=b''), "'32FC1' is not supported; supported: rgb8, bgr8, .*16"),
    'odd yuv': (image('yuyv', width=5), 'yuyv image is 5 pixels wide; must be even'),
    'thin bayer': (image('bayer_rggb8', height=1), 'bayer_rggb8 image is 6 x 1 pixels; .* 2 x 2'),
    'nothing': (compressed(b''), r"compressed image \('jpeg', 0 bytes\) is empty"),
    'cut JPEG': (compressed(JPEG[:-9]), rf"\('jpeg', {len(JPEG) - 9} bytes\) is cut short"),
    'cut PNG': (compressed(png_of_size(4, 4)[:-1]), 'is cut short'),
    'PNG with a chunk beyond its end': (compressed(png_of_size(4, 4, b'\xff')), 'is cut short'),
    'PNG without size': (compressed(png_of_size(0, 4)), 'does not decode: no size in its header'),
    'JPEG without size': (compressed(b'\xff\xd8\xff\xd9'), 'no size in its header'),
}
REFUSED_WHEN_DECODED = {
    'not a picture': (compressed(b'no picture' * 9), r'90 bytes\) does not decode as a picture'),
    'hollow PNG': (compressed(png_of_size(4, 4)), 'does not decode'),
    'giant PNG': (compressed(png_of_size(10**5, 10**5)), 'does not decode'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused_on_arrival_and_when_read(case):
    msg, words = REFUSED[case]
    for read in (size, to_frame):
        with pytest.raises(ImageError, match=words):
            read(msg)


@pytest.mark.parametrize('case', REFUSED_WHEN_DECODED)
def test_refused_when_decoded(case):
    msg, words = REFUSED_WHEN_DECODED[case]
    with pytest.raises(ImageError, match=words):
        to_frame(msg)


def test_unknown_encoding_says_what_is_supported_and_why_cv_bridge_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    with pytest.raises(ImageError) as error:
        to_frame(image('nv21'))
    assert all(encoding in str(error.value) for encoding in ("'nv21'", *SUPPORTED))
    assert re.search('cv_bridge, which cannot be imported here: .+', str(error.value))


def test_unknown_encoding_through_cv_bridge(monkeypatch):
    """A stand-in shows how it would be called; the real one is not in the wheels of ROS."""
    class CvBridge:
        def imgmsg_to_cv2(self, msg, desired_encoding):
            if msg.encoding == 'bad':
                raise RuntimeError('[bad] is not a color format')
            assert desired_encoding == 'rgb8'
            return np.full((msg.height, msg.width, 3), 7, np.uint8)

    monkeypatch.setitem(sys.modules, 'cv_bridge', types.SimpleNamespace(CvBridge=CvBridge))
    assert to_frame(image('nv21')).pixels.shape == (4, 6, 3)
    assert size(image('nv21')) == (4, 6)
    with pytest.raises(ImageError, match="cv_bridge cannot read encoding 'bad': .*color format"):
        to_frame(image('bad'))


@pytest.mark.parametrize('file_format', ['jpg', 'png', 'bmp', 'webp', 'tiff'])
@pytest.mark.parametrize('gray', [False, True])
def test_compressed(file_format, gray):
    pixels = cv2.cvtColor(picture(31, 46), cv2.COLOR_RGB2GRAY if gray else cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(f'.{file_format}', pixels)
    frame = to_frame(compressed(data.tobytes()))
    assert size(compressed(data.tobytes())) == frame.size == (31, 46)
    expected = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if gray else pixels[..., ::-1]
    error = np.abs(frame.rgb().astype(int) - expected).mean()
    assert error < (4 if file_format in ('jpg', 'webp') else 0.01)


def test_camera_orientation_tags_are_not_followed():
    """A gaze is in pixels of the picture as it lies in the file."""
    tag = b'\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00'  # orientation: turned by 90 degrees
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0' + tag + bytes(4)
    marked = JPEG[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + JPEG[2:]
    assert cv2.imdecode(np.frombuffer(marked, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (160, 120)
    assert size(compressed(marked)) == to_frame(compressed(marked)).size == (120, 160)


def test_size_of_unusual_jpegs():
    progressive = cv2.imencode('.jpg', picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    fill_bytes = JPEG[:2] + b'\xff\xff' + JPEG[2:]
    for data in (progressive, fill_bytes):
        assert images._jpeg_size(data) == to_frame(compressed(data)).size == (120, 160)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(JPEG) - 3))
def test_every_cut_of_a_jpeg_is_noticed(length):
    with pytest.raises(ImageError):
        to_frame(compressed(JPEG[:length]))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b'', JPEG[:3], JPEG[:20], b'\x89PNG\r\n\x1a\n']))
def test_no_bytes_raise_anything_but_an_image_error(noise, start):
    for read in (size, to_frame):
        for end in (b'', b'\xff\xd9', b'IEND\xaeB`\x82'):
            try:
                read(compressed(start + noise + end))
            except ImageError as error:
                assert str(error)
