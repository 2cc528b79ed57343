# SPDX-License-Identifier: Apache-2.0
"""What the demo plays: every kind of input, and what cannot be read."""

import argparse
import itertools

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stt_ros import cli
from stt_ros.ros.demo import sources
from stt_ros.ros.demo.app import main
from stt_ros.ros.demo.shots import InputError, image_message
from stt_ros.ros.images import fill_image, to_frame

TYPES = get_typestore(Stores.ROS2_HUMBLE)
STEP = 50_000_000  # ns between the bag's pictures


def opened(*words):
    parser = argparse.ArgumentParser()
    sources.add_arguments(parser)
    return sources.open_source(parser.parse_args([str(word) for word in words]))


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (('--box', '-20,5,9,9'), '--box -20,5,9,9: X,Y >= 0 and W,H >= 1 are allowed'),
        (('--box', 'nan,5,9,9'), '--box nan,5,9,9: X,Y >= 0'),
        (('--box', '5,5,1e20,9'), '--box 5,5,1e+20,9: X,Y >= 0'),
        (('--text', ''), "--text '': words that name a thing are expected"),
    ],
)
def test_prompts_that_no_message_can_hold(words, reason, capsys):
    assert cli.main(['demo', *words]) == 2
    assert reason in capsys.readouterr().err


def first(source):
    return next(iter(source.shots()))


def picture(k=0):
    """A smooth picture that survives JPEG, another one for each k."""
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 3, y * 4, x + y + 10 * k], axis=2).astype(np.uint8)


def bgr(message):
    return to_frame(message).rgb()[..., ::-1]


def image(k, transport):
    message = image_message(picture(k), transport)
    message.header.frame_id = 'robot_eye'
    return message


def depth(_):
    message = Image()
    fill_image(message, np.zeros((48, 128), np.uint8), '16UC1', Header())
    message.width = 64
    return message


def mask(k):
    _, content = cv2.imencode('.png', np.full((48, 64), 255 * (k % 2), np.uint8))
    return CompressedImage(format='png', data=content.tobytes())


def info(k):
    return CameraInfo(width=64, height=48, k=[100.0 + k] + [0.0] * 8)


def write_bag(folder, topics, storage=StoragePlugin.MCAP, count=4):
    """Write a bag with messages made by {topic: (k -> message)}, one of each every STEP ns."""
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        connections = {}
        for topic, make in topics.items():
            kind = f'sensor_msgs/msg/{type(make(0)).__name__}'
            connections[topic] = bag.add_connection(topic, kind, typestore=TYPES)
        for k, (topic, make) in itertools.product(range(count), topics.items()):
            message = make(k)
            message.header.stamp.nanosec = k * STEP
            bag.write(connections[topic], 10**18 + k * STEP, serialize_message(message))
    return folder


def write_video(path):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 30, (64, 48))
    for k in range(5):
        video.write(picture(k))
    video.release()
    return path


TOPICS = {
    '/depth/image_raw': depth,
    '/cam/image_raw': lambda k: image(k, 'raw'),
    '/cam/camera_info': info,
    '/jpeg/image/compressed': lambda k: image(k, 'compressed'),
    '/mask/compressed': mask,
}


@pytest.mark.parametrize('storage', StoragePlugin, ids=lambda plugin: plugin.name.lower())
def test_bag_plays_its_first_colour_topic_as_recorded(tmp_path, storage):
    source = opened('--bag', write_bag(tmp_path / 'bag', TOPICS, storage))
    shots = list(source.shots())
    assert source.topic == '/cam/image_raw'
    assert [shot.due for shot in shots] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert source.period == pytest.approx(0.05, rel=0.3)
    for k, shot in enumerate(shots):
        assert np.array_equal(bgr(shot.image), picture(k))
        assert shot.image.header.frame_id == 'robot_eye'
        assert shot.mask is None
    assert shots[-1].info.k[0] == 102  # the one that was recorded before it, 103 came after


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
@pytest.mark.parametrize('topic', ['/cam/image_raw', '/jpeg/image/compressed'])
def test_bag_is_turned_into_the_wanted_transport(tmp_path, topic, transport):
    bag = write_bag(tmp_path / 'bag', TOPICS)
    words = ['--topic', topic, '--mask-topic', '/mask/compressed', '--transport', transport]
    source = opened('--bag', bag, *words)
    for k, shot in enumerate(source.shots()):
        assert isinstance(shot.image, CompressedImage) == (transport == 'compressed')
        assert np.abs(bgr(shot.image).astype(int) - picture(k)).mean() < 4
        assert shot.image.header.frame_id == 'robot_eye'
        assert shot.size == (64, 48)
        assert bytes(shot.mask.data) == bytes(mask(k).data)
    assert source.has_masks


