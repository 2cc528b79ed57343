# SPDX-License-Identifier: Apache-2.0
"""What is written elsewhere about parameters and messages, generated from their definitions.

``python -m stt_ros.ros.reference FOLDER`` brings a checkout's config/stt.yaml and README.md up to
date; a test holds them to it.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

from stt_ros.msg import MaskHypothesis, Prompt, PromptArray, Segmentation, SegmentationArray
from stt_ros.ros.parameters import TABLE, Spec, when_in_words
from stt_ros.srv import ClearGaze, Refine, Segment, SetReference

_MESSAGES = (MaskHypothesis, Segmentation, SegmentationArray, Prompt, PromptArray)
_SERVICES = (Segment, Refine, SetReference, ClearGaze)

_YAML_HEAD = """\
# Parameters of the node, with their defaults. Generated: python -m stt_ros.ros.reference .
# Use a copy: ros2 launch stt_ros stt.launch.py params_file:=/path/to/my_stt.yaml
# /** fits any node name and namespace.
/**:
  ros__parameters:
"""


def parameters_yaml() -> str:
    """Return config/stt.yaml: every parameter, commented, with its default."""
    return _YAML_HEAD + '\n'.join(_yaml_entry(spec) for spec in TABLE)


def parameters_markdown() -> str:
    """Return the parameters as a Markdown table."""
    rows = [
        f'| `{spec.name}` | `{json.dumps(spec.default)}` | {_escape(spec.allowed)} '
        f'| {when_in_words(spec.when)} | {_escape(spec.description)} |'
        for spec in TABLE
    ]
    head = ['| parameter | default | allowed | taken | meaning |', '|---|---|---|---|---|']
    return '\n'.join(head + rows)


def messages_markdown() -> str:
    """Return the fields of our messages and services as a Markdown table."""
    rows = ['| message | fields |', '|---|---|']
    parts = (part for kind in _SERVICES for part in (kind.Request, kind.Response))
    for kind in (*_MESSAGES, *parts):
        fields = ', '.join(
            f'`{name}` {_field_type(text)}'
            for name, text in kind.get_fields_and_field_types().items()
        )
        rows.append(f'| {kind.__name__.replace("_", " ")} | {fields} |')
    return '\n'.join(rows)


def with_table(text: str, name: str, table: str) -> str:
    """Return a Markdown text with what is between the table's markers replaced.

    Raises ``ValueError`` when the text has no such markers.
    """
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    pattern = re.compile(f'{re.escape(start)}.*?{re.escape(end)}', re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f'no {start} ... {end} in the text')
    return pattern.sub(lambda _: f'{start}\n{table}\n{end}', text)


def _yaml_entry(spec: Spec) -> str:
    lines = textwrap.wrap(spec.description, 92, break_on_hyphens=False)
    lines.append(f'Allowed: {spec.allowed}; taken {when_in_words(spec.when)}.')
    comment = ''.join(f'    # {line}\n' for line in lines)
    return f'{comment}    {spec.name}: {json.dumps(spec.default)}\n'


def _field_type(text: str) -> str:
    text = re.sub(r'^sequence<(.+)>$', r'\1[]', text)
    # Their names in .msg files.
    return re.sub(r'^(float|boolean)\b', lambda m: {'float': 'float32'}.get(m[0], 'bool'), text)


def _escape(text: str) -> str:
    return text.replace('|', r'\|')


def main() -> None:
    """Write the files of the checkout given as the only argument."""
    folder = Path(sys.argv[1])
    (folder / 'config' / 'stt.yaml').write_text(parameters_yaml())
    readme = folder / 'README.md'
    text = with_table(readme.read_text(), 'parameters', parameters_markdown())
    readme.write_text(with_table(text, 'messages', messages_markdown()))


if __name__ == '__main__':
    main()
