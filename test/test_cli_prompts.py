# SPDX-License-Identifier: Apache-2.0
"""Prompts on the command line: files, reports, and one line for everything that is wrong."""

import importlib.util
import json
import re
import shlex
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from stt_ros import cli, cli_prompts, pictures
from stt_ros.prompts import rle

DOCS = Path(__file__).resolve().parent.parent / 'docs'
DISK = np.hypot(*(np.indices((120, 160)) - np.array([60, 80])[:, None, None])) < 30


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Return a folder with a picture of a disk, its mask, strokes and sounds."""
    folder = tmp_path_factory.mktemp('prompts')
    pixels = np.full((120, 160, 3), (40, 60, 50), np.uint8)
    pixels[DISK] = (250, 220, 30)
    pictures.write(folder / 'photo.png', pixels)
    pictures.write(folder / 'mask.png', DISK.astype(np.uint8) * 255)
    pictures.write(folder / 'small.png', np.full((9, 9), 255, np.uint8))
    (folder / 'strokes.txt').write_text('65,50\n95,70\n\n80,40\n80,80\n')
    (folder / 'bad.txt').write_text('65,50\nhere\n')
    (folder / 'empty.txt').write_text('\n')
    (folder / 'latin.txt').write_bytes(b'\xe9\xff')
    for name, loud, width in (('silent', 0, 2), ('loud', 9000, 2), ('narrow', 9, 1)):
        with wave.open(str(folder / f'{name}.wav'), 'wb') as sound:
            sound.setparams((1, width, 16000, 0, 'NONE', ''))
            sound.writeframes(bytes(np.full(16000 * width // 2, loud, '<i2')))
    whole = (folder / 'loud.wav').read_bytes()
    (folder / 'cut.wav').write_bytes(whole[:-3])
    (folder / 'head.wav').write_bytes(whole[:30])
    return folder


@pytest.fixture
def run(capsys, files):
    """Return a function that runs ``stt_ros segment photo.png ...``: code, stdout, stderr."""

    def segment(*words):
        words = [w.replace('@', f'{files}/') for w in words]
        code = cli.main(['segment', str(files / 'photo.png'), '--device', 'cpu', *words])
        return code, *capsys.readouterr()

    return segment


KINDS = {
    'points': ['--point', '80,60', '--point', '70,50', '--mode', 'one_object'],
    'negative': ['--point', '80,60', '--negative', '5,5'],
    'box': ['--box', '50,30,61,61'],
    'scribble': ['--scribble', '@strokes.txt'],
    'polygon': ['--polygon', '62,40 98,40 98,80 62,80'],
    'lasso': ['--lasso', '45,25 115,25 115,95 45,95'],
    'mask': ['--mask', '@mask.png'],
    'several': ['--box', '50,30,61,61', '--point', '80,60', '--mask', '@mask.png'],
}


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_finds_the_disk(run, kind, tmp_path):
    mask = tmp_path / 'mask.png'
    code, out, err = run(*KINDS[kind], '--json', '--out', str(mask))
    assert (code, err) == (0, '')
    [result] = json.loads(out)['results']
    written = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) > 0
    assert np.count_nonzero(written & DISK) / np.count_nonzero(written | DISK) > 0.4
    assert result['area_px'] == np.count_nonzero(written)
    assert result['box'] == list(cv2.boundingRect(written.view(np.uint8)))
    assert result['files'] == {'mask': str(mask)}
    assert all(0 <= agreement <= 1 for agreement in result['agreement'])


def test_several_things(run, tmp_path):
    """A mask file each, one label image, one overlay."""
    out, labels, overlay = (tmp_path / f'{name}.png' for name in ('mask', 'labels', 'overlay'))
    words = ['--box', '50,30,61,61', '--box', '0,0,30,30', '--mode', 'one_per_prompt']
    code, text, _ = run(
        *words, '--out', str(out), '--labels', str(labels), '--overlay', str(overlay)
    )
    assert code == 0
    masks = [cv2.imread(str(tmp_path / f'mask_{k}.png'), cv2.IMREAD_UNCHANGED) for k in (1, 2)]
    written = cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16
    assert np.array_equal(written == 1, masks[0] > 0)
    assert np.array_equal(written > 0, (masks[0] > 0) | (masks[1] > 0))
    assert pictures.read(overlay).shape == (120, 160, 3)
    assert [line.split(':')[0] for line in text.splitlines()] == ['1', '2']


def test_everything(run):
    code, out, _ = run('--everything', '--budget', '1', '--json')
    assert code == 0
    assert json.loads(out)['results'] is not None


def test_everything_is_filtered_and_written(run, tmp_path):
    labels, edges, listed = (tmp_path / name for name in ('l.png', 'e.png', 'r.json'))
    words = ['--everything', '--grid', '4', '--min-iou', '0', '--json']
    _, whole, _ = run(*words)
    whole = json.loads(whole)['results']
    lowest = float(np.median([found['predicted_iou'] for found in whole]))
    files = ['--cover', '--labels', labels, '--edges', edges, '--records', listed]
    code, out, err = run(*words, '--min-iou', str(lowest), '--top', '5', *map(str, files))
    assert (code, err) == (0, '')
    found = json.loads(out)['results']
    assert 0 < len(found) <= 5 and len(found) < len(whole)
    assert all(result['predicted_iou'] > lowest for result in found)
    written = cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
    assert 1 <= written.min() <= written.max() <= len(found)
    records = json.loads(listed.read_text())
    assert [record['area'] for record in records] == [result['area_px'] for result in found]
    assert [sum(rle.decode(r['segmentation']).ravel()) for r in records] == [
        record['area'] for record in records
    ]
    assert records[0]['crop_box'] == [0, 0, 160, 120]
    strength = cv2.imread(str(edges), cv2.IMREAD_UNCHANGED)
    assert strength.shape == (120, 160) and strength.max() > 200


def test_crop_layers_look_closer(tmp_path):
    """At dots that the gazes of the whole picture miss."""
    y, x = np.indices((120, 160)) % 20 - 10
    pixels = np.where((np.hypot(x, y) < 6)[..., None], (250, 220, 30), (40, 60, 50))
    pictures.write(tmp_path / 'dots.png', pixels.astype(np.uint8))
    listed = tmp_path / 'r.json'
    words = ['segment', str(tmp_path / 'dots.png'), '--device', 'cpu', '--everything']
    words += ['--grid', '2', '--min-iou', '0', '--records', str(listed)]

    def crops(*more):
        assert cli.main([*words, *more]) == 0
        return {tuple(record['crop_box']) for record in json.loads(listed.read_text())}

    assert crops() == {(0, 0, 160, 120)}
    assert crops('--crop-layers', '1') - {(0, 0, 160, 120)}


def test_labels_are_masks_for_the_next_time(run, tmp_path):
    """Of 16 bits: what is 1 there is no black of 8 bits."""
    labels = tmp_path / 'labels.png'
    assert run('--box', '50,30,61,61', '--labels', str(labels))[0] == 0
    assert np.array_equal(pictures.read_mask(labels), cv2.imread(str(labels), -1) == 1)
    code, out, _ = run('--mask', str(labels))
    assert code == 0 and out.startswith('1: agreement')


def test_a_sound_that_was_cut_short_is_heard_as_far_as_it_goes(files):
    samples, rate = cli_prompts.read_sound(files / 'cut.wav')
    assert (len(samples), rate) == (15998, 16000) and (samples == 9000).all()


def test_only_names_of_a_vocabulary_have_a_probability():
    found = {'box': (1, 2, 3, 4), 'score': 1, 'predicted_iou': 1, 'area_px': 9, 'files': {}}
    given = found | {'label': 'red mug', 'label_probability': 0.0}
    named = found | {'label': 'cup', 'label_probability': 0.75}
    first, second = cli_prompts.as_text([given, named]).splitlines()
    assert first.startswith('1: red mug agreement') and second.startswith('2: cup (0.75) agreement')


WRONG = {
    'nothing': ([], 'nothing says what is meant: --point X,Y or another prompt'),
    'contradiction': (['--point', '9,9', '--negative', '9,9'], 'contradict each other'),
    'only negative': (['--negative', '9,9'], 'there are only negative points'),
    'box of three': (['--box', '1,2,3'], "'1,2,3' is not a box: X,Y,WIDTH,HEIGHT"),
    'empty box': (['--box', '5,5,0,9'], 'is empty'),
    'box outside': (['--box', '-90,5,9,9'], 'is outside the image of 160 x 120'),
    'two corners': (['--polygon', '1,1 9,9'], 'has 2 corners; expected 3 or more'),
    'corners': (['--lasso', '1,1 9'], "'1,1 9' are not corners"),
    'no file': (['--scribble', '@none.txt'], 'No such file'),
    'bad line': (['--scribble', '@bad.txt'], "bad.txt, line 2: 'here' is not a pixel"),
    'no stroke': (['--scribble', '@empty.txt'], 'empty.txt has no stroke'),
    'no text file': (['--scribble', '@latin.txt'], 'cannot read'),
    'mask size': (['--mask', '@small.png'], 'mask of 9 x 9 pixels for an image of 160 x 120'),
    'mask file': (['--mask', '@strokes.txt'], 'not a picture'),
    'example mask': (['--example', '@photo.png', '@small.png'], 'the example is 9 x 9 pixels'),
    'silence': (['--audio', '@silent.wav'], 'the sound is silent'),
    'sound file': (['--audio', '@strokes.txt'], 'cannot read'),
    'no sound file': (['--audio', '@none.wav'], 'none.wav: No such file or directory'),
    'sound cut short': (['--audio', '@head.wav'], 'head.wav: cut short'),
    'sound bits': (['--audio', '@narrow.wav'], 'samples of 8 bits; 16-bit WAV'),
    'long text': (['--text', 'mug ' * 2500], 'has 9999 characters; at most 300'),
    'mode': (['--everything', '--mode', 'one_object'], 'everything alone is many things'),
    'budget': (['--everything', '--budget', '-1'], 'budget is -1'),
    'grid': (['--everything', '--grid', '0'], 'points_per_side is 0; allowed: 1 to 256'),
    'crop layers': (['--everything', '--crop-layers', '9'], 'crop_layers is 9; allowed: 0 to 4'),
    'top': (['--everything', '--top', '0'], '--top is 0; expected 1 or more'),
    'records': (['--box', '1,1,9,9', '--records', '@none/r.json'], 'No such file'),
    'same files': (['--box', '1,1,9,9', '--out', '@a.png', '--labels', '@a.png'], 'different'),
    'labels': (['--box', '1,1,9,9', '--labels', '@labels.jpg'], 'the name must end in .png'),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG)
def test_wrong(run, case):
    words, reason = WRONG[case]
    code, out, err = run(*words)
    assert (code, out) == (2, '')
    assert err.startswith('stt_ros: error: ') and err.count('\n') == 1
    assert reason in err


@pytest.mark.skipif(
    importlib.util.find_spec('transformers') is not None, reason='the packages are installed here'
)
def test_missing_packages(run):
    """Words alone cannot be answered; beside a box they are left out, with a warning."""
    code, out, err = run('--text', 'disk')
    assert (code, out) == (2, '')
    assert 'needs the Python package transformers' in err and 'pip install' in err
    code, out, err = run('--text', 'disk', '--box', '50,30,61,61', '--names', 'disk,square')
    assert code == 0
    assert out.startswith('1:')
    assert re.match(r'stt_ros: warning: prompts\[1\]: .*transformers', err)
    assert 'stt_ros: warning: names: ' in err


def test_the_commands_in_the_docs_can_be_run():
    """Their words are understood and their files are there."""
    text = re.sub(r'\\\n\s*', '', (DOCS / 'prompts.md').read_text())
    lines = [line for line in text.splitlines() if line.startswith('stt_ros segment')]
    assert len(lines) > 8
    for line in lines:
        words = cli_prompts.attach_points(shlex.split(line)[1:])
        arguments = cli._parser().parse_args(words)
        if arguments.overlay:
            assert (DOCS.parent / arguments.overlay).is_file()
            assert (DOCS.parent / arguments.image).is_file()