def test_bag_file_without_its_folder_is_read_too(tmp_path):
    bag = write_bag(tmp_path / 'bag', TOPICS)
    assert len(list(opened('--bag', bag / 'bag.mcap').shots())) == 4


def test_picture_video_and_folder(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    still = opened('--image', tmp_path / 'a.png', '--rate', 10)
    assert still.period == 0.1
    assert np.array_equal(bgr(first(still).image), picture())
    assert len(list(opened('--dir', tmp_path).shots())) == 1

    shots = list(opened('--video', write_video(tmp_path / 'b.mp4')).shots())
    assert [shot.due for shot in shots] == pytest.approx([k / 30 for k in range(5)])
    assert np.abs(bgr(shots[4].image).astype(int) - picture(4)).mean() < 8


def test_shipped_clips_have_a_mask_for_every_picture():
    source = opened()
    shots = list(source.shots())
    assert source.has_masks and len(shots) == 110
    for shot in shots:
        assert shot.size == (854, 480)
        thing = cv2.imdecode(np.frombuffer(shot.mask.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert thing.shape == (480, 854) and 0 < (thing > 127).mean() < 0.5
    assert (sources.CLIPS / 'DAVIS_LICENSE').is_file()


def test_jpeg_files_are_sent_as_they_are():
    path = sorted((sources.CLIPS / 'dog' / 'frames').iterdir())[0]
    assert bytes(first(opened('--transport', 'compressed')).image.data) == path.read_bytes()


def cut(path):
    """Leave only the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def bad_inputs(folder):
    """Yield (words, what the error must say)."""
    missing, junk, empty = folder / 'missing', folder / 'junk.jpg', folder / 'empty'
    junk.write_bytes(b'\xff\xd8\xff no picture')
    empty.mkdir()
    cut_bag = write_bag(folder / 'cut', TOPICS)
    cut(cut_bag / 'cut.mcap')
    cut_db = write_bag(folder / 'cut_db', TOPICS, StoragePlugin.SQLITE3)
    cut(cut_db / 'cut_db.db3')
    no_images = write_bag(folder / 'no_images', {'/info': info, '/depth': depth})
    bad_image = write_bag(
        folder / 'bad_image', {'/cam': lambda k: Image(width=9, height=9, step=9, encoding='rgb8')}
    )
    good = write_bag(folder / 'good', TOPICS)
    yield ['--image', missing], 'No such file'
    yield ['--image', junk], 'not a picture'
    yield ['--video', missing], 'no such file'
    yield ['--video', junk], 'no picture in it can be decoded'
    yield ['--video', cut(write_video(folder / 'cut.mp4'))], 'not a video, or a damaged one'
    yield ['--dir', missing], 'no such folder'
    yield ['--dir', empty], 'no pictures'
    yield ['--webcam', '99'], 'webcam 99'
    yield ['--bag', missing], 'no such folder'
    yield ['--bag', empty], 'no metadata.yaml'
    yield ['--bag', cut_bag], 'cut'
    yield ['--bag', cut_db], 'cut_db'
    yield ['--bag', no_images], 'no topic of colour images; topics: /info, /depth'
    yield ['--bag', bad_image], 'step is 9 bytes'
    yield ['--bag', good, '--topic', '/nope'], '/cam/image_raw'
    yield ['--bag', good, '--rate', '5'], 'rate of their own'
    yield ['--topic', '/cam'], 'belong to --bag'


def test_input_that_cannot_be_read_says_why_in_one_line(tmp_path):
    for words, reason in bad_inputs(tmp_path):
        with pytest.raises(InputError, match=reason) as error:
            first(opened(*words))
        assert '\n' not in str(error.value)


def test_the_demo_ends_with_2_before_it_starts_anything(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'taken').touch()
    cases = (
        (['--image', 'missing.png'], 'missing.png'),
        (['--point', '900,20'], '--point 900,20 is not on the 854x480 picture'),
        (['--out', 'taken/out'], 'cannot write into taken/out'),
    )
    for words, reason in cases:
        assert main(words) == 2
        output = capfd.readouterr()
        assert reason in output.err and output.err.count('\n') == 1
        assert not (tmp_path / 'stt_demo').exists()


@pytest.mark.parametrize('words', [['--seconds', '-1'], ['--rate', 'fast'], ['--point', '3']])
def test_arguments_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(words)
    assert repr(words[1]) in capsys.readouterr().err
