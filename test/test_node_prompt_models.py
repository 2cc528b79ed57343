# SPDX-License-Identifier: Apache-2.0
"""Words, speech, examples and names through the node, over DDS, with tiny models in folders."""

import math

import pytest

pytest.importorskip('transformers', reason='needs the optional extra [prompts]')
pytest.importorskip('sentencepiece', reason='SigLIP has a sentencepiece vocabulary')

import tiny_models  # noqa: E402
from prompt_messages import DISK, INSIDE, MIDDLE, ask, gray, prompt, rgb, tone  # noqa: E402
from ros_helpers import Bench, running_bench  # noqa: E402
from ros_messages import picture  # noqa: E402
from stt_ros.srv import Refine, SetReference  # noqa: E402

PIXELS = picture(120, 160)
EXAMPLE = prompt('EXAMPLE', picture=rgb(PIXELS), mask=gray(INSIDE))
WORDS = ['mug', 'swan']


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Return the parameters of the node that name a folder for every model."""
    chosen = {'text': 'clipseg', 'speech': 'whisper', 'example': 'dinov2', 'label': 'siglip'}
    found = {}
    for use, kind in chosen.items():
        found[use] = tmp_path_factory.mktemp(kind)
        getattr(tiny_models, kind)(found[use])
    return found


def started(folders, **instead):
    """Run the node with these models."""
    values = {f'{use}_model': folder for use, folder in (folders | instead).items()}
    values |= {'vocabulary': ','.join(WORDS), 'local_files_only': 'true'}
    # A gaze's batch depends on how busy the machine is, and in bf16 its mask on the batch, by some
    # pixels (docs/performance.md).
    values['precision'] = 'fp32'
    return running_bench(*(w for k, v in values.items() for w in ('-p', f'{k}:={v}')))


@pytest.fixture(scope='module')
def running(folders):
    with started(folders) as bench:
        yield bench


ASKED = {
    'text': prompt('TEXT', text='red mug'),
    'audio': prompt('AUDIO', **tone()),
    'example': EXAMPLE,
}


@pytest.mark.parametrize('kind', ASKED)
def test_prompts_with_a_model_vote(bench, kind):
    """Random models find what they like; the box beside them says where."""
    answer = ask(bench, DISK, ASKED[kind])
    assert (answer.success, answer.message) == (True, '')
    [result] = answer.results
    assert len(result.agreement) == 2
    assert all(0 <= a <= 1 for a in result.agreement)
    assert result.hypotheses[0].area_px > 0


def test_answers_get_names(bench):
    [result] = ask(bench, DISK).results
    assert result.label in (*WORDS, 'others')
    assert 0 <= result.label_probability <= 1
    [named] = ask(bench, DISK, ASKED['text']).results
    assert named.label == 'red mug'


def test_words_by_topic(bench):
    bench.prompt(DISK, ASKED['text'])
    answer = bench.until(lambda: next((a for a in bench.answers if a.segmentations), None))
    assert answer.segmentations[0].label == 'red mug'


def test_a_reference_that_was_set(bench):
    request = SetReference.Request(picture=rgb(PIXELS), mask=gray(INSIDE))
    answer = bench.call(SetReference, 'set_reference', request)
    assert (answer.success, answer.message) == (True, '')
    [result] = ask(bench, DISK, prompt('EXAMPLE')).results
    [shown] = ask(bench, DISK, EXAMPLE).results
    assert list(result.agreement) == list(shown.agreement)


def test_the_last_answer_becomes_the_reference(bench):
    ask(bench, DISK)
    answer = bench.call(SetReference, 'set_reference', SetReference.Request())
    assert (answer.success, answer.message) == (True, '')
    assert ask(bench, DISK, prompt('EXAMPLE')).success


def test_missing_weights_leave_the_rest(folders, tmp_path):
    """The reasons name prompt and folder; box and example are answered, and refined."""
    missing = tmp_path / 'nothing-here'
    with started(folders, text=missing, label=missing) as bench:
        bench.show(PIXELS)
        unnamed = ask(bench, DISK)
        assert unnamed.success
        assert unnamed.message.startswith('names: ') and str(missing) in unnamed.message
        assert unnamed.results[0].label == ''
        answer = ask(bench, DISK, *ASKED.values())
        assert answer.success and answer.message.count(str(missing)) >= 2
        assert 'prompts[1]: ' in answer.message and 'prompts[2]: ' in answer.message
        assert abstained(answer.results) == [1, 2]  # what is spoken is found by words, too
        click = Refine.Request(negative=[Bench.point(*MIDDLE)])
        refined = bench.call(Refine, 'refine', click)
        assert (refined.success, refined.message) == (True, '')
        assert abstained(refined.results) == [1, 2]


def abstained(results):
    """Return the numbers of the prompts without an opinion on the one result."""
    [result] = results
    return [k for k, agreement in enumerate(result.agreement) if math.isnan(agreement)]
