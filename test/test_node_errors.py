# SPDX-License-Identifier: Apache-2.0
"""Bad input: a clear line, the message dropped and counted, and the node keeps serving."""

import math
from collections import Counter

import pytest
from node_process import NodeProcess
from ros_helpers import SECOND, CompressedImage, running_bench
from ros_messages import compressed_image, picture, raw_image

PIXELS = picture()
MS = SECOND // 1000


@pytest.fixture(scope='module')
def blind():
    """Start a node whose camera does not exist."""
    node = NodeProcess('-r', '__ns:=/blind', '-r', 'image:=/nowhere/image')
    yield node
    assert node.end() == 0


@pytest.fixture(scope='module')
def compressed(running):
    with running_bench('-p', 'image_transport:=compressed') as bench:
        bench.take(compressed_image(PIXELS, 'png', bench.header()))
        yield bench


@pytest.fixture(scope='module')
def dropped():
    """Return how many messages of each source were dropped so far."""
    return Counter()


def check_counted(bench, dropped):
    """Wait for diagnostics that count what was dropped."""
    expected = {f'rejected {source}': str(count) for source, count in dropped.items()}
    values = bench.diagnostics(lambda values: expected.items() <= values.items())
    counts = [int(count) for name, count in values.items() if name.startswith('rejected ')]
    assert int(values['messages rejected']) == sum(counts)


def test_camera_that_never_sends(running, blind):
    """Matched, but no frame for 3 s: what DDS does to big images, and the cure."""
    running.process.wait_for_log(
        r'camera: stale: no image for \d s; 1 publisher\(s\) on .*, but nothing arrives: the '
        r'default shared memory of Fast DDS is too small for images: .*'
        r'FAST(DDS|RTPS)_DEFAULT_PROFILES_FILE.* set to .*/fastdds.xml'
    )
    stale = running.diagnostics(lambda values: values['message'].startswith('stale: no image for'))
    assert stale['level'] == b'\x01'


def test_camera_that_is_not_there(blind):
    """No publisher at all: another reason, another advice."""
    blind.wait_for_log(
        r'camera: stale: no image for \d s; nobody publishes on /nowhere/image: is the camera '
        r'running, the topic.s name right \(remap image:=...\), ROS_DOMAIN_ID the same'
    )


def test_prompts_before_the_first_image(running, dropped):
    running.gaze(1, 1)
    running.clicked_point(1, 1)
    running.click(1, 1)
    for kind in ('gaze', 'clicked_point', 'mouse_left'):
        running.process.wait_for_log(f'WARN.*{kind}: no image has been received yet')
    dropped.update(gaze=1, clicked_point=1, mouse_left=1)
    check_counted(running, dropped)


@pytest.fixture
def bench(running):
    running.show(PIXELS)
    running.look_at(80, 60)
    return running


BAD_IMAGES = {
    'empty': ({'width': 0, 'height': 0}, 'image is empty: 0 x 0 pixels'),
    'short': ({'data': bytes(100)}, 'data has 100 bytes; 120 rows of step 480 need 57600'),
    'step': ({'step': 479}, 'step is 479 bytes; 160 pixels of rgb8 need 480'),
    'encoding': ({'encoding': '64FC4'}, "encoding '64FC4' is not supported; supported: rgb8, bgr8"),
    'not ASCII': ({'encoding': 'rgb8\u00e9'}, 'encoding .* is not supported'),
}


def test_bad_images(bench, dropped):
    """Each of them alone, a good frame after each; all of them counted."""
    for changes, words in BAD_IMAGES.values():
        msg = raw_image(PIXELS, 'rgb8', bench.header())
        for name, value in changes.items():
            setattr(msg, name, value)
        line = len(bench.process.lines)
        bench.publish(msg)
        bench.process.wait_for_log(f'WARN.*image: {words}', after=line)
        bench.result_of(bench.show(PIXELS))
    dropped['image'] += len(BAD_IMAGES)
    check_counted(bench, dropped)


