# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile without which big images between processes are lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NEW, _OLD = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
_CHOICES = (_NEW, _OLD, 'FASTDDS_BUILTIN_TRANSPORTS')

CURE = (
    'the default shared memory of Fast DDS is too small for images: start the camera driver and '
    f'every image viewer with {_NEW} (before Kilted {_OLD}) set to {{profile}}, '
    'or with FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA; a network to another machine loses raw images: '
    'README, Troubleshooting'
)


def profile_path() -> Path:
    """Return where the installed profile is."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory('stt_ros')) / 'config' / 'fastdds.xml'
    except (ImportError, LookupError, OSError):  # a virtual environment that nobody sourced
        return Path(sys.prefix) / 'share' / 'stt_ros' / 'config' / 'fastdds.xml'


def use_profile() -> None:
    """Make processes started from here, and this one, use the profile, if the user chose nothing.

    Call it before ``rclpy.init``.
    """
    path, distro = profile_path(), os.environ.get('ROS_DISTRO')
    # Humble adds its transport of this machine to the profile's, which leave it.
    if distro == 'humble' and os.environ.get('ROS_LOCALHOST_ONLY') == '1':
        return
    if path.is_file() and not any(os.environ.get(name) for name in _CHOICES):
        os.environ[_OLD if distro in ('humble', 'iron', 'jazzy') else _NEW] = str(path)
