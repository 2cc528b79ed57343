# SPDX-License-Identifier: Apache-2.0
"""Which pictures train and which are held back: the folders named on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from training import real
from training.bank import Bank, make_bank

HELD_OUT = slice(
    4, None, 9
)  # of the sorted pictures of a pack: never trained on, used for decisions


def arguments(parser: argparse.ArgumentParser):
    parser.add_argument(
        '--davis',
        type=Path,
        nargs='*',
        default=[],
        help='folders of sequences with frames/, masks/',
    )
    parser.add_argument(
        '--pack', type=Path, nargs='*', default=[], help='folders with images/ and objects.json'
    )
    parser.add_argument(
        '--coco',
        type=Path,
        nargs='*',
        default=[],
        metavar='IMAGES ANNOTATIONS',
        help='pairs: a folder of pictures and a COCO-format JSON (any number of pairs)',
    )
    parser.add_argument(
        '--cutouts',
        type=Path,
        nargs='*',
        action='append',
        default=[],
        metavar='FOLDER',
        help='folders of PNG pictures with transparency: one thing each, to be pasted; '
        'given several times, each group is pasted as often as the others',
    )
    parser.add_argument(
        '--davis-share',
        type=float,
        default=0.3,
        help='share of DAVIS among the views of real pictures',
    )


def training_bank(args) -> Bank:
    """Everything but the held-out pictures; an empty bank (drawn scenes only) without folders."""
    sequences = [
        p
        for root in args.davis
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for p in real.davis(folder)
    ]
    pictures = []
    for folder in args.pack:
        found = real.pack(folder)
        held = {p.name for p in found[HELD_OUT]}
        pictures += [p for p in found if p.name not in held]
    for images, table in zip(args.coco[::2], args.coco[1::2], strict=True):
        pictures += real.coco(images, table)
    pictures = [p for p in pictures if p.objects]
    groups = [(sequences, args.davis_share), (pictures, 1 - args.davis_share)]
    bank = make_bank([g for g in groups if g[0]])
    groups = [[thing for f in folders for thing in real.cutouts(f)] for folders in args.cutouts]
    bank.others = [group for group in groups if group]
    return bank


def held_out(folders: list[Path]) -> list[real.Picture]:
    return [p for folder in folders for p in real.pack(folder)[HELD_OUT]]
