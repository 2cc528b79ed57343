# SPDX-License-Identifier: Apache-2.0
"""stt_ros eval: folders of truth, the clicks of the NoC protocol, tables and promises."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from stt_ros import cli, pictures
from stt_ros.evaluation import claims, noc, truth, users
from stt_ros.prompts.base import Candidate, as_frame
from stt_ros.prompts.region import Region


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one clip of two frames, a square and a disk in the second."""
    for name in ('frames', 'masks'):
        (tmp_path / 'clip' / name).mkdir(parents=True)
    for k in range(2):
        image = np.full((96, 128, 3), 60, np.uint8)
        labels = np.zeros((96, 128), np.uint8)
        cv2.rectangle(labels, (20, 20), (59, 59), 1, -1)
        if k:
            cv2.circle(labels, (95, 60), 15, 2, -1)
        image[labels == 1], image[labels == 2] = (220, 40, 40), (40, 60, 220)
        pictures.write(tmp_path / 'clip' / 'frames' / f'{k}.png', image)
        cv2.imwrite(str(tmp_path / 'clip' / 'masks' / f'{k}.png'), labels)
    return tmp_path


def test_folders_hold_one_sample_per_thing(folder):
    found = list(truth.samples([folder]))
    assert [(s.group, s.name) for s in found] == [('clip', '0'), ('clip', '1:1'), ('clip', '1:2')]
    assert [np.count_nonzero(s.mask) for s in found[:2]] == [1600, 1600]
    assert [s.name for s in truth.samples([folder / 'clip'], every=2)] == ['0']


def test_soft_masks_are_one_thing(folder):
    soft = np.zeros((96, 128), np.uint8)
    soft[:, :] = np.linspace(0, 255, 128).astype(np.uint8)
    cv2.imwrite(str(folder / 'clip' / 'masks' / '0.png'), soft)
    sample = next(truth.samples([folder]))
    assert sample.name == '0' and np.array_equal(sample.mask, soft > 127)


@pytest.mark.parametrize('channels', [3, 4])
def test_every_colour_of_a_mask_is_a_thing(folder, channels):
    colours = np.zeros((96, 128, channels), np.uint8)
    colours[..., 3:] = 255
    colours[10:40, 10:40, 2] = colours[50:90, 10:40, 1] = 128  # as the first two of DAVIS
    cv2.imwrite(str(folder / 'clip' / 'masks' / '0.png'), colours)
    things = [s for s in truth.samples([folder]) if s.name.startswith('0')]
    assert sorted(np.count_nonzero(s.mask) for s in things) == [900, 1200]


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda clip: (clip / 'masks' / '0.png').unlink(), 'has no mask'),
        (
            lambda clip: cv2.imwrite(str(clip / 'masks' / '0.png'), np.ones((9, 9), np.uint8)),
            '9 x 9 pixels, its picture 128 x 96',
        ),
        (lambda clip: (clip / 'frames').rename(clip / 'other'), 'neither frames nor images'),
        (lambda clip: (clip / 'masks').rename(clip / 'other'), 'no pictures with masks'),
    ],
)
def test_folders_that_do_not_fit(folder, capsys, spoil, message):
    spoil(folder / 'clip')
    assert cli.main(['eval', 'noc', str(folder)]) == 2
    assert message in capsys.readouterr().err


