# SPDX-License-Identifier: Apache-2.0
"""The training samples, the losses, the trained file and its calibration."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if not (Path(__file__).resolve().parents[1] / 'training').is_dir():
    pytest.skip('training/ is not part of this installation', allow_module_level=True)

from drawn_photograph import small_picture  # noqa: E402

from stt_ros import zoo  # noqa: E402
from stt_ros.model import ModelConfig, SegmentThisThing  # noqa: E402
from training import (  # noqa: E402
    batches,
    calibrate,
    dataset,
    evaluate,
    export,
    scenes,
)
from training.initial import initialise, start_from  # noqa: E402
from training.losses import loss, weighted_iou  # noqa: E402
from training.trainer import quadtree_order  # noqa: E402


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """Threads that wait for one another are slower than one on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_mirrored_record_is_the_record_of_the_mirrored_image():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (120, 1280, 3), np.uint8)
    mask = (rng.random((120, 1280)) > 0.5).astype(np.uint8) * 255
    record = dataset.sample(image, mask, (640, 60))
    mirrored = dataset.sample(image[:, ::-1].copy(), mask[:, ::-1].copy(), (640, 60))
    for name in ('tokens', 'target', 'valid'):
        there = record[name][np.argsort(dataset.MIRROR)]
        there = there[..., ::-1] if name != 'valid' else there
        assert np.array_equal(there, mirrored[name])


def test_areas_count_the_pixels_of_the_image():
    record = dataset.sample(
        np.zeros((480, 640, 3), np.uint8), np.full((480, 640), 255, np.uint8), (100, 50)
    )
    area = record['heights'][:, :, None].astype(int) * record['widths'][:, None, :]
    assert area.sum() == 640 * 480
    assert np.array_equal(area, dataset.PATTERN.cell_areas((100, 50), (480, 640)))


def test_ring_keeps_records_and_batches_hold_only_tokens_inside(tmp_path):
    ring = dataset.Ring(tmp_path / 'ring', 8)
    image, mask = np.full((200, 300, 3), 90, np.uint8), np.zeros((200, 300), np.uint8)
    cv2.circle(mask, (150, 100), 30, 255, -1)
    for k in range(8):
        ring.put(k, dataset.sample(image, mask, (150 + k, 100)))
    rng = np.random.default_rng(0)
    chosen = next(batches.pick(rng, dataset.Ring(tmp_path / 'ring'), 2))
    batch = batches.collate(rng, ring.slots[chosen], light=0)
    assert batch['tokens'].shape[1] == ring.slots['valid'][chosen].sum(1).max() < dataset.N
    inside = batch['target'] * batch['area']
    assert inside.sum(1).numpy() == pytest.approx(np.count_nonzero(mask), rel=0.01)


def test_a_fresh_network_lets_appearance_reach_its_pixel_features():
    assert np.mean([told_of_colours(seed) for seed in range(4)]) > 0.2


def told_of_colours(seed):
    """Return how much of the colours a linear readout of a fresh network's features tells."""
    torch.manual_seed(seed)
    model = zoo.build(zoo.DEFAULT)
    initialise(model)
    features = []
    last = model.mask_decoder.output_upscaling[-1]
    last.register_forward_hook(lambda *call: features.append(call[-1]))
    low = np.random.default_rng(2).integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(low, (640, 480), interpolation=cv2.INTER_CUBIC)
    record = dataset.sample(image, np.zeros((480, 640), np.uint8), (320, 240))
    batch = batches.collate(np.random.default_rng(0), record[None], light=0)
    with torch.inference_mode():
        model(batch['tokens'], batch['valid'], batch['positions'])
    colours = batch['tokens'].flatten(3)[..., quadtree_order(dataset.T)].transpose(2, 3)
    x = features[0].reshape(-1, features[0].shape[-1])
    y = colours.reshape(len(x), 3)
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    told = x @ torch.linalg.lstsq(x, y).solution
    return float(1 - (told - y).var() / y.var())


