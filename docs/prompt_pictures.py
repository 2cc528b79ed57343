# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/prompts.md: runs the commands that are written there, in order.

``python docs/prompt_pictures.py`` in a checkout, with a Python that has stt_ros.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import cv2

from stt_ros import cli

DOCS = Path(__file__).resolve().parent
WIDTH = 480  # pixels of a picture in the docs


def commands(text: str) -> list[list[str]]:
    """Return the words of every ``stt_ros segment ... --overlay ...`` of a Markdown text."""
    joined = re.sub(r'\\\n\s*', '', text)
    lines = [line for line in joined.splitlines() if line.startswith('stt_ros segment')]
    return [shlex.split(line)[1:] for line in lines if '--overlay' in line]


def shrink(path: Path) -> None:
    """Write a picture again, WIDTH pixels wide, as a small JPEG."""
    picture = cv2.imread(str(path))
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    small = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, 80])


def main() -> int:
    """Run all commands in the checkout's root; returns the first exit code that is not 0."""
    os.chdir(DOCS.parent)
    for words in commands((DOCS / 'prompts.md').read_text()):
        print('stt_ros', shlex.join(words), flush=True)
        code = cli.main(words)
        if code:
            return code
        shrink(Path(words[words.index('--overlay') + 1]))
    return 0


if __name__ == '__main__':
    sys.exit(main())
