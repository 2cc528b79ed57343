# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``: what every stage costs. ``python -m bench node``: the running node.
``python -m bench space``: points and rays in space, and the object's point cloud.
``python -m bench gaze``: samples of an eye tracker.

The tables go to stdout, with --json FILE to a file too; --compare OLD NEW prints two such files.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def _prefer_installed() -> None:
    """Measure the installed stt_ros, which the node runs too; the sources only if there is none."""
    kept = [entry for entry in sys.path if Path(entry or '.').resolve() != _ROOT]
    removed = len(kept) < len(sys.path)
    sys.path[:] = kept
    if removed and importlib.util.find_spec('stt_ros') is None:
        sys.path.append(str(_ROOT))


def main(argv: list[str] | None = None) -> int:
    """Run and return the exit code: 0, 1 when a measurement failed, 2 for wrong arguments."""
    arguments = _parser().parse_args(argv)
    from bench import report

    try:
        if arguments.compare:
            report.show(report.compare(*map(report.load, arguments.compare)))
            return 0
        for path in (arguments.json, arguments.plot):
            if path:
                report.check_writable(path)
        draw = _drawing(arguments.what) if arguments.plot else None
        result = _measure(arguments)
    except report.BenchError as error:
        print(f'bench: error: {error}', file=sys.stderr)
        return 1
    report.show(result)
    if arguments.json:
        report.save(result, arguments.json)
    if draw:
        draw(result, arguments.plot)
    return 0


def _drawing(what: str):
    from bench import report

    try:
        from bench import plot
    except ImportError as error:
        raise report.BenchError(
            f'--plot needs matplotlib ({error}): pip install matplotlib'
        ) from error
    if what not in plot.COLUMNS:
        raise report.BenchError(f'--plot draws {" and ".join(plot.COLUMNS)}, not {what}')
    return plot.draw


def _measure(arguments: argparse.Namespace) -> dict:
    if arguments.what == 'gaze':
        from bench import gaze

        return gaze.measure(arguments.repeats)
    if arguments.what == 'space':
        from bench import space

        return space.measure(arguments.sizes or space.SIZES, arguments.repeats)
    with tempfile.TemporaryDirectory(prefix='stt_bench_') as folder:
        from bench import scene

        names = arguments.weights or ['default']
        models = [scene.weights(name, arguments.random, Path(folder)) for name in names]
        if arguments.what == 'node':
            from bench import node

            return node.measure(
                *models[0],
                arguments.sizes or [(854, 480), (1280, 720)],
                arguments.rates,
                arguments.transport,
                60 * arguments.minutes if arguments.minutes else arguments.seconds,
                Path(folder),
            )
        from bench import stages

        sizes = arguments.sizes or stages.SIZES
        return stages.measure(
            {label: weights for weights, label in models},
            arguments.engines,
            arguments.device,
            sizes,
            arguments.repeats,
            arguments.threads,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m bench', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        'what', nargs='?', choices=('stages', 'node', 'space', 'gaze'), default='stages',
        help='default: stages',
    )  # fmt: skip
    parser.add_argument(
        '--weights', nargs='+', metavar='NAME', help='model names or files; default: default'
    )
    parser.add_argument(
        '--random', action='store_true', help='random weights: needs no file and costs the same'
    )
    parser.add_argument('--sizes', type=_size, nargs='+', metavar='WxH', help='of the images')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='draw the figures as a PNG')
    parser.add_argument('--compare', type=Path, nargs=2, metavar=('OLD', 'NEW'), help='print both')
    group = parser.add_argument_group('stages')
    group.add_argument(
        '--engines', nargs='+', metavar='NAME', help='default: all that are installed'
    )
    group.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:N or auto')
    group.add_argument('--repeats', type=_count, default=30, help='default: 30')
    group.add_argument(
        '--threads', type=int, default=0, help='of the network; default 0: a core is left free'
    )
    group = parser.add_argument_group('node')
    group.add_argument(
        '--rates', type=_positive, nargs='+', default=[15.0, 30.0, 60.0, 120.0], metavar='HZ',
        help='of the camera; default: 15 30 60 120',
    )  # fmt: skip
    group.add_argument(
        '--transport', choices=('raw', 'compressed'), default='raw', help='default: raw'
    )
    group.add_argument('--seconds', type=_positive, default=10.0, help='per case; default: 10')
    group.add_argument('--minutes', type=_positive, help='instead; 5 show whether the memory grows')
    return parser


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'(\d+)x(\d+)', text)
    if not found or '0' in found.groups():
        raise argparse.ArgumentTypeError(f'{text!r} is not a size: WxH, for example 1280x720')
    return int(found[1]), int(found[2])


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
    return value


if __name__ == '__main__':
    _prefer_installed()
    sys.exit(main())