def test_a_network_grown_deeper_says_at_first_what_the_smaller_one_said():
    torch.manual_seed(0)
    small, large = (SegmentThisThing(ModelConfig(depth, 32, 2, 32, 64)).eval() for depth in (2, 5))
    start_from(large, small.state_dict())
    tokens, valid = torch.randn(1, 172, 3, 16, 16), torch.ones(1, 172, dtype=torch.bool)
    with torch.no_grad():
        before, after = small(tokens, valid), large(tokens, valid)
    torch.testing.assert_close(after, before)
    logits, ious = large(tokens, valid)
    (logits.square().mean() + ious.sum()).backward()
    with pytest.raises(ValueError, match='5 encoder blocks do not fit into a network of 2'):
        start_from(small, large.state_dict())
    for block in large.image_encoder.blocks:  # what adds nothing learns all the same
        assert block.mlp.fc.weight.grad.any() and block.attn.out_proj.weight.grad.any()


def test_quadtree_order_is_that_of_the_network():
    first = torch.arange(16).view(4, 4)
    assert quadtree_order(4).tolist() == [
        *first[:2, :2].flatten(),
        *first[:2, 2:].flatten(),
        *first[2:, :2].flatten(),
        *first[2:, 2:].flatten(),
    ]


def test_loss_falls_when_the_mask_is_right_and_scores_are_learnt():
    target = torch.zeros(2, 50)
    target[:, :20] = 1
    area = torch.full((2, 50), 4.0)
    right = torch.stack([target * 20 - 10] * 3, 1)
    wrong, good = -right, torch.tensor([[1.0, 1.0, 1.0]] * 2)
    small, parts = loss(right, good, target, area)
    large, _ = loss(wrong, good, target, area)
    assert small < 0.01 < 1 < large
    assert parts['best_iou'] == pytest.approx(1)
    one_right = torch.stack([wrong[:, 0], right[:, 0], wrong[:, 0]], 1)
    assert loss(one_right, good, target, area)[1]['mask'] < 1


def test_each_further_mask_is_learnt_by_a_hypothesis_of_its_own():
    whole, part, ground = torch.zeros(3, 1, 12)
    whole[:, :8], part[:, :3], ground[:, 8:] = 1, 1, 1
    area = torch.ones(1, 12)
    logits = torch.stack([8 * (2 * whole - 1)] * 3, 1).requires_grad_()
    ious, also = torch.zeros(1, 3), torch.stack([part, ground], 1)

    def pulled(count):
        total, _ = loss(logits, ious, whole, area, (also, torch.tensor([count])), top=0, others=0)
        return total, torch.autograd.grad(total, logits)[0][0].abs().sum(-1) > 1e-3

    (none, _), (one, moved), (two, moved_by_two) = map(pulled, (0, 1, 2))
    assert none < one < two
    assert moved.tolist() == [False, True, False]
    assert moved_by_two.tolist() == [False, True, True]


def test_a_gaze_brings_the_other_masks_that_hold_it():
    whole, part, beside = np.zeros((3, 200, 300), np.uint8)
    whole[50:150, 50:250] = part[80:120, 60:100] = beside[:40] = 255
    image = np.zeros((200, 300, 3), np.uint8)
    scene = scenes.Scene(image, [whole, part, beside, whole.copy()])
    assert scenes.also_at(scene, part, (80.5, 100.9))[0] is whole
    assert scenes.also_at(scene, whole, (80, 100)) == [part]
    assert scenes.also_at(scene, beside, (10, 10)) == []
    record = dataset.sample(image, part, (80, 100), also=[whole])
    batch = batches.collate(np.random.default_rng(0), record[None], light=0)
    assert batch['further'].tolist() == [1]
    assert (batch['also'][:, 0] * batch['area']).sum() == pytest.approx(20000, rel=1e-3)
    assert not batch['also'][:, 1].any()


def test_what_is_ranked_first_learns_the_mask_and_better_ones_rise():
    target, area = torch.zeros(1, 8), torch.ones(1, 8)
    target[:, :4] = 1
    right, half = 8 * (2 * target - 1), torch.full((1, 8), -8.0)
    half[:, :2] = 8
    logits = torch.stack([right, half, half], 1).requires_grad_()
    ious = torch.tensor([[0.6, 0.7, 0.6]], requires_grad=True)
    total, parts = loss(logits, ious, target, area)
    total.backward()
    assert parts['top_iou'] == 0.5 and parts['best_iou'] == 1
    first, other = logits.grad[0, 1:].abs().sum(-1)
    assert first > 5 * other > 0
    assert ious.grad[0, 0] < 0 < ious.grad[0, 1]