def square(x=20, y=20, side=40):
    mask = np.zeros((96, 128), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_the_first_click_is_deepest_inside():
    (x, y), positive = noc.next_click(square(), np.zeros((96, 128), bool), [])
    assert positive and 38 <= x <= 41 and 38 <= y <= 41


def test_the_larger_error_decides_the_sign():
    truth_mask = square()
    answer = square()
    answer[20:60, 20:30] = False  # 400 missed
    answer[70:85, 100:120] = True  # 300 too much
    (x, y), positive = noc.next_click(truth_mask, answer, [])
    assert positive and x < 30
    answer[85:95, 100:120] = True
    (x, y), positive = noc.next_click(truth_mask, answer, [])
    assert not positive and x >= 100


def test_a_clicked_pixel_is_no_error_any_more():
    missing = square()
    missing[40, 40] = False
    with pytest.raises(ValueError, match='empty'):
        noc.next_click(square(), missing, [(40, 40)])


def test_clicks_are_counted_from_one():
    assert noc.clicks_needed([0.5, 0.86, 0.7, 0.91], 0.85) == 2
    assert noc.clicks_needed([0.5, 0.86, 0.7, 0.91], 0.9) == 4
    assert noc.clicks_needed([0.5, 0.86], 0.9) == 2


@pytest.mark.parametrize(
    'user', [u for u in vars(users).values() if getattr(u, '__module__', '') == users.__name__
             and not u.__name__.startswith('_')], ids=lambda user: user.__name__,
)  # fmt: skip
def test_users_mean_the_thing(user):
    mask = square(30, 20, 50)
    mask[20:45, 30:55] = False  # an L
    image = np.zeros((96, 128, 3), np.uint8)
    prompt = user(mask)
    gazes = prompt.propose(as_frame(image))
    assert len(gazes) and (gazes >= 0).all() and (gazes < (128, 96)).all()
    right = region(mask)
    wrong = region(square(90, 5, 10))
    assert prompt.score([right])[0] > 0.6 > prompt.score([wrong])[0]


def region(mask):
    part = Region.of_mask(mask)
    return Candidate(part.box, part.crop, (0, 0), 0.9, 0.9)


def test_noc_prints_a_table_and_draws(folder, capsys, tmp_path):
    out, numbers = tmp_path / 'noc.png', tmp_path / 'noc.json'
    words = ['eval', 'noc', folder, '--clicks', 3, '--plot', out, '--json', numbers]
    assert cli.main([*map(str, words), '--device', 'cpu']) == 0
    table = capsys.readouterr().out.splitlines()
    assert 'NoC@85' in table[0] and 'NoC@90' in table[0]
    assert [line.split()[:2] for line in table[1:]] == [['clip', '3'], ['all', '3']]
    curves = json.loads(numbers.read_text())['clip']
    assert len(curves) == 3 and all(len(c) == 3 and 0 <= min(c) <= 1 for c in curves)
    assert pictures.read(out).shape[2] == 3


def test_prompts_prints_every_kind_and_promise(folder, capsys, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    words = ['eval', 'prompts', folder, '--every', 2, '--grid', 2, '--device', 'cpu']
    assert cli.main([*map(str, words)]) == 0
    out = capsys.readouterr().out
    for kind in (*claims.SINGLE, claims.CORRECTED, claims.ALL):
        assert any(line.startswith(kind) for line in out.splitlines()), kind
    assert out.count('wanted >=') >= 5 + len(claims.COMBINED)
    assert 'example picture, gaze on the thing:' in out


def test_promises_compare_means_of_groups():
    table = claims.Table()
    kinds = [*claims.SINGLE, claims.CORRECTED, *(' + '.join(k) for k in claims.COMBINED)]
    for kind in kinds:
        for group, ious in (('a', [0.2, 0.4, 0.6]), ('b', [0.8])):
            for iou in ious:
                table.add(kind, group, iou + 0.1 * (kind == 'box'))
    assert table.mean('one click') == pytest.approx(0.6)
    found = {words: (value, wanted) for words, value, wanted in claims.promises(table)}
    assert found['box - one click'] == (pytest.approx(0.1), 0.05)
    assert found['scribble - box'] == (pytest.approx(-0.1), -0.02)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['eval', 'noc', 'x', '--every', '0'], "'0': expected a whole number above 0"),
        (['eval', 'noc', 'x', '--plot', 'noc.txt'], 'cannot write noc.txt'),
        (['eval', 'noc', 'x', '--json', 'none/n.json'], 'there is no folder none'),
        (['eval', 'prompts', 'x', '--json', 'none/n'], 'there is no folder none'),
        (['eval'], 'required'),
        (['eval', 'prompts', '/nowhere'], '/nowhere holds no pictures'),
    ],
)
def test_arguments_that_make_no_sense(capsys, words, message):
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err


def test_play_fills_the_rest_once_it_is_good_enough():
    crop = np.ones((40, 40), bool)

    class Perfect:
        calls = 0

        def segment(self, frame, gazes, interpolation='bilinear'):
            self.calls += 1
            views = [SimpleNamespace(gaze=tuple(gaze)) for gaze in gazes]
            return [
                SimpleNamespace(hypotheses=[SimpleNamespace(
                    box=(20, 20, 40, 40), crop=crop, predicted_iou=1.0, stability=1.0, view=view,
                )])
                for view in views
            ]  # fmt: skip

    network = Perfect()
    ious = noc.play(network, np.zeros((96, 128, 3), np.uint8), square(), 20)
    assert ious.tolist() == [1.0] * 20 and network.calls == 1
