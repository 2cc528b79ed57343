# SPDX-License-Identifier: Apache-2.0
"""Picture files: every kind is read as upright RGB, and written as it was."""

import struct

import cv2
import golden
import numpy as np
import pytest

from stt_ros import pictures


def with_orientation(jpeg, orientation):
    """Insert an EXIF block with an orientation into a JPEG file's bytes."""
    tag = struct.pack('<HHIHH', 0x0112, 3, 1, orientation, 0)
    tiff = b'II*\0' + struct.pack('<IH', 8, 1) + tag + struct.pack('<I', 0)
    block = b'Exif\0\0' + tiff
    return jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + jpeg[2:]


def test_a_rotated_jpeg_is_turned_upright(tmp_path):
    image = cv2.GaussianBlur(golden.image(4, 60, 90), (0, 0), 4)
    _, jpeg = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    path = tmp_path / 'turned.jpg'
    path.write_bytes(with_orientation(jpeg.tobytes(), 6))  # the camera was held upright
    upright = np.rot90(image, -1)
    read = pictures.read(path)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).max() <= 8


@pytest.mark.parametrize('kind', ['gray', 'gray16', 'rgb16', 'rgba'])
def test_other_pixels_become_rgb(tmp_path, kind):
    image = golden.image(5, 40, 50)
    expected = np.repeat(image[..., :1], 3, axis=2) if 'gray' in kind else image
    stored = {
        'gray': image[..., 0],
        'gray16': image[..., 0].astype(np.uint16) * 257,
        'rgb16': image[..., ::-1].astype(np.uint16) * 257,
        'rgba': np.dstack([image[..., ::-1], np.full((40, 50), 9, np.uint8)]),
    }[kind]
    assert cv2.imwrite(str(tmp_path / 'picture.png'), stored)
    np.testing.assert_array_equal(pictures.read(tmp_path / 'picture.png'), expected)


@pytest.mark.parametrize('suffix', pictures.LOSSLESS)
def test_writing_and_reading_lossless_pictures(tmp_path, suffix):
    image = golden.image(6, 33, 47)
    pictures.write(tmp_path / f'picture{suffix}', image)
    np.testing.assert_array_equal(pictures.read(tmp_path / f'picture{suffix}'), image)


def test_a_picture_too_big_for_its_format(tmp_path):
    with pytest.raises(pictures.PictureError, match='70000 x 1 pixels'):
        pictures.write(tmp_path / 'wide.jpg', np.zeros((1, 70000, 3), np.uint8))