def test_iou_counts_areas_and_ignores_what_is_outside():
    target = torch.tensor([[True, True, False, True]])
    area = torch.tensor([[1.0, 4.0, 4.0, 0.0]])
    inside = torch.tensor([[[False, True, True, False]]])
    assert weighted_iou(inside, target, area).item() == pytest.approx(4 / 9)


def test_exported_file_gives_the_checkpoints_masks(tmp_path):
    torch.manual_seed(0)
    model = zoo.build(zoo.DEFAULT)
    state = {
        'name': zoo.DEFAULT,
        'average': model.state_dict(),
        'step': 7,
        'batch': 4,
        'spent': 60.0,
    }
    torch.save(state, tmp_path / 'checkpoint.pt')
    metadata = export.export(tmp_path / 'checkpoint.pt', tmp_path / 'small.safetensors')
    assert metadata['licence'] == 'Apache-2.0' and metadata['samples'] == '28'
    paths = [tmp_path / name for name in ('checkpoint.pt', 'further.safetensors')]
    further = export.export(*paths, stages=[tmp_path / 'small.safetensors'])
    assert (further['steps'], further['samples'], further['minutes']) == ('14', '56', '2')
    picture = small_picture()
    at = evaluate.interior_point(picture.mask(0))
    assert np.hypot(at[0] - 200, at[1] - 140) < 5
    a = evaluate.segment(export.load_any(tmp_path / 'checkpoint.pt'), picture.image, at)
    b = evaluate.segment(export.load_any(tmp_path / 'small.safetensors'), picture.image, at)
    assert (a[0] == b[0]).mean() > 0.98
    assert b[1] == pytest.approx(a[1], abs=0.02)


def test_a_tiny_network_learns_a_tiny_task():
    """Samples, loss and gradients together: sixty steps on one thing find it."""
    torch.manual_seed(0)
    model = SegmentThisThing(
        ModelConfig(1, 32, 1, decoder_width=32, decoder_mlp=32, decoder_heads=4)
    )
    image, mask = np.full((160, 160, 3), 40, np.uint8), np.zeros((160, 160), np.uint8)
    cv2.circle(mask, (80, 80), 40, 255, -1)
    image[mask > 0] = (200, 120, 40)
    rng = np.random.default_rng(0)
    records = np.stack([dataset.sample(image, mask, scenes.gaze(rng, mask)) for _ in range(8)])
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        batch = batches.collate(rng, records)
        logits, ious = model(batch['tokens'], batch['valid'], batch['positions'])
        total, parts = loss(logits.flatten(2), ious, batch['target'], batch['area'])
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert parts['best_iou'] > 0.8


def test_a_calibration_is_of_what_the_network_says_without_one():
    torch.manual_seed(0)
    model = SegmentThisThing(ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=64, calibration=5))
    groups = [([small_picture()], 1.0)]
    with torch.inference_mode():
        before, _ = calibrate.collect(model.eval(), groups, 3)
        calibrate.calibrate(model, before, before**2)
        after, _ = calibrate.collect(model, groups, 3)
    np.testing.assert_array_equal(after, before)


def test_a_calibration_rises_and_tells_the_truth_on_average():
    rng = np.random.default_rng(0)
    said = rng.uniform(0, 1, 4000)
    true = 0.2 + 0.5 * said**2 + rng.normal(0, 0.02, said.shape)
    x, y = calibrate.rising_map(said, true, 9)
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
    assert np.abs(np.interp(x, x, y) - (0.2 + 0.5 * x**2)).max() < 0.03


def test_a_calibration_of_what_falls_is_level():
    x, y = calibrate.rising_map(np.linspace(0, 1, 90), np.linspace(1, 0, 90), 9)
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all() and y[-1] - y[0] < 0.02


def test_a_hypothesis_is_lowered_and_the_others_stay():
    rng = np.random.default_rng(1)
    said, maps = rng.uniform(0, 1, (300, 3)), []
    for lower in ((), (0, 0.1)):
        model = SegmentThisThing(
            ModelConfig(1, 32, 2, decoder_width=32, decoder_mlp=64, calibration=5)
        )
        calibrate.calibrate(model, said, said**2, lower)
        with torch.inference_mode():
            maps.append(model.mask_decoder.calibration(torch.from_numpy(said)).numpy())
    np.testing.assert_allclose(maps[0] - maps[1], np.tile([0, 0.1, 0], (300, 1)), atol=1e-6)
