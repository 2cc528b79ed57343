# SPDX-License-Identifier: Apache-2.0
"""Example pictures: with features made of colours, for which the right answer is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_ros import prompts
from stt_ros.frame import Frame
from stt_ros.prompts import PromptError, Region
from stt_ros.prompts.example import Example
from stt_ros.prompts.hub import Loader, PromptModelError

RED, ORANGE, BLUE, GRAY = (210, 30, 30), (210, 90, 20), (40, 60, 220), (120, 125, 118)
SIZE = (240, 320)


def picture(*discs, radius=30):
    """Draw discs (x, y, colour) on gray."""
    rgb = np.full((*SIZE, 3), GRAY, np.uint8)
    for x, y, colour in discs:
        cv2.circle(rgb, (x, y), radius, colour, -1)
    return rgb


def disc(x, y, radius=30):
    mask = np.zeros(SIZE, np.uint8)
    return cv2.circle(mask, (x, y), radius, 1, -1) > 0


def colours(rgb, cell=10):
    """Return the mean colour of each cell, less that of gray, and how gray it is."""
    shape = rgb.shape[1] // cell, rgb.shape[0] // cell
    means = cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    offsets = (means - GRAY) / 100
    plain = np.exp(-4 * (offsets**2).sum(axis=2, keepdims=True))
    return np.concatenate([offsets, plain], axis=2)


def example(*discs, features=colours, **options):
    discs = discs or ((80, 100, RED), (240, 120, BLUE))
    return Example(picture(*discs), disc(*discs[0][:2]), features=features, **options)


def region(x, y, radius=30):
    return Region.of_mask(disc(x, y, radius))


def test_every_instance_is_proposed_and_nothing_else():
    frame = Frame(picture((60, 60, RED), (250, 170, RED), (160, 120, BLUE)))
    gazes = example().propose(frame)
    first, second = region(60, 60).contains(gazes), region(250, 170).contains(gazes)
    assert first.any() and second.any()
    assert (first | second).all()


def test_the_whole_thing_scores_best():
    prompt = example()
    prompt.propose(Frame(picture((60, 60, RED), (250, 170, RED), (160, 120, BLUE))))
    whole, part, large, other = prompt.score(
        [region(60, 60), region(60, 60, 15), region(60, 60, 60), region(160, 120)]
    )
    assert whole > 0.75
    assert part < 0.5 and large < 0.6
    assert other == 0


def test_what_the_example_shows_beside_the_thing_is_refused():
    frame = Frame(picture((60, 60, RED), (250, 170, ORANGE)))
    alone = example((80, 100, RED))
    beside = example((80, 100, RED), (240, 120, ORANGE))
    look_alike = region(250, 170)
    assert look_alike.contains(alone.propose(frame)).any()  # nothing says that orange is wrong
    gazes = beside.propose(frame)
    assert region(60, 60).contains(gazes).all() and len(gazes)
    assert beside.score([look_alike])[0] == 0


def test_background_is_never_the_thing_and_counts_against_a_candidate():
    prompt = example()
    prompt.propose(Frame(picture((60, 60, RED), (160, 120, BLUE))))
    assert len(prompt.background)
    assert not region(60, 60).contains(prompt.background).any()
    everything = Region.of_mask(np.ones(SIZE, bool))
    assert prompt.score([everything])[0] == 0


def test_a_frame_without_the_thing_has_no_gaze():
    prompt = example()
    gazes = prompt.propose(Frame(picture((160, 120, BLUE))))
    assert gazes.shape == (0, 2)
    assert prompt.score([region(160, 120)])[0] == 0
    assert prompts.answer(None, picture((160, 120, BLUE)), [prompt], 'all_instances') == []


def test_all_instances_are_answered(cpu_segmenter):
    frame = picture((60, 60, RED), (250, 170, RED), (160, 120, BLUE))
    answers = prompts.answer(cpu_segmenter, frame, [example(label='ball')], 'all_instances')
    for wanted in (region(60, 60), region(250, 170)):
        assert max(answer.iou(wanted) for answer in answers) > 0.7
    assert max(answer.iou(region(160, 120)) for answer in answers) < 0.1
    assert {answer.label for answer in answers} == {'ball'}
    assert all(0 < answer.score <= 1 for answer in answers)


def test_the_example_is_looked_at_once():
    seen = []
    prompt = example(features=lambda rgb: seen.append(1) or colours(rgb))
    for _ in range(3):
        prompt.propose(Frame(picture((60, 60, RED))))
    assert len(seen) == 4


def test_a_thing_smaller_than_a_cell_and_a_mask_of_everything():
    dot, other = picture((84, 104, RED), radius=3), picture((154, 64, RED), radius=3)
    gazes = Example(dot, disc(84, 104, 3), features=colours).propose(Frame(other))
    assert region(154, 64, 3).contains(gazes).all() and len(gazes)
    frame = Frame(picture((60, 60, RED)))
    whole = Example(np.full((*SIZE, 3), RED, np.uint8), np.ones(SIZE), features=colours)
    assert region(60, 60).contains(whole.propose(frame)).any()


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e3), st.permutations(range(4)), st.integers(40, 280), st.integers(40, 200))
def test_length_and_order_of_features_mean_nothing(scale, order, x, y):
    frame = Frame(picture((x, y, RED)))
    plain = example().propose(frame)
    other = example(features=lambda rgb: colours(rgb)[..., order] * scale).propose(frame)
    np.testing.assert_allclose(other, plain)
    assert region(x, y).contains(plain).all() and len(plain)


@pytest.mark.parametrize(
    'mask, reason',
    [
        (np.ones((100, 50), bool), 'mask of the example is 50 x 100 pixels; its picture has 320'),
        (np.zeros(SIZE, bool), 'mask of the example is empty'),
        (np.ones((*SIZE, 3), bool), '3 x 320 x 240'),
        (np.float32(1), 'a single number'),
    ],
)
def test_masks_that_do_not_fit(mask, reason):
    with pytest.raises(PromptError, match=reason):
        Example(picture(), mask, features=colours)


def test_a_picture_that_is_none():
    with pytest.raises(PromptError, match='the example: image is float64'):
        Example(np.zeros((*SIZE, 3)), np.ones(SIZE, bool), features=colours)


def histograms(rgb, cell=16):
    """Return which colours a cell and its neighbours have, in 8 levels of L, a and b each."""
    rows, columns = rgb.shape[0] // cell, rgb.shape[1] // cell
    codes = (cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) // 32).astype(int) @ (64, 8, 1)
    codes = codes[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    counts = np.zeros((rows, columns, 512), np.float32)
    places = np.arange(rows)[:, None, None, None], np.arange(columns)[None, None, :, None]
    np.add.at(counts, (*places, codes), 1)
    for axis in (0, 1):
        counts = 2 * counts + np.roll(counts, 1, axis) + np.roll(counts, -1, axis)
    return np.sqrt(counts)


def hits(clip, features):
    """Return in which frames of a clip the best gaze lies on the thing of its first frame."""
    folder = prompts.__path__[0] + f'/../clips/{clip}'
    frames = [cv2.imread(f'{folder}/frames/{k:05d}.jpg')[..., ::-1] for k in (0, *range(5, 50, 5))]
    masks = [
        cv2.imread(f'{folder}/masks/{k:05d}.png', cv2.IMREAD_GRAYSCALE) for k in range(0, 50, 5)
    ]
    prompt = Example(frames[0], masks[0], features=features)
    found = [prompt.propose(Frame(frame)) for frame in frames[1:]]
    return [
        bool(len(gazes) and mask[int(gazes[0][1]), int(gazes[0][0])])
        for gazes, mask in zip(found, masks[1:], strict=True)
    ]


@pytest.mark.parametrize('clip', ['blackswan', 'dog'])
def test_a_thing_is_found_again_through_a_clip_by_its_colours(clip):
    assert np.mean(hits(clip, histograms)) >= 0.8


@pytest.mark.parametrize('clip', ['blackswan', 'dog'])
def test_a_thing_is_found_again_through_a_clip_by_dinov2(clip):
    from stt_ros.prompts.features import DINOV2, PatchFeatures

    loader = Loader(device='cpu', precision='fp32', local_files_only=True)
    try:
        loader.folder(DINOV2)
    except PromptModelError as error:
        pytest.skip(f'not run: {error}')
    assert np.mean(hits(clip, PatchFeatures(loader))) >= 0.8
