# SPDX-License-Identifier: Apache-2.0
"""The command line of everything-mode: what to keep, and what to write."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from stt_ros import pictures, visualize
from stt_ros.frame import Frame
from stt_ros.prompts import Answer, PromptError, records
from stt_ros.prompts.ask import Options
from stt_ros.prompts.edges import edges


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of --everything."""
    group = parser.add_argument_group('--everything')
    add = group.add_argument
    add('--budget', type=float, metavar='MS', help='milliseconds that it may take')
    add('--grid', type=int, default=16, metavar='N', help='N x N gazes (default: 16)')
    add('--crop-layers', type=int, default=0, metavar='N',
        help='1: look at 2 x 2 enlarged parts, too; 2: also at 4 x 4 (default: 0)')  # fmt: skip
    add('--min-iou', type=float, default=Options.min_predicted_iou, metavar='IOU',
        help='keep masks of a higher predicted IoU only (default: %(default)s; 0: nearly all)'
    )  # fmt: skip
    add('--min-stability', type=float, default=0.0, metavar='S',
        help='keep masks of at least this stability only (default: 0)')  # fmt: skip
    add('--min-area', type=int, default=0, metavar='PX',
        help='fill smaller holes and take smaller islands away, of any prompt')  # fmt: skip
    add('--top', type=int, metavar='N', help='keep the N likeliest answers')
    add('--cover', action='store_true', help='--labels gives every pixel to exactly one answer')
    add('--records', type=Path, metavar='FILE.json',
        help="write the answers as SAM's records, masks as COCO run-length code")  # fmt: skip
    add('--edges', type=Path, metavar='EDGES.png', help='write the edges seen by the grid of gazes')


def options(arguments: argparse.Namespace, labeller) -> Options:
    """Return how to answer. Raises ``PromptError`` for a number of answers below 1."""
    if arguments.top is not None and arguments.top < 1:
        raise PromptError(f'--top is {arguments.top}; expected 1 or more')
    return Options(
        arguments.interpolation,
        min_region_area=arguments.min_area,
        points_per_side=arguments.grid,
        crop_layers=arguments.crop_layers,
        min_predicted_iou=arguments.min_iou,
        min_stability=arguments.min_stability,
        budget_ms=arguments.budget,
        progress=_show if sys.stderr.isatty() else None,
        labeller=labeller,
    )


def files(arguments: argparse.Namespace) -> list[Path | None]:
    """Return the files that are to be written."""
    return [arguments.labels, arguments.records, arguments.edges]


def write_edges(arguments: argparse.Namespace, segmenter, frame: Frame) -> None:
    """Write the edges as a gray picture, white where they are strongest, if asked for."""
    if arguments.edges:
        strength = edges(segmenter, frame, arguments.grid)
        pictures.write(arguments.edges, np.round(strength * 255).astype(np.uint8))


def write(arguments: argparse.Namespace, found: list[Answer], size: tuple[int, int]) -> None:
    """Write label image and records as asked for. Raises ``PictureError``."""
    if arguments.labels:
        make = records.cover if arguments.cover else visualize.labels
        pictures.write(arguments.labels, make(found, size).astype(np.uint16))
    if arguments.records:
        listed = [
            records.record(answer, size, 'coco_rle') | {'label': answer.label} for answer in found
        ]
        try:
            arguments.records.write_text(json.dumps(listed) + '\n')
        except OSError as error:
            raise pictures.PictureError(
                f'cannot write {arguments.records}: {error.strerror}'
            ) from error


def _show(done: int, total: int) -> None:
    print(f'\r{done} of {total} gazes', end='\n' if done >= total else '', file=sys.stderr)
