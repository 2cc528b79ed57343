# SPDX-License-Identifier: Apache-2.0
"""Where the package is installed, and the environment in which its processes find each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import stt_ros

_DOMAINS = range(1, 101)  # above, the ports run into those that Linux gives to clients


def install_prefix() -> Path:
    """Return the folder that this package is installed in: it has lib/stt_ros and share/stt_ros.

    Raises ``ImportError`` when it is not installed.
    """
    for package in map(Path, stt_ros.__path__):  # a checkout's sources, then what is installed
        for folder in package.absolute().parents:
            if (folder / 'share' / 'stt_ros' / 'package.xml').is_file():
                return folder
    raise ImportError(f'{Path(__file__).parents[2]} is not an installed package')


def executable(name: str) -> Path:
    """Return an executable of this package, as ``ros2 run stt_ros <name>`` starts it."""
    return install_prefix() / 'lib' / 'stt_ros' / name


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Keep what is started in the block on this machine, in a ROS domain that nobody uses.

    A user's own ``ROS_DOMAIN_ID`` and discovery range stay as they are. In Humble only the domain
    is our own: staying on this machine and room for images exclude each other there.
    """
    if os.environ.get('ROS_DOMAIN_ID'):
        yield
        return
    with free_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        if os.environ.get('ROS_DISTRO') != 'humble':
            os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        try:
            yield
        finally:
            del os.environ['ROS_DOMAIN_ID']


@contextlib.contextmanager
def free_domain() -> Iterator[int]:
    """Yield a ROS domain on which no participant of this machine listens, held by a lock file.

    Raises ``RuntimeError`` when all are in use.
    """
    ports = _udp_ports()
    free = [domain for domain in _DOMAINS if not ports & _domain_ports(domain)]
    for domain in random.sample(free, len(free)):
        path = Path(tempfile.gettempdir(), f'stt_ros_domain_{domain}_{os.getuid()}.lock')
        with open(path, 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    raise RuntimeError(f'ROS domains {_DOMAINS[0]} to {_DOMAINS[-1]} are all in use here')


def _domain_ports(domain: int) -> set[int]:
    """Return the UDP ports that the first participants of a domain listen on (DDSI-RTPS 9.6.1)."""
    base = 7400 + 250 * domain
    return set(range(base, base + 30))


def _udp_ports() -> set[int]:
    """Return the UDP ports that are bound on this machine."""
    ports = set()
    for name in ('udp', 'udp6'):
        with contextlib.suppress(OSError):
            for line in Path('/proc/net', name).read_text().splitlines()[1:]:
                ports.add(int(line.split()[1].rpartition(':')[2], 16))
    return ports
