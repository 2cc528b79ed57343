# SPDX-License-Identifier: Apache-2.0
"""COCO's run-length code of masks, both forms, as pycocotools reads and writes it.

Pixels are counted down the columns, one column after the other; runs of 0 and 1 take turns and
the first is of 0. The compressed form writes each count, from the third on as the difference to
the count two before it, in groups of five bits, lowest first, each a printable character: bit 5
says that more follow, bit 4 of the last group is the sign.
"""

from __future__ import annotations

import numpy as np


def encode(mask: np.ndarray) -> dict:
    """Return the uncompressed form of a mask (H, W) bool: sizes [H, W] and a list of counts."""
    flat = np.concatenate([[0], np.asarray(mask, bool).ravel(order='F').view(np.int8)])
    changes = np.flatnonzero(np.diff(flat))
    ends = [0, *changes.tolist(), flat.size - 1]
    return {'size': list(mask.shape), 'counts': np.diff(ends).tolist()}


def decode(rle: dict) -> np.ndarray:
    """Return the mask (H, W) bool of either form; ``ValueError`` if the counts do not fill it."""
    counts = rle['counts']
    if isinstance(counts, (str, bytes)):
        counts = decompress(counts)
    height, width = rle['size']
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(
            f'the runs hold {sum(counts)} pixels; a mask of {width} x {height} has {height * width}'
        )
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape((height, width), order='F')


def compress(counts: list[int]) -> str:
    """Write counts as COCO's string."""
    letters = []
    for k, count in enumerate(counts):
        number = count - counts[k - 2] if k > 2 else count
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            letters.append(chr((bits | 32 if more else bits) + 48))
    return ''.join(letters)


def decompress(text: str | bytes) -> list[int]:
    """Read COCO's string; raises ``ValueError`` when it is cut off or not such a string."""
    codes = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    number = shift = 0
    for code in codes:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f'{chr(code)!r} is no character of a run-length code')
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    if shift:
        raise ValueError('the run-length code is cut off in the middle of a number')
    return counts


def encode_compressed(mask: np.ndarray) -> dict:
    """Return the compressed form of a mask (H, W) bool: {'size': [H, W], 'counts': str}."""
    rle = encode(mask)
    return {'size': rle['size'], 'counts': compress(rle['counts'])}
