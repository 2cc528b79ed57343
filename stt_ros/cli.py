# SPDX-License-Identifier: Apache-2.0
"""The ``stt_ros`` command: pictures, models and the demo from a terminal.

Errors are one line on stderr, ``stt_ros: error: ...``, with exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stt_ros import __version__, cli_everything, cli_prompts, pictures, window
from stt_ros.engines import DEVICES, ENGINES, PRECISIONS, EngineError
from stt_ros.errors import WeightsError
from stt_ros.foveation import SCALES
from stt_ros.prompts import PromptError


class UsageError(Exception):
    """An argument that makes no sense."""


_ERRORS = (
    UsageError, WeightsError, EngineError, PromptError, pictures.PictureError, window.WindowError,
)  # fmt: skip


# Commands with a parser of their own, in modules that need ROS.
_WITH_ROS = {'demo': 'stt_ros.ros.demo.app', 'estimate-offset': 'stt_ros.ros.estimate_offset'}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's) and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in _WITH_ROS:
            return _with_ros(*argv)
        if argv[:1] == ['eval']:
            return _eval(argv[1:])
        arguments = _parser().parse_args(cli_prompts.attach_points(argv))
        return arguments.run(arguments) or 0
    except _ERRORS as error:
        print(f'stt_ros: error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f'{message} (see {self.prog} --help)')


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog='stt_ros', description='Point at it, see its mask.')
    parser.add_argument('--version', action='version', version=f'stt_ros {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='command', required=True)

    segment = commands.add_parser('segment', help='segment what a point of a picture lies on')
    segment.add_argument('image', type=Path, help='picture file')
    segment.add_argument(
        '--point', type=cli_prompts.point, action='append', metavar='X,Y',
        help='pixel looked at, from the top-left corner; may be given several times',
    )  # fmt: skip
    segment.add_argument('--out', type=Path, metavar='MASK.png', help='write the mask (0 or 255)')
    segment.add_argument(
        '--overlay', type=Path, metavar='OVERLAY.png', help='write the picture with mask and point'
    )
    segment.add_argument(
        '--all', action='store_true',
        help='all three hypotheses, best first: mask_1.png, mask_2.png, mask_3.png; '
        'files of several points have _p1, _p2, ... in their names',
    )  # fmt: skip
    segment.add_argument('--json', action='store_true', help='print the results as JSON')
    cli_prompts.add_arguments(segment)
    _add_model_options(segment)
    segment.set_defaults(run=_segment)

    click = commands.add_parser('window', help='click on a picture, see what the network sees')
    click.add_argument('image', type=Path, help='picture file')
    click.add_argument('--show-all', action='store_true', help='show all three hypotheses')
    _add_model_options(click)
    click.set_defaults(run=_window)

    models = commands.add_parser('models', help='list the models: size, licence, where they are')
    models.set_defaults(run=_models)

    download = commands.add_parser('download', help='download published weights, print their path')
    download.add_argument('name', help='stt-b, stt-l or stt-h')
    download.add_argument('--force', action='store_true', help='even if they are already there')
    download.set_defaults(run=_download)

    export = commands.add_parser('export', help='write a model as a file for another engine')
    export.add_argument('--engine', choices=('onnx',), default='onnx', help='default: onnx')
    export.add_argument('--weights', default='default', metavar='NAME', help='name or file')
    export.add_argument('--precision', choices=('fp32', 'fp16'), default='fp32')
    export.add_argument('--out', type=Path, required=True, metavar='MODEL.onnx')
    export.set_defaults(run=_export)

    commands.add_parser('eval', help='measure prompts on true masks (see stt_ros eval --help)')
    commands.add_parser('demo', help='camera, gaze and node over ROS 2 (see stt_ros demo --help)')
    commands.add_parser(
        'estimate-offset', help="how far a tracker's clock is from the camera's, of a bag or live"
    )
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--weights', default='default', metavar='NAME',
        help='a model that `stt_ros models` lists, or the path of a weights file',
    )  # fmt: skip
    parser.add_argument('--device', default='auto', help=f'{", ".join(DEVICES)} or cuda:N')
    parser.add_argument('--precision', default='auto', choices=PRECISIONS)
    parser.add_argument('--engine', default='auto', choices=ENGINES, help='what runs the network')
    parser.add_argument(
        '--scale', type=int, default=0, choices=(0, *SCALES),
        help='pixels of the image, each way, that the network reads as one; 0: chosen by model and '
        'size of the image',
    )  # fmt: skip
    parser.add_argument(
        '--interpolation', default='bilinear', choices=('nearest', 'bilinear'),
        help='how the mask is painted: nearest as published, bilinear has smoother borders',
    )  # fmt: skip


def _segment(arguments: argparse.Namespace) -> None:
    _check_files(arguments)
    image = pictures.read(arguments.image)
    if cli_prompts.asked(arguments):
        reply = cli_prompts.answers(arguments, image, _segmenter)
        for problem in reply.problems:
            print(f'stt_ros: warning: {problem}', file=sys.stderr)
        results, as_text = cli_prompts.write(arguments, image, reply.answers), cli_prompts.as_text
    else:
        results, as_text = _results(arguments, image), _as_text
    height, width = image.shape[:2]
    report = {'image': str(arguments.image), 'width': width, 'height': height, 'results': results}
    print(json.dumps(report, indent=2) if arguments.json else as_text(results))


def _check_files(arguments: argparse.Namespace) -> None:
    if not arguments.point and not cli_prompts.asked(arguments):
        raise UsageError('nothing says what is meant: --point X,Y or another prompt (see --help)')
    for path in (arguments.out, arguments.labels, arguments.edges):
        if path:
            pictures.check_writable(path, pictures.LOSSLESS)
    if arguments.overlay:
        pictures.check_writable(arguments.overlay)
    files = [arguments.image, arguments.out, arguments.overlay, *cli_everything.files(arguments)]
    named = [path.resolve() for path in files if path is not None]
    if len(set(named)) < len(named):
        raise UsageError('the picture and the files to write must be different files')


def _results(arguments: argparse.Namespace, image: np.ndarray) -> list[dict]:
    """Segment every point and write the files; return what is reported."""
    from stt_ros.segmenter import check_inside

    try:
        for point in arguments.point:  # before a model is loaded for nothing
            check_inside(point, image.shape[:2])
    except ValueError as error:
        raise UsageError(f'--point: {error}') from error
    segmenter = _segmenter(arguments)
    results = []
    segmentations = segmenter.segment(image, arguments.point, arguments.interpolation)
    for number, segmentation in enumerate(segmentations, 1):
        of_point = f'_p{number}' if len(segmentations) > 1 else ''
        shown = segmentation.hypotheses if arguments.all else segmentation.hypotheses[:1]
        hypotheses = []
        for rank, hypothesis in enumerate(shown, 1):
            suffix = of_point + (f'_{rank}' if arguments.all else '')
            files = _write_files(arguments, image, segmentation.gaze, hypothesis, suffix)
            hypotheses.append(_describe(hypothesis) | {'files': files})
        results.append({'point': list(segmentation.gaze), 'hypotheses': hypotheses})
    return results


def _describe(hypothesis) -> dict:
    return {
        'predicted_iou': round(hypothesis.predicted_iou, 6),
        'stability': round(hypothesis.stability, 6),
        'area_px': hypothesis.area_px,
        'box': list(hypothesis.box),
    }


def _write_files(arguments, image, gaze, hypothesis, suffix: str) -> dict[str, str]:
    """Write a hypothesis's mask and overlay as asked for; return their paths."""
    from stt_ros.visualize import overlay

    files = {}
    if arguments.out:
        path = arguments.out.with_stem(arguments.out.stem + suffix)
        pictures.write(path, hypothesis.mask().astype(np.uint8) * 255)
        files['mask'] = str(path)
    if arguments.overlay:
        path = arguments.overlay.with_stem(arguments.overlay.stem + suffix)
        pictures.write(path, overlay(image, hypothesis.mask(), gaze))
        files['overlay'] = str(path)
    return files


