# SPDX-License-Identifier: Apache-2.0
"""The real download code against a hub on this machine; each test is a process of its own, because
huggingface_hub reads its environment variables when it is imported.
"""

import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import hub as hubs
import pytest

import stt_ros

FILE = 'stt-b-qbkbmb5qsb4q2.pth'
CONTENT = bytes(range(256)) * 4096  # 1 MB

# Waiting between tries is the library's business; the tests need not wait with it.
FETCH = """
import sys, time
time.sleep = lambda seconds: None
from stt_ros import download
from stt_ros.errors import DownloadError
try:
    print(download.fetch(sys.argv[1], force='force' in sys.argv))
except DownloadError as error:
    sys.exit(f'DownloadError: {error}')
"""

# The name of a published model, its file and the strict loader, with a network of 0.5 MB.
LOAD = """
import sys
from stt_ros import zoo
from stt_ros.model import ModelConfig
zoo.CONFIGS['stt-b'] = ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=32)
try:
    print(sum(p.numel() for p in zoo.load('stt-b').parameters()), zoo.models()[1].path)
except zoo.WeightsError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub():
    with hubs.running() as hub:
        hub.files[FILE] = CONTENT
        yield hub


@pytest.fixture
def environment(hub, tmp_path):
    """Return the environment of a process that knows only this hub and an empty cache."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith('HF_') and 'proxy' not in key.lower()
    }
    package = str(Path(stt_ros.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [package, kept.get('PYTHONPATH')]))
    return kept | {'HF_HOME': str(tmp_path), 'HF_ENDPOINT': hub.endpoint, 'PYTHONPATH': path}


@pytest.fixture
def fetch(environment):
    """Return a function that fetches the file in a new process."""

    def run(*arguments, script=FETCH, **variables):
        command = [sys.executable, '-c', script, FILE, *arguments]
        return subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, timeout=60
        )

    return run


def assert_has_content(result):
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).read_bytes() == CONTENT


def assert_says_what_to_do(result, hub):
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr
    assert f'{hub.endpoint}/facebook/segment_this_thing/resolve/main/{FILE}' in result.stderr
    assert f'weights:=/path/to/{FILE}' in result.stderr
    assert 'HF_ENDPOINT' in result.stderr


def test_downloads_once_and_says_the_licence(fetch, hub):
    first = fetch()
    assert_has_content(first)
    assert FILE in first.stderr
    assert first.stderr.count('CC BY-NC 4.0') == 1
    asked = len(hub.requests)
    second = fetch()
    assert_has_content(second)
    assert second.stderr == ''
    assert len(hub.requests) == asked


def test_shows_progress_in_a_terminal(environment):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack('4H', 25, 80, 0, 0))
    command = [sys.executable, '-c', FETCH, FILE]
    subprocess.run(command, env=environment, stderr=end, stdout=end, timeout=60, check=True)
    os.close(end)
    shown = b''
    with contextlib.suppress(OSError):  # the end of a pseudo-terminal is an I/O error
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert b'100%' in shown


def test_force_downloads_again(fetch, hub):
    fetch()
    assert_has_content(fetch('force'))
    assert len(hub.downloads()) == 2


def test_a_cut_connection_is_resumed(fetch, hub):
    content = hub.files[FILE] = os.urandom(24 << 20)
    hub.cuts = [15 << 20]
    result = fetch()
    if result.returncode:  # older versions of the library resume in the next call
        result = fetch()
    assert Path(result.stdout.strip()).read_bytes() == content
    first, second = hub.downloads()
    assert first is None
    assert int(second[len('bytes=') : -1]) > 0


def test_a_connection_that_always_breaks(fetch, hub):
    hub.cuts = [100] * 50
    assert_says_what_to_do(fetch(), hub)
    hub.cuts = []
    assert_has_content(fetch())


def test_an_interrupted_download_starts_again(fetch, hub, environment):
    hub.stall = threading.Event(), threading.Event()
    command = [sys.executable, '-c', FETCH, FILE]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert hub.stall[0].wait(30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    hub.stall[1].set()
    hub.stall = None
    assert_has_content(fetch())


def test_a_truncated_file_is_refused(fetch, hub):
    hub.sent_instead = CONTENT[:-1000]
    result = fetch()
    assert_says_what_to_do(result, hub)
    assert str(len(CONTENT)) in result.stderr
    hub.sent_instead = None
    assert_has_content(fetch())


def test_a_damaged_file_is_refused_and_forgotten(fetch, hub):
    hub.sent_instead = CONTENT[::-1]
    result = fetch()
    assert_says_what_to_do(result, hub)
    assert 'damaged' in result.stderr
    hub.sent_instead = None
    assert_has_content(fetch())


@pytest.mark.parametrize('status', [404, 403, 500])
def test_an_answer_that_is_an_error(fetch, hub, status):
    hub.status = status
    result = fetch()
    assert_says_what_to_do(result, hub)
    assert str(status) in result.stderr


def test_a_file_that_the_hub_does_not_have(fetch, hub):
    del hub.files[FILE]
    result = fetch()
    assert_says_what_to_do(result, hub)
    assert '404' in result.stderr


def test_no_server(fetch, hub):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))  # bound, but nobody listens
        hub.endpoint = f'http://127.0.0.1:{closed.getsockname()[1]}'
        result = fetch(HF_ENDPOINT=hub.endpoint)
    assert_says_what_to_do(result, hub)
    assert 'refused' in result.stderr


def test_offline_uses_the_cache_only(fetch, hub):
    result = fetch(HF_HUB_OFFLINE='1')
    assert_says_what_to_do(result, hub)
    assert 'HF_HUB_OFFLINE' in result.stderr
    assert hub.requests == []
    fetch()
    assert_has_content(fetch(HF_HUB_OFFLINE='1'))


def test_a_cache_that_cannot_be_written(fetch, hub, tmp_path):
    (tmp_path / 'hub').write_text('a file where the folder should be')
    result = fetch()
    assert_says_what_to_do(result, hub)
    assert str(tmp_path / 'hub') in result.stderr


def test_a_published_name_is_downloaded_and_strictly_loaded(fetch, hub, tmp_path):
    import torch

    from stt_ros.model import ModelConfig, SegmentThisThing

    model = SegmentThisThing(ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=32))
    torch.save(model.state_dict(), tmp_path / 'served.pth')
    hub.files[FILE] = (tmp_path / 'served.pth').read_bytes()
    result = fetch(script=LOAD)
    assert result.returncode == 0, result.stderr
    count, path = result.stdout.split()
    assert int(count) == sum(p.numel() for p in model.parameters())
    assert Path(path).name == FILE
