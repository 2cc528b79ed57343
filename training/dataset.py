# SPDX-License-Identifier: Apache-2.0
"""Training samples as the network sees them, and a ring of them in shared memory.

Drawing workers keep overwriting the oldest samples of the ring while the trainer reads random
ones, so the trainer never waits: when drawing is slow, a sample is seen more often (each time
mirrored or not and in another light), when it is fast, less often.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stt_ros.foveation import FoveationPattern
from training import scenes
from training.bank import Bank

PATTERN = FoveationPattern.standard()
T = PATTERN.token_size
N = PATTERN.num_tokens


def _token_boxes() -> np.ndarray:
    """(N, 3): left, top (from the crop origin) and stride of each token, in pixels."""
    rows = []
    for level in PATTERN.levels:
        side = T * level.stride
        rows += [
            (level.offset + c * side, level.offset + r * side, level.stride)
            for r, c in zip(level.rows, level.cols, strict=True)
        ]
    return np.array(rows)


def _mirror() -> np.ndarray:
    """(N,): where each token's mirror image (left to right) is in the order of tokens."""
    place = {(x + T * s / 2, y): i for i, (x, y, s) in enumerate(BOXES)}
    return np.array([place[(PATTERN.receptive_field - x - T * s / 2, y)] for x, y, s in BOXES])


ALSO = 2  # further targets of a gaze: the whole of a part, the part of a whole
FIRST = 4000  # samples that are drawn without pausing, so that training can begin

BOXES = _token_boxes()
MIRROR = _mirror()

RECORD = np.dtype(
    [
        ('tokens', np.uint8, (N, 3, T, T)),
        ('target', np.uint8, (N, T, T)),
        ('also', np.uint8, (ALSO, N, T, T)),
        ('further', np.uint8),  # how many of them there are
        ('valid', bool, (N,)),
        ('widths', np.uint8, (N, T)),
        ('heights', np.uint8, (N, T)),
        ('kind', np.uint8),
        ('ready', np.uint8),
    ]
)


def spans(origin: int, axis: int, length: int) -> np.ndarray:
    """Pixels inside the image of each cell's columns (axis 0) or rows (axis 1): (N, T) uint8."""
    edges = origin + BOXES[:, axis, None] + BOXES[:, 2, None] * np.arange(T + 1)
    return np.diff(np.clip(edges, 0, length), axis=1).astype(np.uint8)


def sample(
    image: np.ndarray,
    mask: np.ndarray,
    at: tuple[float, float],
    kind: int = 0,
    also: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Foveate an image and its targets around a gaze; a target is 255 * area fraction.

    ``also`` are up to ALSO other masks (H, W) that the same gaze could mean.
    """
    record = np.zeros((), RECORD)
    height, width = mask.shape
    record['tokens'], record['valid'] = PATTERN.foveate(image, at)
    record['target'] = PATTERN.foveate(mask, at, filler=(0,))[0][:, 0]
    ox, oy = PATTERN.crop_origin(at)
    record['widths'], record['heights'] = spans(ox, 0, width), spans(oy, 1, height)
    for place, other in zip(record['also'], also, strict=False):
        place[:] = PATTERN.foveate(other, at, filler=(0,))[0][:, 0]
    record['further'] = min(len(also), ALSO)
    record['kind'] = kind
    return record


@dataclass(frozen=True)
class Mix:
    """Shares of views of real pictures, and of real ground and real things in compositions."""

    first: float = 0.0  # picture-book scenes to begin with
    real: float = 0.5  # of the others
    ground_real: float = 0.5
    things_real: float = 0.7
    per_scene: int = 5


def stream(rng: np.random.Generator, bank: Bank, mix: Mix):
    """Endless records; ``kind`` 2 for picture-book scenes, 1 for real pictures, 0 else."""
    while True:
        kind = int(bool(bank.pictures) and rng.random() < mix.real)
        if rng.random() < mix.first:
            kind, scene = 2, scenes.first_scene(rng, mix.per_scene)
        elif kind:
            scene = scenes.real_scene(rng, bank, 3 * mix.per_scene)
        else:
            scene = scenes.composed_scene(
                rng, bank, mix.per_scene, mix.ground_real, mix.things_real
            )
        repeats = 2 if len(scene.targets) < 3 else 1
        for mask in scene.targets[: mix.per_scene]:
            for _ in range(repeats):
                at = scenes.aim(rng, mask)
                yield sample(scene.image, mask, at, kind, scenes.also_at(scene, mask, at))


class Ring:
    """A file of records (put it on /dev/shm) shared between drawing workers and the trainer."""

    def __init__(self, path: Path, slots: int | None = None):
        self.path = Path(path)
        if slots is not None and (
            not self.path.exists() or self.path.stat().st_size != slots * RECORD.itemsize
        ):
            with open(self.path, 'wb') as file:
                file.truncate(slots * RECORD.itemsize)
        self.slots = np.memmap(self.path, RECORD, 'r+')

    def put(self, index: int, record: np.ndarray):
        slot = self.slots[index : index + 1]
        slot['ready'] = 0
        for name in RECORD.names[:-1]:
            slot[name] = record[name]
        slot['ready'] = 1

    def ready(self) -> np.ndarray:
        """Indices of filled slots."""
        return np.flatnonzero(self.slots['ready'])


def draw_forever(
    path: Path,
    bank: Bank,
    mix: Mix,
    worker: int,
    workers: int,
    seed: int,
    pause: float,
    parent: int,
):
    """One drawing worker: fills every ``workers``-th slot, over and over; ends with its parent.

    ``pause`` is the idle time after each sample as a multiple of the time it took, once the
    first samples are there (0 = as fast as it can).
    """
    ring = Ring(path)
    rng = np.random.default_rng([seed, worker, int(time.time())])
    places = np.arange(worker, len(ring.slots), workers)
    samples = stream(rng, bank, mix)
    while True:
        for index in places:
            start, enough = time.perf_counter(), index >= FIRST or bool(ring.slots[index]['ready'])
            ring.put(index, next(samples))
            if enough and pause:
                time.sleep((time.perf_counter() - start) * pause)
            if os.getppid() != parent:
                return
