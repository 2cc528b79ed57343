# SPDX-License-Identifier: Apache-2.0
"""What everything-mode found, written as SAM's users know it, or as one label image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from stt_ros.prompts import rle
from stt_ros.prompts.base import Answer, PromptError
from stt_ros.prompts.everything import Found
from stt_ros.prompts.region import Region

FORMS = ('binary_mask', 'uncompressed_rle', 'coco_rle')


def record(found: Found | Answer, size: tuple[int, int], form: str = 'binary_mask') -> dict:
    """Return a mask of a frame (H, W) as SAM's automatic mask generator does.

    Keys: ``segmentation`` ((H, W) bool, or COCO's run-length code, see ``FORMS``), ``area``
    (pixels), ``bbox`` and ``crop_box`` [x, y, width, height], ``predicted_iou``,
    ``point_coords`` [[x, y]], ``stability_score``. All but a bitmap can be written as JSON.
    Raises ``PromptError`` for another form.
    """
    if form not in FORMS:
        raise PromptError(f'output form is {form!r}; allowed: {", ".join(FORMS)}')
    mask = found.mask(size)
    coded = {'binary_mask': lambda m: m, 'uncompressed_rle': rle.encode}
    return {
        'segmentation': coded.get(form, rle.encode_compressed)(mask),
        'area': found.area,
        'bbox': list(found.box),
        'predicted_iou': found.predicted_iou,
        'point_coords': [list(found.gaze)],
        'stability_score': found.stability,
        'crop_box': list(found.crop_box or (0, 0, size[1], size[0])),
    }


def cover(found: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
    """Give every pixel of a frame (H, W) to exactly one mask: a label image (H, W) int32.

    Label k is ``found[k - 1]``. Where masks overlap the first has the pixel, where there is none
    the nearest; a mask wholly under earlier ones has no pixel. All 0 when nothing was found.
    """
    labels = np.zeros(size, np.int32)
    for k in range(len(found) - 1, -1, -1):
        x, y, width, height = found[k].box
        labels[y : y + height, x : x + width][found[k].crop] = k + 1
    if not labels.any() or labels.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.int32)
    taken = labels > 0
    table[nearest[taken]] = labels[taken]
    return table[nearest]
