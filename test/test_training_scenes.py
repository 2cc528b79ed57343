# SPDX-License-Identifier: Apache-2.0
"""The scene generator and the readers of real pictures."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if not (Path(__file__).resolve().parents[1] / 'training').is_dir():
    pytest.skip('training/ is not part of this installation', allow_module_level=True)

from drawn_photograph import small_picture  # noqa: E402

from training import augment, evaluate, real, scenes, shapes  # noqa: E402
from training.bank import Bank, make_bank  # noqa: E402


@pytest.fixture(scope='module')
def bank() -> Bank:
    return make_bank([([small_picture()], 1.0)])


@pytest.mark.parametrize('family', [f for f, _ in shapes.FAMILIES], ids=lambda f: f.__name__)
def test_every_outline_is_one_connected_piece(family):
    for seed in range(4):
        parts = shapes.tidy(family(np.random.default_rng(seed), 90))
        pieces, _ = cv2.connectedComponents((parts > 0).astype(np.uint8), connectivity=4)
        assert pieces == 2
        assert min(parts.shape) >= 1 and parts[0].any() and parts[:, -1].any()


@pytest.mark.parametrize('with_photographs', [True, False])
def test_targets_are_connected_pieces(bank, with_photographs):
    seen = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = scenes.composed_scene(rng, bank if with_photographs else Bank(), 5, ground_real=0)
        assert scene.image.dtype == np.uint8 and scene.image.shape[2] == 3
        for mask in scene.targets:
            seen += 1
            assert mask.shape == scene.image.shape[:2]
            assert cv2.connectedComponents(mask, connectivity=4)[0] == 2
            assert 0 < np.count_nonzero(mask) < mask.size
    assert seen >= 10


def test_parts_are_asked_seldom_and_learnt_beside_the_whole():
    whole, part, beside = np.zeros((3, 480, 640), np.uint8)
    whole[100:400, 100:400] = part[200:300, 200:300] = beside[100:400, 450:600] = 255
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    bank = Bank([real.Picture(image, [whole, part, beside])], np.ones(1))
    taken = [scenes.real_scene(np.random.default_rng(seed), bank, 9) for seed in range(60)]
    alone = [scene for scene in taken if scene.parts]
    assert 0.3 * len(taken) < len(alone) < 0.8 * len(taken)
    for scene in alone:
        (part,) = scene.parts
        x, y = scenes.gaze(np.random.default_rng(1), part)
        held = [mask for mask in scene.targets if mask[int(y), int(x)] > 127]
        assert len(held) == 1 and np.count_nonzero(held[0]) > 3 * np.count_nonzero(part)
        assert any(mask is part for mask in scenes.also_at(scene, held[0], (x, y)))


def test_a_scene_depends_on_its_seed_alone(bank):
    a, b = (scenes.composed_scene(np.random.default_rng(3), bank, 4) for _ in range(2))
    assert np.array_equal(a.image, b.image) and len(a.targets) == len(b.targets)


def test_views_move_picture_and_mask_together(bank):
    for seed in range(12):
        picture = bank.pictures[0]
        image, matrix, size = real.view(np.random.default_rng(seed), picture)
        assert image.shape == (size[1], size[0], 3)
        mask = cv2.erode(picture.mask(0, matrix, size), np.ones((5, 5), np.uint8)) > 254
        if mask.any():  # the disc is green, and nothing else is
            assert np.median(image[mask][:, 1]) > 150
            outside = ~(cv2.dilate(picture.mask(0, matrix, size), np.ones((9, 9))) > 0)
            assert np.median(image[outside][:, 1]) < 90


def test_gaze_lies_on_the_thing():
    mask = np.zeros((200, 300), np.uint8)
    cv2.circle(mask, (220, 60), 40, 255, -1)
    rng = np.random.default_rng(0)
    points = [scenes.gaze(rng, mask) for _ in range(50)]
    assert all(mask[int(y), int(x)] for x, y in points)
    assert len(set(points)) > 40


def test_reads_davis_pack_and_coco(tmp_path):
    frames, masks = tmp_path / 'seq' / 'frames', tmp_path / 'seq' / 'masks'
    frames.mkdir(parents=True), masks.mkdir()
    image, mask = np.full((40, 60, 3), 50, np.uint8), np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 255
    cv2.imwrite(str(frames / '00000.jpg'), image)
    with pytest.raises(FileNotFoundError, match='no mask'):
        real.davis(tmp_path / 'seq')
    cv2.imwrite(str(masks / '00000.png'), mask)
    assert np.array_equal(real.davis(tmp_path / 'seq')[0].mask(0), mask)

    square = [10, 10, 30, 10, 30, 20, 10, 20]
    relative = np.array(square) / np.tile((60, 40), 4)
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.jpg'), image)
    things = {'a.jpg': [{'category': 'box', 'polygon': relative.tolist()}]}
    (tmp_path / 'objects.json').write_text(json.dumps(things))
    assert evaluate.iou(real.pack(tmp_path)[0].mask(0) > 127, mask > 0) > 0.8

    # Runs go down the columns; '13'-style compressed counts hold the same numbers.
    runs = np.diff(np.flatnonzero(np.diff(np.pad(mask.T.ravel() > 0, 1, constant_values=2))))
    table = {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 40, 'width': 60}],
        'annotations': [
            {'image_id': 1, 'segmentation': [square]},
            {'image_id': 1, 'segmentation': {'counts': runs.tolist(), 'size': [40, 60]}},
            {'image_id': 1, 'segmentation': {'counts': [0, 2400], 'size': [40, 60]}, 'iscrowd': 1},
        ],
    }
    (tmp_path / 'coco.json').write_text(json.dumps(table))
    picture = real.coco(tmp_path / 'images', tmp_path / 'coco.json')[0]
    assert len(picture.objects) == 2
    assert np.array_equal(picture.mask(1), mask)


def test_cut_outs_keep_their_colours_at_the_edge(tmp_path):
    image = np.zeros((60, 80, 4), np.uint8)
    cv2.circle(image, (40, 30), 25, (10, 200, 30, 255), -1)  # BGRA: green on transparent black
    (tmp_path / 'cartoon').mkdir()
    for name in ('ball.png', 'ball_mirror.png', 'cartoon/ball.png'):
        cv2.imwrite(str(tmp_path / name), image)
    cv2.imwrite(str(tmp_path / 'opaque.png'), image[..., :3])
    [(rgb, mask)] = real.cutouts(tmp_path)
    assert np.count_nonzero(mask) == np.count_nonzero(image[..., 3])
    assert (rgb == (30, 200, 10)).all()  # RGB, outside the thing too


def test_a_bayer_filter_keeps_the_colours():
    image = np.full((60, 80, 3), (200, 120, 40), np.uint8)
    seen = augment.mosaic(np.random.default_rng(0), image)
    np.testing.assert_allclose(seen.mean((0, 1)), (200, 120, 40), atol=2)


def test_a_lens_bends_the_image_and_its_masks_alike():
    mask = np.zeros((240, 320), np.uint8)
    cv2.rectangle(mask, (20, 30), (300, 200), 255, -1)
    for seed in range(5):
        image, [bent] = augment.lens(np.random.default_rng(seed), np.dstack([mask] * 3), [mask])
        assert (image == bent[..., None]).all() and (bent != mask).any()


def test_what_the_frame_cuts_is_not_pasted():
    image = np.zeros((200, 200, 3), np.uint8)
    whole, cut = np.zeros((2, 200, 200), np.uint8)
    whole[50:100, 60:120] = cut[150:200, 60:120] = 255
    things = [whole, *(np.ascontiguousarray(np.rot90(cut, k)) for k in range(4))]
    [(rgb, mask)] = make_bank([([real.Picture(image, things)], 1.0)]).cutouts
    assert rgb.shape == (50, 60, 3) and mask.all()


def test_every_origin_of_cut_outs_is_pasted_as_often():
    few, many = [('few', None)], [('many', None)] * 50
    own = Bank(cutouts=[('own', None)], others=[few, many])
    rng = np.random.default_rng(0)
    names = [own.thing(rng)[0] for _ in range(2000)]
    shares = {name: names.count(name) / len(names) for name in ('own', 'few', 'many')}
    assert shares == pytest.approx({'own': 0.35, 'few': 0.325, 'many': 0.325}, abs=0.04)
    assert {Bank(others=[few]).thing(rng)[0] for _ in range(20)} == {'few'}


def test_a_model_is_rendered_as_cut_outs(tmp_path):
    pytest.importorskip('pyvista', reason='rendering models needs pyvista')
    from training import render

    (tmp_path / 'tent.obj').write_text(
        'v 0 0 0\nv 1 0 0\nv 0 0 1\nv 0 1 0\nf 1 2 4\nf 2 3 4\nf 3 1 4\nf 1 3 2\n'
    )
    (tmp_path / 'broken.obj').write_text('f 1 2 3\n')
    render.main([str(tmp_path), str(tmp_path / 'out'), '--views', '2'])
    found = real.cutouts(tmp_path / 'out')
    assert len(found) == 2
    for _, mask in found:
        assert max(mask.shape) > 200 and 0.2 < (mask > 127).mean() < 0.95
    assert np.concatenate([rgb[mask > 127] for rgb, mask in found]).std() > 1  # light falls on it
