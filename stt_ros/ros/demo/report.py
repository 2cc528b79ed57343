# SPDX-License-Identifier: Apache-2.0
"""The pictures of a finished run: a video with the masks, a contact sheet, one moment in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from stt_ros import visualize
from stt_ros.foveation import FoveationPattern
from stt_ros.prompts.region import Region
from stt_ros.ros.demo.record import Found, Moment
from stt_ros.ros.demo.shots import InputError
from stt_ros.ros.demo.summary import hypothesis_mask, scores
from stt_ros.ros.images import to_frame
from stt_ros.segmenter import look

COLUMNS, ROWS = 4, 3
_TILE_WIDTH, _GAP = 480, 8  # pixels
_GROUND, _INK = (250, 250, 250), (40, 40, 40)

Moments = Sequence[tuple[int, Moment]]


def draw(moment: Moment, width: int | None = None, found: Found | None = None) -> np.ndarray:
    """Return a moment's image (H, W, 3) uint8 RGB with its best mask and gaze, if it has them.

    Of an answer to prompts all masks are shown instead, ``found`` if it has none of its own.
    ``width`` is the one to scale it to, in pixels.
    """
    pixels = to_frame(moment.image).rgb()
    full_width = pixels.shape[1]
    size = _scaled(pixels, width or full_width)
    pixels = np.ascontiguousarray(pixels)
    if size != pixels.shape[1::-1]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    found = moment.found or found
    if found:
        return visualize.answers(pixels, _regions(found, size))
    if moment.result is None:
        return pixels
    mask = hypothesis_mask(moment.result)
    if mask is not None:
        mask = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    out = visualize.overlay(pixels, mask)
    gaze, scale = moment.result.gaze, size[0] / full_width
    visualize.draw_gaze(out, (gaze.x * scale, gaze.y * scale), max(2, round(size[1] / 200)))
    return out


@lru_cache(maxsize=2)  # a video shows the same answer again and again
def _regions(found: Found, size: tuple[int, int]) -> list[Region]:
    """Return what each mask shows of itself in a picture of a size (W, H)."""
    labels = cv2.resize(found.labels(), size, interpolation=cv2.INTER_NEAREST)
    return [Region.of_mask(labels == k) for k in range(1, found.count + 1)]


def _scaled(pixels: np.ndarray, width: int) -> tuple[int, int]:
    return width, max(1, round(pixels.shape[0] * width / pixels.shape[1]))


def caption(moment: Moment) -> str:
    """Write a moment's scores."""
    if moment.result is None:
        return 'no result'
    if not moment.result.hypotheses:
        return 'nothing found'
    if moment.found and moment.found.count > 1:
        return f'{moment.found.count} masks'
    text = f'IoU predicted {moment.result.hypotheses[0].predicted_iou:.2f}'
    found = scores(moment)
    return text + (f', true {found[0]:.2f}' if found else '')


def captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with a strip of text below it."""
    height, width = pixels.shape[:2]
    scale = min(width, 800) / _TILE_WIDTH
    strip = np.full((round(30 * scale), width, 3), _GROUND, np.uint8)
    at = (round(4 * scale), round(21 * scale))
    cv2.putText(strip, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.58 * scale, _INK, 1, cv2.LINE_AA)
    return np.vstack([pixels, strip])


def write_video(path: Path, moments: Moments, tick: Callable[[], None] = lambda: None) -> int:
    """Write every image that was received into an mp4; return how many.

    The rate is that of the stamps. Answers to prompts stay until the next one. ``tick`` is called
    after each. Raises ``InputError`` when the video cannot be written.
    """
    shown = [(stamp, moment) for stamp, moment in moments if moment.image is not None]
    video, size, last = None, (0, 0), None
    for stamp, moment in shown:
        if moment.found:
            last = stamp, moment
        pixels = _held(stamp, moment, *last) if last else captioned(draw(moment), caption(moment))
        if video is None:
            size = pixels.shape[1] // 2 * 2, pixels.shape[0] // 2 * 2  # the codec wants even ones
            video = _open_video(path, _rate(shown), size)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        if pixels.shape[1::-1] != size:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        video.write(pixels)
        tick()
    if video is not None:
        video.release()
    return len(shown)


def _held(stamp: int, moment: Moment, before: int, last: Moment) -> np.ndarray:
    """Return a moment (H, W, 3) with an answer to prompts of the same time or before (ns)."""
    age = f', seen {(stamp - before) * 1e-9:.2f} s before' if stamp > before else ''
    return captioned(draw(moment, found=last.found), caption(last) + age)


def _open_video(path: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, size)
    if not video.isOpened():
        raise InputError(f'cannot write {path}: OpenCV has no MPEG-4 encoder here, or no access')
    return video


def _rate(shown: Moments) -> float:
    """Return the median rate of the stamps in Hz."""
    steps = np.diff([stamp for stamp, _ in shown])
    return float(np.clip(1e9 / np.median(steps), 1, 1000)) if len(steps) else 25.0


def contact_sheet(moments: Moments) -> np.ndarray | None:
    """Return segmented images, evenly taken from the whole run, as one picture (H, W, 3) RGB."""
    shown = [(s, m) for s, m in moments if m.image is not None and m.result is not None]
    if not shown:
        return None
    count = min(COLUMNS * ROWS, len(shown))
    picks = np.linspace(0, len(shown) - 1, count).round().astype(int)
    start = moments[0][0]
    tiles = [_tile(shown[k][1], (shown[k][0] - start) * 1e-9) for k in picks]
    height = max(tile.shape[0] for tile in tiles) + _GAP
    width, rows = _TILE_WIDTH + _GAP, -(-count // COLUMNS)
    columns = min(count, COLUMNS)
    sheet = np.full((rows * height + _GAP, columns * width + _GAP, 3), _GROUND, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // COLUMNS * height + _GAP, k % COLUMNS * width + _GAP
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def steps(moments: Moments, pattern: FoveationPattern) -> np.ndarray | None:
    """Return the best moment as image and gaze, what a network sees, and mask, (H, W, 3) RGB."""
    done = [m for _, m in moments if m.image is not None and m.result and m.result.hypotheses]
    if not done:
        return None
    # By the human masks where there are any, else by what the network thinks of itself.
    best = max(done, key=lambda m: (scores(m) or [m.result.hypotheses[0].predicted_iou])[0])
    frame = to_frame(best.image)
    image = np.ascontiguousarray(frame.rgb())
    gaze = best.result.gaze.x, best.result.gaze.y
    [view], _, valid = look(frame, [gaze], pattern, pattern.scale_for(frame.size))
    seen = view.picture()
    looking = visualize.overlay(image, None, gaze)
    many = best.found is not None and best.found.count > 1
    which = 'one of the gazes' if many else 'a gaze'
    panels = [
        captioned(_shrunk(looking), f'a camera image and {which}'),
        captioned(_shrunk(seen), f'what the network reads: {valid.sum()} tokens'),
        captioned(_shrunk(draw(best)), caption(best)),
    ]
    gap = np.full((len(panels[0]), _GAP, 3), _GROUND, np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, _scaled(pixels, _TILE_WIDTH), interpolation=cv2.INTER_AREA)


def _tile(moment: Moment, seconds: float) -> np.ndarray:
    return captioned(draw(moment, _TILE_WIDTH), f'{seconds:.1f} s   {caption(moment)}')
