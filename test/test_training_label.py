# SPDX-License-Identifier: Apache-2.0
"""Photographs become training pictures: found in files, masked, written as COCO annotations."""

import lzma
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if not (Path(__file__).resolve().parents[1] / 'training').is_dir():
    pytest.skip('training/ is not part of this installation', allow_module_level=True)

from training import label, real, sam  # noqa: E402

DISCS = np.array([[60, 60, 50], [190, 70, 45], [130, 195, 50]])  # x, y, radius in cells


class DiscSam(sam.Sam):
    """A stand-in for the network: it knows three discs, and three ways to answer at a point."""

    def __init__(self, folder=None):
        """Remember the places that are asked at."""
        self.asked = []

    def look(self, picture):
        """See nothing."""

    def ask(self, x, y):
        """Answer with the disc, a loose guess, and everything."""
        self.asked.append((x, y))
        rows, columns = np.mgrid[: sam.LOW, : sam.LOW]
        inside = [r - np.hypot(columns - cx, rows - cy) for cx, cy, r in DISCS]
        here = max(inside, key=lambda d: d[y, x])
        loose = 0.05 * (40 - np.hypot(columns - x, rows - y))
        sure = 0.9 if here[y, x] > 0 else 0.4
        return np.stack([2 * here, loose, np.full_like(here, 9)]), np.array([sure, 0.8, 0.95])


def photograph(seed):
    """Return a dark picture (300, 400, 3) with a bright disc."""
    picture = np.random.RandomState(seed).randint(0, 60, (300, 400, 3)).astype(np.uint8)
    return cv2.circle(picture, (150 + 30 * seed, 140), 60, (240, 240, 240), -1)


@pytest.fixture
def sources(tmp_path):
    """Return a folder with a picture, and one with a resource file that two others are in."""
    folder = tmp_path / 'sources'
    folder.mkdir()
    cv2.imwrite(str(folder / 'plain.jpg'), photograph(0))
    (folder / 'broken.jpg').write_bytes(b'\xff\xd8\xff\xe0 no picture')
    cv2.imwrite(str(folder / 'icon.png'), np.zeros((32, 32, 3), np.uint8))
    packed = [cv2.imencode(end, photograph(k))[1] for k, end in ((1, '.jpg'), (2, '.webp'))]
    (folder / 'two.rcc').write_bytes(b'qres' + b'12'.join(p.tobytes() for p in packed) + b'end')
    return folder


def test_photographs_are_found_in_folders_and_in_resource_files(sources):
    found = dict(label.photographs(sources))
    assert [name.split('_')[0] for name in found] == ['plain', 'two', 'two']
    assert list(found) == [name for name, _ in label.photographs(sources)]
    for picture, seed in zip(found.values(), (0, 1, 2), strict=True):
        assert np.abs(picture.astype(int) - photograph(seed)).mean() < 20


def test_what_stands_out_clearly_is_taken_piece_by_piece():
    sure = np.zeros((300, 400), np.float32)
    sure[50:100, 50:120] = 1
    sure[150:250, 200:300] = 0.97
    sure[10:13, 390:393] = 1  # a speck
    sure[150:250, 20:150] = 0.6  # perhaps
    first, second = label.things(sure)
    np.testing.assert_array_equal(first, (sure == 1) & (np.arange(400) < 200))
    np.testing.assert_array_equal(second, np.isclose(sure, 0.97))
    assert label.things(np.ones((300, 400), np.float32)) == []  # all of it
    crowd = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((70, 70))).astype(np.float32)
    crowd[::70] = crowd[:, ::70] = 0
    assert label.things(crowd) == []


def test_everything_is_found_by_asking_where_nothing_was_found():
    network = DiscSam()
    masks = sam.everything(network, np.zeros((300, 400, 3), np.uint8), np.random.default_rng(1))
    assert len(network.asked) == sam.POINTS
    assert len(masks) == len(DISCS)  # each once; neither loose guesses nor all of the picture
    for x, y, radius in DISCS:
        scale = np.array([400, 300]) / sam.LOW
        [mask] = [m for m in masks if m[int(y * scale[1]), int(x * scale[0])]]
        assert mask.shape == (300, 400)
        assert mask.sum() == pytest.approx(np.pi * radius**2 * scale.prod(), rel=0.05)
    inside = [np.hypot(x - cx, y - cy) < r for x, y in network.asked for cx, cy, r in DISCS]
    assert sum(inside) < sam.POINTS / 2