def _as_text(results: list[dict]) -> str:
    lines = []
    for result in results:
        x, y = result['point']
        for found in result['hypotheses']:
            left, top, width, height = found['box']
            lines.append(
                f'({x:g}, {y:g}): predicted IoU {found["predicted_iou"]:.2f}, '
                f'stability {found["stability"]:.2f}, {found["area_px"]} px in a box of '
                f'{width} x {height} at ({left}, {top})'
                + ''.join(f', {kind} {path}' for kind, path in found['files'].items())
            )
    return '\n'.join(lines)


def _segmenter(arguments: argparse.Namespace):
    from stt_ros.segmenter import Segmenter

    return Segmenter.create(
        arguments.weights, arguments.device, arguments.precision, arguments.engine,
        scale=arguments.scale,
    )  # fmt: skip


def _window(arguments: argparse.Namespace) -> None:
    image = pictures.read(arguments.image)
    figure = window.open_figure(arguments.image.name, image.shape[:2], arguments.show_all)
    segmenter = _segmenter(arguments)
    window.Window(figure, segmenter, image, arguments.show_all, arguments.interpolation)
    window.wait_until_closed()


def _models(arguments: argparse.Namespace) -> None:
    from stt_ros import zoo

    for model in zoo.models():
        missing = f'not downloaded ({model.download_size}): stt_ros download {model.name}'
        print(
            f'{model.name:6}{model.parameters / 1e6:6.1f} M parameters  {model.licence:13} '
            f'{model.path or missing}' + ('  (default)' if model.name == zoo.DEFAULT else '')
        )


def _download(arguments: argparse.Namespace) -> None:
    from stt_ros import zoo

    print(zoo.weights_path(arguments.name, arguments.force))


def _eval(argv: list[str]) -> int:
    from stt_ros.evaluation import app

    parser = _Parser(prog='stt_ros eval', description='How well prompts find things.')
    app.add_commands(parser)
    arguments = parser.parse_args(argv)
    arguments.run(arguments, lambda: _segmenter(arguments))
    return 0


def _export(arguments: argparse.Namespace) -> None:
    from stt_ros.engines import onnx_export

    onnx_export.export(arguments.weights, arguments.out, arguments.precision)
    print(arguments.out)


def _with_ros(command: str, *argv: str) -> int:
    try:
        main = importlib.import_module(_WITH_ROS[command]).main
    except ImportError as error:
        raise UsageError(
            f'{command} needs ROS 2 and the messages of this package ({error}): run '
            f'./stt {command} in the repository, or source the install/setup.bash of your workspace'
        ) from error
    return main(list(argv)) or 0


if __name__ == '__main__':
    sys.exit(main())
