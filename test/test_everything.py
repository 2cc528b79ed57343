# SPDX-License-Identifier: Apache-2.0
"""Everything-mode: grids, SAM's filters, records, covers, edges, and COCO's run-length code."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stt_ros import prompts
from stt_ros.prompts import PromptError, Region, edges, everything, grids, records, rle
from stt_ros.prompts.everything import Found, Settings

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def found(box, iou=0.9, stability=0.9, crop_box=(0, 0, 128, 96)):
    return Found(box, np.ones((box[3], box[2]), bool), (box[0], box[1]), iou, stability, crop_box)


@given(MASKS)
def test_run_lengths_keep_the_mask(mask):
    for code in (rle.encode(mask), rle.encode_compressed(mask)):
        assert np.array_equal(rle.decode(json.loads(json.dumps(code))), mask)


@given(MASKS)
def test_run_lengths_are_those_of_pycocotools(mask):
    coco = pytest.importorskip('pycocotools.mask', reason='needs pycocotools')
    theirs = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    ours = rle.encode_compressed(mask)
    assert ours == {'size': theirs['size'], 'counts': theirs['counts'].decode()}
    assert coco.frPyObjects(rle.encode(mask), *mask.shape) == theirs
    assert np.array_equal(rle.decode(theirs), mask)


@given(st.lists(st.integers(0, 10**9), max_size=30))
def test_any_counts_survive_the_string(counts):
    assert rle.decompress(rle.compress(counts)) == counts


@pytest.mark.parametrize(
    ('code', 'message'),
    [
        ({'size': [2, 3], 'counts': [1, 2]}, '3 pixels; a mask of 3 x 2 has 6'),
        ({'size': [2, 3], 'counts': 'P'}, 'cut off'),
        ({'size': [2, 3], 'counts': '1 2'}, "' ' is no character"),
    ],
)
def test_run_lengths_that_are_none(code, message):
    with pytest.raises(ValueError, match=message):
        rle.decode(code)


@given(st.integers(1, 20))
def test_a_grid_is_every_cells_centre_once(n):
    points = grids.grid((10, 20, 30 * n, 40 * n), n)
    expected = {(10 + 30 * (i + 0.5), 20 + 40 * (j + 0.5)) for i in range(n) for j in range(n)}
    assert len(points) == n * n and {tuple(p) for p in points} == expected


def test_any_beginning_of_a_grid_is_spread_over_the_frame():
    first = grids.grid((0, 0, 128, 128), 16)[:4]
    assert {(x // 64, y // 64) for x, y in first} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@given(st.integers(40, 300), st.integers(40, 300), st.integers(0, 3))
def test_crops_fill_the_frame(height, width, layers):
    for k, layer in enumerate(grids.crops((height, width), layers)):
        seen = np.zeros((height, width), int)
        for crop in layer:
            x, y, w, h = crop.box
            assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
            seen[y : y + h, x : x + w] += 1
        assert len(layer) == 4**k and seen.min() >= 1


def test_what_an_enlarged_part_shows_comes_back_to_its_place():
    crop = grids.Crop((30, 10, 40, 40), 2)
    seen = prompts.Candidate((20, 10, 24, 30), np.ones((30, 24), bool), (30, 20), 0.8, 0.9)
    back = crop.outside(seen)
    assert back.box == (40, 15, 12, 15) and back.area == 180 and back.gaze == (45, 20)


def test_boxes_that_overlap_too_much_are_one():
    boxes = [(0, 0, 10, 10), (1, 0, 10, 10), (5, 0, 10, 10), (50, 50, 5, 5)]
    assert everything.nms(boxes, 0.7) == [0, 2, 3]
    assert everything.nms(boxes, 0.2) == [0, 3]
    assert everything.nms([], 0.7) == []


def test_masks_at_a_crops_inner_edge_are_dropped():
    crop = (64, 0, 64, 96)
    assert everything._cut_off(found((80, 10, 20, 20), crop_box=crop), (96, 128))
    assert not everything._cut_off(found((90, 10, 38, 20), crop_box=crop), (96, 128))
    assert not everything._cut_off(found((0, 0, 128, 96)), (96, 128))


def test_every_pixel_has_one_mask():
    """The best mask, which is the first, keeps what it has: others do not cut it to pieces."""
    masks = [found((20, 20, 10, 10)), found((10, 10, 60, 60)), found((100, 80, 20, 10))]
    masks.append(found((40, 40, 5, 5)))
    labels = records.cover(masks, (96, 128))
    assert labels.dtype == np.int32 and set(np.unique(labels)) == {1, 2, 3}
    assert (labels[20:30, 20:30] == 1).all() and labels[12, 12] == labels[42, 42] == 2
    assert labels[95, 127] == 3 and labels[0, 0] == 2
    assert not records.cover([], (4, 5)).any()


@pytest.mark.parametrize('form', records.FORMS)
def test_records_are_sams(form):
    mask = found((10, 20, 30, 40))
    record = records.record(mask, (96, 128), form)
    assert (record['area'], record['bbox']) == (1200, [10, 20, 30, 40])
    assert record['point_coords'] == [[10, 20]] and record['crop_box'] == [0, 0, 128, 96]
    segmentation = record['segmentation']
    dense = segmentation if form == 'binary_mask' else rle.decode(segmentation)
    assert np.array_equal(dense, mask.mask((96, 128)))
    if form != 'binary_mask':
        json.dumps(record)


def test_a_form_that_is_none():
    with pytest.raises(PromptError, match="'png'; allowed: binary_mask"):
        records.record(found((0, 0, 2, 2)), (4, 4), 'png')


KEEP_ALL = {'min_predicted_iou': -1e9, 'min_stability': 0}


def test_everything_reports_progress_and_finds_masks(cpu_segmenter, two_squares):
    steps = []
    asked = Settings(points_per_side=4, batch=5, **KEEP_ALL)
    masks = everything.everything(
        cpu_segmenter, two_squares, asked, progress=lambda *s: steps.append(s)
    )
    assert steps == [(5, 16), (10, 16), (15, 16), (16, 16)]
    assert masks and all(m.area == np.count_nonzero(m.crop) for m in masks)
    sure = [m.predicted_iou for m in masks]
    assert sure == sorted(sure, reverse=True)
    kept = [m.box for m in masks]
    assert len(everything.nms(kept, 0.7)) == len(kept)


def test_filters_keep_only_what_is_sure(cpu_segmenter, two_squares):
    asked = Settings(points_per_side=3, **KEEP_ALL)
    masks = everything.everything(cpu_segmenter, two_squares, asked)
    middle = float(np.median([m.predicted_iou for m in masks]))
    asked = Settings(points_per_side=3, min_predicted_iou=middle, min_stability=0)
    assert all(
        m.predicted_iou > middle for m in everything.everything(cpu_segmenter, two_squares, asked)
    )
    asked = Settings(points_per_side=3, min_predicted_iou=-1e9, min_stability=1)
    assert all(m.stability == 1 for m in everything.everything(cpu_segmenter, two_squares, asked))


def test_a_budget_returns_what_was_found_by_then(cpu_segmenter, two_squares):
    steps = []
    asked = Settings(points_per_side=16, batch=2, **KEEP_ALL)
    masks = everything.everything(
        cpu_segmenter, two_squares, asked, budget_ms=0.001, progress=lambda *s: steps.append(s)
    )
    assert steps == [(2, 256)] and masks


def test_enlarged_parts_are_looked_at_too(cpu_segmenter, two_squares):
    steps = []
    asked = Settings(points_per_side=4, crop_layers=1, **KEEP_ALL)
    masks = everything.everything(
        cpu_segmenter, two_squares, asked, progress=lambda *s: steps.append(s)
    )
    assert steps[-1] == (28, 28)  # 16 + 4 x 4, four of them where parts overlap
    boxes = np.array([m.box for m in masks])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (160, 120)).all()
    assert not any(everything._cut_off(m, (120, 160)) for m in masks)


def test_where_parts_overlap_no_gaze_comes_twice():
    parts = [grids.Crop((0, 0, 64, 64), 2), grids.Crop((16, 0, 64, 64), 2)]
    (_, first), (_, second) = everything._gazes(parts, 4)
    assert len(first) == 16 and len(second) == 4 and (second[:, 0] == 72).all()


def test_small_regions_are_cleaned(cpu_segmenter, two_squares):
    asked = Settings(points_per_side=3, min_region_area=50, **KEEP_ALL)
    for mask in everything.everything(cpu_segmenter, two_squares, asked):
        cleaned = prompts.clean.clean(mask, 50)
        assert np.array_equal(cleaned.crop, mask.crop)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Settings(points_per_side=0), 'points_per_side is 0; allowed: 1 to 256'),
        (lambda: Settings(min_stability=1.5), 'min_stability is 1.5'),
        (lambda: Settings(max_box_iou=float('nan')), 'max_box_iou is nan'),
        (lambda: prompts.Everything(0), '0 points per side'),
        (lambda: everything.everything(None, np.zeros((4, 4, 3), np.uint8), budget_ms=0), '0 ms'),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(PromptError, match=message):
        make()


def test_edges_lie_on_the_borders_of_things(cpu_segmenter, two_squares):
    strength = edges.edges(cpu_segmenter, two_squares, 4)
    assert strength.shape == (120, 160) and strength.dtype == np.float32
    assert 0 <= strength.min() and strength.max() <= 1 and strength.any()


def test_thinning_keeps_the_crest_of_a_line():
    rows, columns = np.mgrid[:40, :40]
    for line in (np.abs(columns - 20), np.abs(rows - 20), np.abs(rows - columns) / np.sqrt(2)):
        crest = edges.thinned(np.exp(-(line**2) / 8).astype(np.float32)) > 0
        inner = crest[5:35, 5:35]
        assert (line[5:35, 5:35][inner] < 1).all() and inner.sum() >= 28


def test_proposals_are_ranked(cpu_segmenter, two_squares):
    masks = edges.proposals(cpu_segmenter, two_squares, 3, count=5)
    order = [m.predicted_iou + m.stability for m in masks]
    assert 1 <= len(masks) <= 5 and order == sorted(order, reverse=True)


def test_everything_is_a_prompt_that_abstains():
    prompt = prompts.Everything(3)
    frame = prompts.base.as_frame(np.zeros((30, 60, 3), np.uint8))
    assert prompt.propose(frame).shape == (9, 2) and prompt.score([]) is None


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_a_cover_has_no_hole(seed):
    rng = np.random.default_rng(seed)
    masks = [Region.of_mask(rng.random((20, 30)) < 0.02) for _ in range(3)]
    labels = records.cover(masks, (20, 30))
    some = np.any([m.mask((20, 30)) for m in masks], axis=0)
    assert (labels > 0).all() == some.any() and labels.max() <= 3
