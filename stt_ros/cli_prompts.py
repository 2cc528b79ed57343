# SPDX-License-Identifier: Apache-2.0
"""Prompts of the command line: words to prompts, answers to files and a report."""

from __future__ import annotations

import argparse
import math
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from stt_ros import cli_everything, pictures, prompts, visualize
from stt_ros.frame import Frame
from stt_ros.prompts import Audio, Example, Labeller, Loader, PromptError, Text
from stt_ros.prompts.ask import ask
from stt_ros.prompts.features import DINOV2, PatchFeatures
from stt_ros.prompts.labels import SIGLIP

# The options any of which makes a prompt of the points, too.
KINDS = (
    'negative', 'box', 'scribble', 'negative_scribble', 'polygon', 'lasso', 'mask', 'text',
    'example', 'audio', 'everything', 'mode', 'names', 'labels',
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of all kinds of prompts."""
    group = parser.add_argument_group(
        'prompts',
        'any of them, any number, together: all mean one thing (--mode). With them the --points '
        'are on one thing, too, instead of a gaze each.',
    )
    add, many = group.add_argument, {'action': 'append', 'default': []}
    add('--negative', type=point, metavar='X,Y', help='a pixel that is not on the thing', **many)
    add('--box', type=box, metavar='X,Y,W,H', help='box around the thing', **many)
    add('--scribble', type=Path, metavar='FILE', **many,
        help='stroke over the thing: a text file with a line X,Y per corner, an empty line between '
        'two strokes')  # fmt: skip
    add('--negative-scribble', type=Path, metavar='FILE', help='the same beside the thing', **many)
    add('--polygon', type=corners, metavar="'X,Y X,Y X,Y'", help='outline of the thing', **many)
    add('--lasso', type=corners, metavar="'X,Y X,Y X,Y'", help='loose line around it', **many)
    add('--mask', type=Path, metavar='FILE', **many,
        help='coarse mask of the thing: a picture of the same size, black is outside')  # fmt: skip
    add('--text', metavar='WORDS', help='what is meant, in words', **many)
    add('--example', type=Path, nargs=2, metavar=('PICTURE', 'MASK'), **many,
        help='another picture and the mask of such a thing in it')  # fmt: skip
    add('--audio', type=Path, metavar='FILE.wav', help='what is meant, spoken', **many)
    add('--everything', action='store_true', help='all things in the picture')
    add('--mode', choices=prompts.MODES,
        help='how many things are meant (default: all_instances with --everything, '
        'else one_object)')  # fmt: skip
    add('--labels', type=Path, metavar='LABELS.png',
        help='write a 16-bit picture: 0 nothing, k the k-th answer')  # fmt: skip
    add('--names', nargs='?', const='', metavar='NAME,NAME',
        help='name the answers, by these words or the classes of COCO')  # fmt: skip
    add('--text-model', default='owlv2', help='owlv2, clipseg, grounding-dino, or a folder')
    add('--example-model', default='', help='name or folder of a DINOv2 or DINOv3 model')
    add('--speech-model', default='moonshine', help='moonshine, whisper, or a folder')
    add('--label-model', default='', help='name or folder of a SigLIP model')
    add('--local-files-only', action='store_true', help='download nothing')
    cli_everything.add_arguments(parser)


def asked(arguments: argparse.Namespace) -> bool:
    """Tell whether there is any prompt beside points."""
    return any(getattr(arguments, kind) for kind in KINDS)


def attach_points(argv: list[str]) -> list[str]:
    """Write ``--point -3,4`` as ``--point=-3,4``: argparse would take the value for an option."""
    attached: list[str] = []
    for word in argv:
        if attached and attached[-1] in ('--point', '--negative', '--box', '--polygon', '--lasso'):
            attached[-1] += f'={word}'
        else:
            attached.append(word)
    return attached


def point(text: str) -> tuple[float, float]:
    """Read ``X,Y`` of a command line. Raises ``argparse.ArgumentTypeError``."""
    try:
        x, y = (float(part) for part in text.split(','))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a pixel: X,Y, for example 320,240')
    return x, y


def box(text: str) -> tuple[float, ...]:
    """Read ``X,Y,W,H`` of a command line. Raises ``argparse.ArgumentTypeError``."""
    try:
        x, y, width, height = (float(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a box: X,Y,WIDTH,HEIGHT, for example 100,80,200,150'
        ) from None
    return x, y, width, height


def corners(text: str) -> list[tuple[float, float]]:
    """Read ``X,Y X,Y ...`` of a command line. Raises ``argparse.ArgumentTypeError``."""
    try:
        return [_corner(word) for word in text.split()]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} are not corners: 'X,Y X,Y X,Y', for example '10,10 90,10 50,80'"
        ) from None


def _corner(text: str) -> tuple[float, float]:
    x, y = (float(part) for part in text.split(','))
    return x, y


def of_arguments(arguments: argparse.Namespace, loader) -> list[prompts.Prompt]:
    """Return the prompts that the words mean; models come from ``loader``.

    Raises ``PromptError`` for one that makes no sense, ``PictureError`` for a file that is none.
    """
    found: list[prompts.Prompt] = []
    if arguments.point or arguments.negative:
        found.append(prompts.Points(arguments.point or (), arguments.negative))
    found += [prompts.Box(values) for values in arguments.box]
    if arguments.scribble or arguments.negative_scribble:
        over, beside = (
            [stroke for path in paths for stroke in read_strokes(path)]
            for paths in (arguments.scribble, arguments.negative_scribble)
        )
        found.append(prompts.Scribble(over, beside))
    found += [prompts.Polygon(values) for values in arguments.polygon]
    found += [prompts.Lasso(values) for values in arguments.lasso]
    found += [prompts.Mask(pictures.read_mask(path)) for path in arguments.mask]
    found += [Text(words, loader, model=arguments.text_model) for words in arguments.text]
    features = PatchFeatures(loader, arguments.example_model or DINOV2)
    for picture, mask in arguments.example:
        found.append(Example(pictures.read(picture), pictures.read_mask(mask), features=features))
    models = {'speech': arguments.speech_model, 'model': arguments.text_model}
    found += [Audio(*read_sound(path), loader, **models) for path in arguments.audio]
    if arguments.everything:
        found.append(prompts.Everything())
    return found


def answers(arguments: argparse.Namespace, image: np.ndarray, make_segmenter: Callable):
    """Return the ``Reply`` about an image (H, W, 3) RGB; raises as ``of_arguments`` does."""
    loader = Loader(arguments.device, arguments.precision, arguments.local_files_only)
    found = of_arguments(arguments, loader)
    labeller = None
    if arguments.names is not None:
        words = [word.strip() for word in arguments.names.split(',') if word.strip()]
        named = {'vocabulary': words} if words else {}
        labeller = Labeller(loader, model=arguments.label_model or SIGLIP, **named).named
    options = cli_everything.options(arguments, labeller)
    mode = arguments.mode or ('all_instances' if arguments.everything else 'one_object')
    segmenter, frame = make_segmenter(arguments), Frame(image)
    reply = ask(segmenter, frame, found, mode, options)
    cli_everything.write_edges(arguments, segmenter, frame)
    return replace(reply, answers=reply.answers[: arguments.top])


def read_strokes(path: Path) -> list[list[tuple[float, float]]]:
    """Return the strokes in a text file; raises ``PromptError`` with the line that is none."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f'cannot read {path}: {getattr(error, "strerror", error)}') from error
    strokes: list[list] = [[]]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            strokes.append([])
            continue
        try:
            strokes[-1].append(_corner(line))
        except ValueError:
            raise PromptError(
                f'{path}, line {number}: {line[:40]!r} is not a pixel: X,Y, for example 320,240'
            ) from None
    strokes = [stroke for stroke in strokes if stroke]
    if not strokes:
        raise PromptError(f'{path} has no stroke: a line X,Y per corner is expected')
    return strokes


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """Return samples (N,) int16 and their rate of a WAV file; several channels become one.

    Raises ``PromptError``.
    """
    try:
        with wave.open(str(path)) as sound:
            channels, width, rate, count = sound.getparams()[:4]
            data = sound.readframes(count)
    except OSError as error:
        raise PromptError(f'cannot read {path}: {error.strerror}') from error
    except (EOFError, wave.Error) as error:
        raise PromptError(f'cannot read {path}: {str(error) or "cut short"}') from error
    if width != 2:
        raise PromptError(f'{path} has samples of {8 * width} bits; 16-bit WAV files can be read')
    whole = len(data) // (2 * channels)  # of a file that was cut short
    samples = np.frombuffer(data, '<i2', whole * channels).reshape(-1, channels)
    return samples.mean(axis=1).astype(np.int16), rate


def describe(answer: prompts.Answer) -> dict:
    """Return what is reported of an answer."""
    return {
        'predicted_iou': round(float(answer.predicted_iou), 6),
        'stability': round(float(answer.stability), 6),
        'area_px': answer.area,
        'box': [int(v) for v in answer.box],
        'gaze': [float(v) for v in answer.gaze],
        'score': round(float(answer.score), 6),
        'agreement': [None if a is None else round(float(a), 6) for a in answer.agreement],
        'label': answer.label,
        'label_probability': round(float(answer.label_probability), 6),
    }


def as_text(report: list[dict]) -> str:
    """Return the report of answers for people."""
    lines = []
    for number, found in enumerate(report, 1):
        left, top, width, height = found['box']
        name = f' {found["label"]}' if found['label'] else ''
        if found['label_probability']:  # words that were given have none
            name += f' ({found["label_probability"]:.2f})'
        files = ''.join(f', {kind} {path}' for kind, path in found['files'].items())
        lines.append(
            f'{number}:{name} agreement {found["score"]:.2f}, '
            f'predicted IoU {found["predicted_iou"]:.2f}, {found["area_px"]} px in a box of '
            f'{width} x {height} at ({left}, {top}){files}'
        )
    return '\n'.join(lines) or 'nothing found'


def write(arguments: argparse.Namespace, image: np.ndarray, found: list) -> list[dict]:
    """Write masks, overlay and labels as asked for; return what is reported."""
    report = []
    for number, answer in enumerate(found, 1):
        report.append(describe(answer) | {'files': {}})
        if arguments.out:
            suffix = f'_{number}' if len(found) > 1 else ''
            path = arguments.out.with_stem(arguments.out.stem + suffix)
            pictures.write(path, answer.mask(image.shape[:2]) * np.uint8(255))
            report[-1]['files']['mask'] = str(path)
    if arguments.overlay:
        shown = visualize.answers(image, found)
        _draw_words(arguments, shown)
        pictures.write(arguments.overlay, shown)
    cli_everything.write(arguments, found, image.shape[:2])
    return report


def _draw_words(arguments: argparse.Namespace, image: np.ndarray) -> None:
    """Draw what was pointed at, in place: what is meant in green, what is not in red."""
    width = visualize.line_width(image.shape[:2])
    for points, colour in ((arguments.point or (), (0, 255, 0)), (arguments.negative, (255, 0, 0))):
        for x, y in points:
            visualize.dot(image, (x, y), colour, 3 * width)
    for x, y, w, h in arguments.box:
        visualize.line(image, [(x, y), (x + w, y), (x + w, y + h), (x, y + h)], width, closed=True)
    for outline in (*arguments.polygon, *arguments.lasso):
        visualize.line(image, outline, width, closed=True)
    for paths, colour in (
        (arguments.scribble, (0, 255, 0)), (arguments.negative_scribble, (255, 0, 0)),
    ):  # fmt: skip
        for path in paths:
            for stroke in read_strokes(path):
                visualize.line(image, stroke, 2 * width, colour)
