# SPDX-License-Identifier: Apache-2.0
"""Masks for photographs that have none, by networks: what stands out (ISNet), everything (SAM 2).

    python -m training.label OUT --model FOLDER SOURCES... --keep training/photographs.txt
    python -m training.label OUT --sam FOLDER SOURCES... --keep training/pictures.txt
    python -m training.label OUT --masks training/masks.json.xz SOURCES...

Sources are pictures, folders of them, or Qt resource files (.rcc) with pictures inside. OUT gets
``images/``, ``annotations.json`` (COCO format, for ``training.train --coco``) and ``sheet.jpg`` to
be looked at: write the names of the good ones into a file and run it again with ``--keep``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from stt_ros.prompts import rle
from training.sam import Sam, everything

SIDE = 1024  # of the network's input
LONGEST = 1200  # pixels that are kept of a picture
EMBEDDED = re.compile(rb'RIFF....WEBP|\xff\xd8\xff[\xe0\xe1\xdb]', re.DOTALL)
TILE = (260, 210)


def photographs(source: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pictures of a file or folder: a name that stays the same, and BGR (H, W, 3)."""
    if source.is_dir():
        for path in sorted(source.rglob('*')):
            if path.suffix.lower() in ('.jpg', '.jpeg', '.webp', '.png', '.rcc'):
                yield from photographs(path)
        return
    data = source.read_bytes()
    pieces = [data]
    if source.suffix == '.rcc':
        pieces = [data[match.start() :] for match in EMBEDDED.finditer(data)]
    for piece in pieces:
        if piece[:4] == b'RIFF':
            piece = piece[: 8 + int.from_bytes(piece[4:8], 'little')]
        picture = cv2.imdecode(np.frombuffer(piece, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.shape[2:] != (3,) or picture.size < 3 * 150**2:
            continue
        small = min(1, LONGEST / max(picture.shape[:2]))
        picture = cv2.resize(picture, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
        digest = hashlib.sha1(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA))
        yield f'{source.stem}_{digest.hexdigest()[:8]}', picture


class Salience:
    """What stands out in a picture, by ISNet (Qin et al., ECCV 2022) in ONNX Runtime."""

    def __init__(self, model: Path) -> None:
        """Load an .onnx file or the folder ``dist`` of npm's @imgly/background-removal-data."""
        import onnxruntime

        if model.is_dir():
            parts = json.loads((model / 'resources.json').read_text())['/models/medium']['chunks']
            data = b''.join((model / part['hash']).read_bytes() for part in parts)
        else:
            data = model.read_bytes()
        self.session = onnxruntime.InferenceSession(data)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return for each pixel of a BGR picture (H, W, 3) how sure it stands out, in [0, 1]."""
        square = cv2.resize(picture, (SIDE, SIDE))[..., ::-1].astype(np.float32)
        batch = ((square - 128) / 256).transpose(2, 0, 1)[None]
        found = self.session.run(None, {self.session.get_inputs()[0].name: batch})[0]
        return cv2.resize(found.reshape(SIDE, SIDE), picture.shape[1::-1]).clip(0, 1)


def things(sure: np.ndarray) -> list[np.ndarray]:
    """Return the masks (H, W) bool of what stands out clearly, one connected piece each.

    None if there are more than five: then it is a texture or a crowd.
    """
    inside = cv2.morphologyEx((sure > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    count, label, stats, _ = cv2.connectedComponentsWithStats(inside)
    areas, unsure = stats[1:, cv2.CC_STAT_AREA], (sure > 0.16) & (sure < 0.84)
    found = []
    for k, area in enumerate(areas, 1):
        if not max(0.004 * sure.size, 0.12 * areas.max()) <= area <= 0.7 * sure.size:
            continue
        piece = label == k
        around = cv2.dilate(piece.astype(np.uint8), np.ones((9, 9))) > 0
        if sure[piece].mean() >= 0.88 and np.count_nonzero(unsure & around) <= 0.25 * area:
            found.append(piece)
    return found if len(found) <= 5 else []


def tile(name: str, picture: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """Return a small picture with what was found bright and outlined."""
    bright = np.any(masks, axis=0)[..., None]
    shown = cv2.resize(np.where(bright, picture, picture // 3), TILE, interpolation=cv2.INTER_AREA)
    for mask in masks:
        small = cv2.resize(mask.astype(np.uint8), TILE)
        outlines = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(shown, outlines, -1, (0, 0, 255), 1)
    return cv2.putText(shown, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 255, 255))


def known(path: Path) -> dict[str, list[dict]]:
    """Return the run lengths of an ``annotations.json``, packed by xz, by the pictures' names."""
    table = json.loads(lzma.decompress(path.read_bytes()))
    names = {image['id']: Path(image['file_name']).stem for image in table['images']}
    found: dict[str, list[dict]] = {name: [] for name in names.values()}
    for annotation in table['annotations']:
        found[names[annotation['image_id']]].append(annotation['segmentation'])
    return found


def finder(args: argparse.Namespace) -> Callable[[str, np.ndarray], list[np.ndarray]]:
    """Return what finds the masks of a picture by its name and itself."""
    if args.masks:
        table = known(args.masks)
        return lambda name, picture: [rle.decode(lengths) for lengths in table.get(name, ())]
    if args.model:
        salience = Salience(args.model)
        return lambda name, picture: things(salience(picture))
    sam = Sam(args.sam)
    return lambda name, picture: everything(sam, picture, np.random.default_rng(0))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('out', type=Path)
    p.add_argument('sources', type=Path, nargs='+')
    network = p.add_mutually_exclusive_group(required=True)
    network.add_argument('--model', type=Path, help='what stands out: ' + Salience.__init__.__doc__)
    network.add_argument('--sam', type=Path, help='everything: ' + Sam.__init__.__doc__)
    network.add_argument('--masks', type=Path, help='none: an annotations.json.xz from before')
    p.add_argument('--keep', type=Path, help='a file of names: only these')
    args = p.parse_args()
    wanted = args.keep and set(args.keep.read_text().split())
    find = finder(args)
    table, tiles = {'images': [], 'annotations': []}, []
    (args.out / 'images').mkdir(parents=True, exist_ok=True)
    seen = set()
    for name, picture in tqdm(each for source in args.sources for each in photographs(source)):
        if name in seen or (wanted and name not in wanted):
            continue
        seen.add(name)
        masks = find(name, picture)
        if not masks:
            continue
        file, number = f'{name}.jpg', len(table['images'])
        cv2.imwrite(str(args.out / 'images' / file), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        size = dict(zip(('height', 'width'), picture.shape[:2], strict=True))
        table['images'].append({'id': number, 'file_name': file, **size})
        table['annotations'] += [
            {'image_id': number, 'segmentation': rle.encode_compressed(mask)} for mask in masks
        ]
        tiles.append(tile(name, picture, masks))
    (args.out / 'annotations.json').write_text(json.dumps(table))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 8)
    rows = [np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)]
    cv2.imwrite(str(args.out / 'sheet.jpg'), np.vstack(rows))
    print(f'{len(table["images"])} pictures, {len(table["annotations"])} things in {args.out}')


if __name__ == '__main__':
    main()
