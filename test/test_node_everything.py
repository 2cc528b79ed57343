# SPDX-License-Identifier: Apache-2.0
"""Everything-mode over DDS, and its parameters."""

import cv2
import numpy as np
from prompt_messages import DISK, INSIDE, ask, labels_of, mask_of, prompt
from ros_messages import picture
from stt_ros.msg import PromptArray

from stt_ros.prompts.ask import Options
from stt_ros.ros.parameters import BY_NAME

PIXELS = picture(120, 160)
EVERYTHING = prompt('EVERYTHING')
ALL = PromptArray.ALL_INSTANCES


def test_everything(bench):
    answer = ask(bench, EVERYTHING, mode=ALL)
    assert answer.success
    masks = [mask_of(result) for result in answer.results]
    assert max((m & INSIDE).sum() / (m | INSIDE).sum() for m in masks) > 0.7
    labels = labels_of(answer.labels)
    assert np.array_equal(labels == 1, masks[0])
    assert np.array_equal(labels > 0, np.any(masks, axis=0))


def test_cover_gives_every_pixel_away(bench):
    bench.set(label_image='cover')
    answer = ask(bench, EVERYTHING, mode=ALL)
    labels = labels_of(answer.labels)
    assert 1 <= labels.min() <= labels.max() <= len(answer.results)
    bench.set(label_image='first')


def test_fewer_gazes_and_less_time(bench):
    """The grid's density, and a budget that is used up at once: what was found until then."""
    for values in ({'everything_points': 1}, {'everything_budget': 1e-6}):
        whole = ask(bench, EVERYTHING, mode=ALL)
        bench.set(**values)
        less = ask(bench, EVERYTHING, mode=ALL)
        assert less.success
        assert len(less.results) <= len(whole.results)
        if 'everything_points' in values:
            assert all((r.gaze.x, r.gaze.y) == (80, 60) for r in less.results)
        bench.set(everything_points=16, everything_budget=0.0)


def test_min_region_area(bench):
    """Larger than the picture: no holes stay, and one island."""
    bench.set(min_region_area=1000000)
    [result] = ask(bench, DISK).results
    mask = mask_of(result).astype(np.uint8)
    assert cv2.connectedComponents(mask)[0] == 2
    assert cv2.connectedComponents(1 - np.pad(mask, 1), connectivity=4)[0] == 2
    bench.set(min_region_area=0)


def test_only_what_is_sure(bench):
    """A threshold between the masks' own values leaves the surer ones."""
    assert BY_NAME['everything_min_iou'].default == Options.min_predicted_iou
    bench.set(everything_points=4, everything_min_iou=0.0)
    for name, of in (('min_iou', 'predicted_iou'), ('min_stability', 'stability')):
        found = [r.hypotheses[0] for r in ask(bench, EVERYTHING, mode=ALL).results]
        middle = float(np.median([getattr(h, of) for h in found]))
        assert not bench.set(**{f'everything_{name}': middle})
        sure = [r.hypotheses[0] for r in ask(bench, EVERYTHING, mode=ALL).results]
        assert 1 <= len(sure) < len(found) and all(getattr(h, of) >= middle for h in sure)
        bench.set(**{f'everything_{name}': 0.0})
    bench.set(everything_points=16, everything_min_iou=0.3)


def test_enlarged_parts(bench):
    """They have gazes where the whole picture has none."""
    bench.set(everything_points=2)
    plain = {(r.gaze.x, r.gaze.y) for r in ask(bench, EVERYTHING, mode=ALL).results}
    bench.set(everything_crop_layers=1)
    closer = {(r.gaze.x, r.gaze.y) for r in ask(bench, EVERYTHING, mode=ALL).results}
    assert closer - plain
    bench.set(everything_points=16, everything_crop_layers=0)
