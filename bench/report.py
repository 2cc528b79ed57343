# SPDX-License-Identifier: Apache-2.0
"""Figures as tables and files, and two files compared.

A result is ``{'bench', 'environment', 'tables': {title: [row, ...]}}``. In a row texts say what was
measured and numbers what came out (None: could not be).
"""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


class BenchError(RuntimeError):
    """Something could not be measured, read or written; the text says what."""


def environment(**more: str) -> dict[str, str]:
    """Return where and with what is being measured."""
    return {
        'date': time.strftime('%Y-%m-%d %H:%M:%S'),
        'processor': f'{_processor()}, {len(os.sched_getaffinity(0))} cores',
        'load': ' '.join(f'{load:.1f}' for load in os.getloadavg()),
        'versions': ', '.join(
            f'{name} {_version(*packages)}'
            for name, packages in {
                'torch': ('torch',),
                'numpy': ('numpy',),
                'opencv': ('opencv-python-headless', 'opencv-python'),
            }.items()
        )
        + f', Python {platform.python_version()}',
        **more,
    }


def show(result: dict) -> None:
    """Print a result."""
    for name, value in result['environment'].items():
        print(f'{name:10} {value}')
    for title, rows in result['tables'].items():
        print(f'\n{title}')
        print(table(rows))


def table(rows: list[dict]) -> str:
    """Write rows of equal keys, texts to the left and numbers to the right."""
    lines = [[str(key) for key in rows[0]], *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = [all(isinstance(row[key], str) for row in rows) for key in rows[0]]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )


def check_writable(path: Path) -> None:
    """Raise ``BenchError`` before the work is done if its result cannot be written."""
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise BenchError(f'cannot write {path}')


def save(result: dict, path: Path) -> None:
    """Write a result as JSON."""
    path.write_text(json.dumps(result, indent=1) + '\n')


def load(path: Path) -> dict:
    """Read a result. Raises ``BenchError`` if the file is none."""
    try:
        result = json.loads(path.read_text())
        result['bench'], result['environment'], result['tables'].items()
    except OSError as error:
        raise BenchError(f'cannot read {path}: {error.strerror}') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f'{path} was not written by --json') from error
    return result


def compare(old: dict, new: dict) -> dict:
    """Return a result with the figures that two results have in common, side by side.

    Raises ``BenchError`` if there are none.
    """
    tables = {}
    for title in old['tables']:
        before, after = (_figures(result['tables'].get(title, [])) for result in (old, new))
        rows = [
            {**dict(key), 'old': value, 'new': after[key], 'new / old': _ratio(value, after[key])}
            for key, value in before.items()
            if key in after
        ]
        if rows:
            tables[title] = rows
    if not tables:
        raise BenchError('the two files have no figure in common')
    names = {**old['environment'], **new['environment']}
    environment = {
        name: ' -> '.join(dict.fromkeys(r['environment'].get(name, '-') for r in (old, new)))
        for name in names
    }
    return {'bench': 'compare', 'environment': environment, 'tables': tables}


def _figures(rows: list[dict]) -> dict[tuple, float]:
    """Return every number of a table by what it is: the texts of its row, and its column."""
    return {
        (*((k, v) for k, v in row.items() if isinstance(v, str)), ('figure', name)): value
        for row in rows
        for name, value in row.items()
        if isinstance(value, (int, float))
    }


def _ratio(old: float, new: float) -> float | None:
    return round(new / old, 3) if old else None


def _text(value) -> str:
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'
    return '-' if value is None else str(value)


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.split(': ', 1)[1] for line in lines if line.startswith('model name'))
    except (OSError, StopIteration, IndexError):
        return platform.machine()


def _version(*packages: str) -> str:
    """Return the version of the first of these packages that is installed."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return '(of the system)'
