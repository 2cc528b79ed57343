# SPDX-License-Identifier: Apache-2.0
"""``stt_ros eval``: how many clicks a mask takes, and what each kind of prompt is worth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from stt_ros import pictures
from stt_ros.engines import DEVICES, ENGINES, PRECISIONS
from stt_ros.evaluation import claims, example, noc, truth
from stt_ros.foveation import SCALES
from stt_ros.prompts import PromptModelError


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add ``noc`` and ``prompts``; each sets ``run(arguments, make_segmenter)``."""
    commands = parser.add_subparsers(title='commands', metavar='command', required=True)
    clicks = commands.add_parser('noc', help='clicks until the mask is good (NoC protocol)')
    clicks.add_argument('--clicks', type=_above_zero, default=noc.CLICKS, help='at most')
    clicks.add_argument('--plot', type=Path, metavar='NOC.png', help='draw IoU over clicks')
    clicks.set_defaults(run=_noc)
    promises = commands.add_parser('prompts', help='mean IoU of every kind of prompt')
    promises.add_argument(
        '--grid', type=int, default=16, metavar='N', help='N x N gazes of everything-mode; 0: none'
    )
    promises.set_defaults(run=_prompts)
    for command in (clicks, promises):
        command.add_argument(
            'folders', type=Path, nargs='+', metavar='FOLDER',
            help='holds frames and masks with files of the same stems, or such folders',
        )  # fmt: skip
        command.add_argument('--every', type=_above_zero, default=1, help='every N-th picture only')
        command.add_argument('--json', type=Path, metavar='FILE', help='write all numbers')
        command.add_argument('--weights', default='default', help='name of a model, or a file')
        command.add_argument('--device', default='auto', help=f'{", ".join(DEVICES)} or cuda:N')
        command.add_argument('--precision', default='auto', choices=PRECISIONS)
        command.add_argument('--engine', default='auto', choices=ENGINES)
        command.add_argument(
            '--scale', type=int, default=0, choices=(0, *SCALES), help='see stt_ros segment --help'
        )


def _above_zero(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number above 0')
    return int(text)


def _samples(arguments) -> list[truth.Sample]:
    found = list(truth.samples(arguments.folders, arguments.every))
    if not found:
        raise pictures.PictureError(
            f'{", ".join(map(str, arguments.folders))}: no mask holds a thing of '
            f'{truth.SMALLEST} pixels or more'
        )
    return found


def _noc(arguments, make_segmenter: Callable) -> None:
    _check_files(arguments)
    if arguments.plot:
        pictures.check_writable(arguments.plot)
    samples, segmenter = _samples(arguments), make_segmenter()
    curves: dict[str, list] = {}
    for sample in tqdm(samples, unit='thing', delay=1):
        ious = noc.play(segmenter, sample.image, sample.mask, arguments.clicks)
        curves.setdefault(sample.group, []).append(ious)
    print(noc.table(curves))
    if arguments.plot:
        noc.plot(curves, arguments.plot)
    _write(arguments, {name: [c.tolist() for c in group] for name, group in curves.items()})


def _prompts(arguments, make_segmenter: Callable) -> None:
    _check_files(arguments)
    samples, segmenter = _samples(arguments), make_segmenter()
    progress = tqdm(samples, unit='thing', delay=1)
    table = claims.measure(segmenter, progress, arguments.grid)
    print(table.text(), '\n')
    for words, value, wanted in claims.promises(table):
        verdict = 'holds' if value >= wanted else 'DOES NOT HOLD'
        print(f'{words:58} {value:+.3f}  wanted >= {wanted:+.2f}  {verdict}')
    print(_example(samples))
    _write(arguments, table.rows)


def _check_files(arguments) -> None:
    """Raise ``PictureError`` now, and not after an hour, where nothing can be written."""
    if arguments.json:
        pictures.check_writable(arguments.json, (arguments.json.suffix.lower(),))


def _example(samples) -> str:
    try:
        shares = example.hits(samples)
    except PromptModelError as error:
        return f'example picture, gaze on the thing: not run ({error})'
    found = ', '.join(f'{name} {share:.0%}' for name, share in shares.items())
    return f'example picture, gaze on the thing: {found} (wanted >= 80%)'


def _write(arguments, numbers) -> None:
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1))