BAD_GAZES = {
    'nan': ((math.nan, 5), {}, r'\(nan, 5, 0\) is not finite'),
    'inf': ((5, -math.inf), {}, r'\(5, -inf, 0\) is not finite'),
    'outside': ((160, 5), {}, r'\(160, 5\) is outside the image of 160 x 120 pixels: '
                r'x must be in \[0, 160\), y in \[0, 120\)'),
    'normalized': ((0.5, -0.5), {}, r'\(0.5, -0.5\) is outside .* set gaze_space to normalized'),
    'no calibration': ((1, 1), {'frame_id': 'map', 'z': 2.0}, 'no camera_info has been received on '
                       '/.*/camera_info, .* if they are pixels, set the space parameter to pixel'),
    'early': ((5, 5), {'stamp': 5 * SECOND}, 'the nearest image is .* s newer than the stamp'),
}  # fmt: skip


def test_bad_gazes_and_clicks(bench, dropped):
    for name, (gaze, more, words) in BAD_GAZES.items():
        # Stamps of a stream that go back are another matter, see test_node_prompts.py.
        for kind in ('gaze', 'clicked_point')[name == 'early' :]:
            line = len(bench.process.lines)
            getattr(bench, kind)(*gaze, **{'stamp': 0, **more})
            bench.process.wait_for_log(f'WARN.*{kind}: .*{words}', after=line)
            dropped[kind] += 1
    for x, words in ((math.nan, 'is not finite'), (500, 'is outside the image')):
        bench.click(x, 3)
        bench.process.wait_for_log(f'WARN.*mouse_left: .*{words}')
        dropped['mouse_left'] += 1
    result = bench.result_of(bench.show(PIXELS))
    assert result.gaze.x == 80.0  # what was pointed at before
    check_counted(bench, dropped)


def test_the_same_trouble_is_not_told_at_frame_rate(bench, dropped):
    line = len(bench.process.lines)
    for i in range(30):
        bench.gaze(1000 + i, 2000, stamp=0)
        if i % 10 == 0:
            bench.show(PIXELS)
    dropped['gaze'] += 30
    check_counted(bench, dropped)
    told = [text for text in bench.process.lines[line:] if ', 2000) is outside' in text]
    assert len(told) <= 2


BAD_FILES = {
    'cut short': lambda data: data[:-20],
    'is empty': lambda data: b'',
    'does not decode': lambda data: b'not a picture at all',
}


@pytest.mark.parametrize('file_format', ['jpeg', 'png'])
def test_bad_compressed_images(compressed, file_format):
    bench = compressed
    bench.take(compressed_image(PIXELS, file_format, bench.header()))
    bench.look_at(80, 60)
    before = int(bench.diagnostics().get('rejected image', 0))
    for words, spoil in BAD_FILES.items():
        good = compressed_image(PIXELS, file_format, bench.header())
        bad = CompressedImage(header=bench.header(), format=f'{file_format} {words}')
        bad.data = spoil(bytes(good.data))
        line = len(bench.process.lines)
        bench.publish(bad)
        words = rf"image: compressed image \('{file_format}.* {words}"
        bench.process.wait_for_log(words, after=line)
        bench.result_of(bench.take(good))
    bench.diagnostics(lambda values: values['rejected image'] == str(before + len(BAD_FILES)))


def test_camera_that_stops_and_returns(bench):
    bench.process.wait_for_log(r'camera: stale.*1 publisher\(s\) on .*/image have stopped sending')
    header = bench.show(PIXELS)
    assert bench.result_of(header).gaze.x == 80.0
    values = bench.diagnostics()
    assert (values['level'], values['message']) == (b'\x00', 'segmenting')


def test_burst_of_frames(bench):
    """Faster than the model: every frame is segmented or counted as dropped, none waits in line."""
    pixels = picture(480, 640)
    bench.show(pixels)
    before, first = bench.diagnostics(), len(bench.results)

    def grown(values, name):
        return int(values[f'frames {name}']) - int(before[f'frames {name}'])

    for _ in range(80):
        bench.image(pixels)
    bench.result_of(bench.show(pixels))
    after = bench.diagnostics(
        lambda v: grown(v, 'received') == grown(v, 'segmented') + grown(v, 'dropped') > 1
    )
    assert grown(after, 'dropped') > 0
    stamps = [(r.header.stamp.sec, r.header.stamp.nanosec) for r in bench.results[first:]]
    assert stamps == sorted(stamps)