def test_everything_of_a_folder_is_written(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(label, 'Sam', DiscSam)
    out = tmp_path / 'out'
    monkeypatch.setattr(sys, 'argv', ['label', str(out), str(sources), '--sam', str(tmp_path)])
    label.main()
    assert capsys.readouterr().out == f'3 pictures, 9 things in {out}\n'
    pictures = real.coco(out / 'images', out / 'annotations.json')
    assert [len(picture.objects) for picture in pictures] == [len(DISCS)] * 3
    known, again = tmp_path / 'masks.json.xz', tmp_path / 'again'
    known.write_bytes(lzma.compress((out / 'annotations.json').read_bytes()))
    monkeypatch.setattr(sys, 'argv', ['label', str(again), str(sources), '--masks', str(known)])
    label.main()
    for picture, same in zip(
        pictures, real.coco(again / 'images', again / 'annotations.json'), strict=True
    ):
        np.testing.assert_array_equal(same.image, picture.image)
        for k in range(len(DISCS)):
            np.testing.assert_array_equal(same.mask(k), picture.mask(k))


def asked_sam(folder):
    """Write an encoder and a decoder of SAM 2's shape; masks are the point's distance."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def save(name, nodes, inputs, outputs, constants=()):
        infos = [
            [helper.make_tensor_value_info(key, kind, shape) for key, shape in each.items()]
            for each in (inputs, outputs)
        ]
        graph = helper.make_graph(nodes, name, *infos, list(constants))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
        (folder / f'sam2_{name}.onnx').write_bytes(model.SerializeToString())

    picture = {'image': [1, 3, sam.SIDE, sam.SIDE]}
    pool = {'kernel_shape': [4, 4], 'strides': [4, 4]}
    save(
        'encoder',
        [helper.make_node('AveragePool', ['image'], ['image_embed'], **pool)],
        picture,
        {'image_embed': [1, 3, sam.LOW, sam.LOW]},
    )
    prompt = {'point_coords': [1, 1, 2], 'point_labels': [1, 1], 'has_mask_input': [1]}
    prompt |= {'mask_input': [1, 1, sam.LOW, sam.LOW], 'image_embed': [1, 3, sam.LOW, sam.LOW]}
    nodes = [
        helper.make_node('Identity', ['image_embed'], ['masks']),
        helper.make_node('ReduceMean', ['point_coords'], ['middle'], axes=[1, 2], keepdims=0),
        helper.make_node('Concat', ['middle'] * 3, ['three'], axis=0),
        helper.make_node('Unsqueeze', ['three', 'first'], ['iou_predictions']),
    ]
    first = helper.make_tensor('first', onnx.TensorProto.INT64, [1], [0])
    answer = {'masks': [1, 3, sam.LOW, sam.LOW], 'iou_predictions': [1, 3]}
    save('decoder', nodes, prompt, answer, [first])


def test_the_network_gets_pictures_and_points_as_it_was_trained(tmp_path):
    asked_sam(tmp_path)
    network = sam.Sam(tmp_path)
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:150, :, 2] = 255  # red above
    network.look(picture)
    logits, ious = network.ask(10, 30)
    red = (np.array([1, 0]) - 0.485) / 0.229
    np.testing.assert_allclose(logits[0, [10, 250], 100], red, rtol=1e-4)
    np.testing.assert_allclose(logits[2, 10, 100], -0.406 / 0.225, rtol=1e-4)
    np.testing.assert_allclose(ious, [(42 + 122) / 2] * 3)  # pixels of the network's input


def bright_pixels(path):
    """Write a network of ISNet's shape that finds bright pixels."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node('ReduceMean', ['picture'], ['grey'], axes=[1], keepdims=1),
        helper.make_node('Mul', ['grey', 'steep'], ['steeper']),
        helper.make_node('Sigmoid', ['steeper'], ['found']),
    ]
    infos = [
        helper.make_tensor_value_info(name, kind, [1, channels, label.SIDE, label.SIDE])
        for name, channels in (('picture', 3), ('found', 1))
    ]
    steep = helper.make_tensor('steep', kind, [], [60.0])
    graph = helper.make_graph(nodes, 'bright', infos[:1], infos[1:], [steep])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_folder_of_photographs_becomes_training_pictures(sources, tmp_path, monkeypatch, capsys):
    model, out = bright_pixels(tmp_path / 'model.onnx'), tmp_path / 'out'
    names = [name for name, _ in label.photographs(sources)]
    (tmp_path / 'good.txt').write_text('\n'.join(names[1:]))
    command = ['label', str(out), str(sources), '--model', str(model)]
    monkeypatch.setattr(sys, 'argv', [*command, '--keep', str(tmp_path / 'good.txt')])
    label.main()
    assert capsys.readouterr().out == f'2 pictures, 2 things in {out}\n'
    pictures = real.coco(out / 'images', out / 'annotations.json')
    assert sorted(picture.name for picture in pictures) == sorted(f'{n}.jpg' for n in names[1:])
    for picture in pictures:
        assert len(picture.objects) == 1
        assert np.abs((picture.mask(0) > 0) * 1.0 - (picture.image.mean(2) > 150)).mean() < 0.01
    assert cv2.imread(str(out / 'sheet.jpg')).shape == (label.TILE[1], 8 * label.TILE[0], 3)


def test_a_model_in_parts_is_put_together(tmp_path):
    whole = bright_pixels(tmp_path / 'model.onnx').read_bytes()
    folder = tmp_path / 'dist'
    folder.mkdir()
    for name, part in (('aa', whole[:100]), ('bb', whole[100:])):
        (folder / name).write_bytes(part)
    (folder / 'resources.json').write_text(
        '{"/models/medium": {"chunks": [{"hash": "aa"}, {"hash": "bb"}]}}'
    )
    found = label.Salience(folder)(photograph(0))
    assert found.shape == (300, 400)
    assert found[140, 150] > 0.9 and found[290, 390] < 0.1
