# SPDX-License-Identifier: Apache-2.0
"""How good a model is on real frames: one gaze at the most interior point, native resolution.

The full path: foveate, network, paint (bilinear) at the frame's resolution, compare with the mask.

    python -m training.evaluate WEIGHTS --clips FOLDER... [--pack FOLDER...] [--sheet PNG]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from stt_ros.foveation import FoveationPattern
from stt_ros.frame import Frame
from stt_ros.masks import interior_point, iou
from stt_ros.model import normalise
from stt_ros.segmenter import look
from training import data, real, scenes
from training.bank import Bank

PATTERN = FoveationPattern.standard()
SIZES = ((0, 32), (32, 96), (96, 192), (192, 10**6))  # sqrt of the area in px


@torch.inference_mode()
def segment(model, image: np.ndarray, at) -> tuple[np.ndarray, np.ndarray]:
    """Masks (3, H, W) bool and predicted IoUs (3,) for one gaze in an RGB image."""
    scale = model.config.pattern.scale_for(image.shape[:2])
    [view], tokens, valid = look(Frame(image), [at], PATTERN, scale)
    logits, ious = model(normalise(torch.from_numpy(tokens)), torch.from_numpy(valid))
    logits = logits[0].float().numpy()
    masks = [view.paint(hypothesis, 'bilinear') > 0 for hypothesis in logits]
    return np.stack(masks), ious[0].float().numpy()


def judge(model, group: str, pictures, smallest: float = 0) -> list[dict]:
    """One row per object: predicted and true IoUs of the three hypotheses, size, where it is."""
    rows = []
    for picture in pictures:
        for k in range(len(picture.objects)):
            mask = picture.mask(k)
            truth = mask > 127
            if not truth.any() or truth.sum() < smallest**2:
                continue
            at = interior_point(truth)
            found, predicted = segment(model, picture.image, at)
            rows.append(
                {
                    'group': group,
                    'name': picture.name,
                    'object': k,
                    'gaze': at,
                    'size': float(truth.sum() ** 0.5),
                    'predicted': predicted.tolist(),
                    'true': [iou(m, truth) for m in found],
                }
            )
    return rows


def summary(rows: list[dict]) -> dict:
    """Mean best-of-three and top-ranked IoU, and how predicted and true IoU correlate."""
    if not rows:
        return {}
    true = np.array([r['true'] for r in rows])
    predicted = np.array([r['predicted'] for r in rows])
    top = true[np.arange(len(rows)), predicted.argmax(1)]
    r = np.corrcoef(predicted.ravel(), true.ravel())[0, 1] if len(rows) > 1 else float('nan')
    r_top = np.corrcoef(predicted.max(1), top)[0, 1] if len(rows) > 1 else float('nan')
    return {
        'objects': len(rows),
        'best_of_three': float(true.max(1).mean()),
        'top_ranked': float(top.mean()),
        'pearson_r': float(r),
        'pearson_r_top': float(r_top),
        'failed': float((true.max(1) < 0.25).mean()),
    }


def table(rows: list[dict]) -> dict[str, dict]:
    """Summaries per group, per object size, and the mean of the groups."""
    groups = {
        g: summary([r for r in rows if r['group'] == g])
        for g in dict.fromkeys(r['group'] for r in rows)
    }
    for low, high in SIZES:
        part = [r for r in rows if low <= r['size'] < high]
        if part:
            groups[f'size {low}-{high if high < 10**6 else ""} px'] = summary(part)
    return groups


DRAWN = ('picture-book scenes', 'composed scenes')


def judge_drawn(model, count: int) -> dict[str, list[dict]]:
    """Rows of ``count`` drawn scenes of each kind; no kind for a count of 0."""
    return {kind: judge(model, kind, drawn(kind, count), 16) for kind in DRAWN if count}


def drawn(kind: str, count: int, seed: int = 10**6) -> list[real.Picture]:
    """``count`` scenes of the generator, from seeds that training never used."""
    pictures = []
    for k in range(count):
        rng = np.random.default_rng(seed + k)
        if kind == DRAWN[0]:
            scene = scenes.first_scene(rng, 5)
        else:
            scene = scenes.composed_scene(rng, Bank(), 5)
        pictures.append(real.Picture(scene.image, scene.targets, f'{kind} {k}'))
    return pictures


def contact_sheet(
    model, rows: list[dict], frames: dict, path: Path, each: int = 4, width: int = 320
):
    """PNG of worst, median and best rows: outline white, best mask red, top-ranked blue."""
    order = sorted(rows, key=lambda r: max(r['true']))
    middle = len(order) // 2
    picked = [
        spread(order[: len(order) // 4], each),
        order[middle - each // 2 : middle - each // 2 + each],
        spread(order[-len(order) // 4 :], each),
    ]
    tiles = [
        np.hstack([_tile(model, r, frames[r['name']], width) for r in line])
        for line in picked
        if line
    ]
    cv2.imwrite(str(path), np.vstack([t for t in tiles if t.shape == tiles[0].shape]))


def spread(rows: list, count: int) -> list:
    """``count`` rows evenly spread over a list, so that one sequence does not fill the sheet."""
    return [rows[int(i)] for i in np.linspace(0, len(rows) - 1, count)] if rows else []


def _tile(model, row, picture, width):
    image = picture.image
    masks, predicted = segment(model, image, row['gaze'])
    best, top = int(np.argmax(row['true'])), int(np.argmax(predicted))
    shown = image.copy()
    shown[masks[top]] = shown[masks[top]] * 0.5 + np.array([0, 60, 127])
    shown[masks[best]] = shown[masks[best]] * 0.5 + np.array([127, 0, 0])
    truth = (picture.mask(row['object']) > 127).astype(np.uint8)
    outline = cv2.findContours(truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(shown, outline, -1, (255, 255, 255), 2)
    cv2.circle(shown, row['gaze'], 6, (255, 255, 0), -1)
    height = int(width * 9 / 16)
    scale = min(width / shown.shape[1], height / shown.shape[0])
    shown = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[
        :height, :width
    ]
    tile = np.zeros((height, width, 3), np.uint8)
    tile[: shown.shape[0], : shown.shape[1]] = shown
    text = f'best {row["true"][best]:.2f}  top {row["true"][top]:.2f} (said {predicted[top]:.2f})'
    cv2.putText(
        tile, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.ascontiguousarray(tile[..., ::-1])


def print_table(groups: dict[str, dict]):
    print(f'{"":>16} objects  best3    top      r  r(top)  failed')
    for name, s in groups.items():
        print(
            f'{name:>16} {s["objects"]:7d}  {s["best_of_three"]:.3f}  {s["top_ranked"]:.3f}'
            f'  {s["pearson_r"]:5.2f}'
            f'  {s["pearson_r_top"]:5.2f}  {s["failed"]:.2f}'
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'weights', type=Path, help='.safetensors file or a trainer checkpoint (.pt)'
    )
    parser.add_argument(
        '--clips', type=Path, nargs='*', default=[], help='folders with frames/ and masks/'
    )
    parser.add_argument(
        '--pack', type=Path, nargs='*', default=[], help='packs; their held-out pictures are judged'
    )
    parser.add_argument(
        '--scenes', type=int, default=0, help='judge so many drawn scenes of each kind too'
    )
    parser.add_argument('--every', type=int, default=1, help='use every n-th frame')
    parser.add_argument('--sheet', type=Path, help='write a contact sheet of the clips here')
    parser.add_argument('--json', type=Path, help='write the table here')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from training.export import load_any

    model = load_any(args.weights)
    rows, frames = [], {}
    for folder in args.clips:
        pictures = real.davis(folder, args.every)
        frames.update((p.name, p) for p in pictures)
        rows += judge(model, folder.name, pictures)
    clips = len(rows)
    rows_pack = (
        judge(model, 'held-out objects', data.held_out(args.pack), smallest=16) if args.pack else []
    )
    groups = table(rows + rows_pack)
    groups |= {kind: summary(found) for kind, found in judge_drawn(model, args.scenes).items()}
    if clips:
        groups['all clips'] = summary(rows)
    print_table(groups)
    if args.json:
        args.json.write_text(json.dumps(groups, indent=1) + '\n')
    if args.sheet and clips:
        contact_sheet(model, rows, frames, args.sheet)


if __name__ == '__main__':
    main()
