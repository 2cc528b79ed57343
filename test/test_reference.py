# SPDX-License-Identifier: Apache-2.0
"""What is written about the node is what the node does."""

import importlib.util
import itertools
import re
import threading
import time
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from stt_ros.ros import reference
from stt_ros.ros.demo.environment import free_domain
from stt_ros.ros.node import SttNode

ROOT = Path(__file__).resolve().parent.parent
OWN = re.compile(
    r'/(parameter_events|rosout)$|parameter|/describe|_type|lifecycle|state|transition'
)


@pytest.fixture(scope='module')
def node():
    """Return an active node in this process."""
    every_topic = [Parameter('gaze_space', value='ray')]
    with free_domain() as domain:  # the graph asks for a name, and answers for the first of it
        rclpy.init(domain_id=domain)
        node = SttNode(parameter_overrides=every_topic)
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        yield node
        node.close()
        node.destroy_node()
        rclpy.shutdown()


def rows(table):
    """Return {name: type} of a table of the README."""
    text = (ROOT / 'README.md').read_text()
    body = text.split(f'<!-- {table} -->')[1].split(f'<!-- /{table} -->')[0]
    return dict(re.findall(r'^\| `([^`]+)` \| ([\w/]+) \|', body, re.MULTILINE))


def offered(entries):
    """Return {README's name: type} of entries of the graph, without those that every node has."""
    names = {
        name.replace('/stt/', '~/') if name.startswith('/stt/') else name: kinds[0]
        for name, kinds in entries
        if not OWN.search(name)
    }
    return {
        name if name[:2] == '~/' or name == '/diagnostics' else name.lstrip('/'): re.sub(
            '/(msg|srv)/', '/', kind
        )
        for name, kind in names.items()
    }


def in_graph(node, expected, *questions):
    """Return what the graph says that a node offers, once that is what is expected, or in vain."""
    until = time.monotonic() + 20
    while True:
        entries = [ask(node.get_name(), node.get_namespace()) for ask in questions]
        found = offered(itertools.chain(*entries))
        if found == expected or time.monotonic() > until:
            return found
        threading.Event().wait(0.05)  # the graph has no event to wait for from Python


def test_the_parameter_file_is_the_table():
    assert (ROOT / 'config' / 'stt.yaml').read_text() == reference.parameters_yaml()


def test_the_parameter_file_holds_the_defaults(node):
    loaded = yaml.safe_load((ROOT / 'config' / 'stt.yaml').read_text())['/**']['ros__parameters']
    del loaded['gaze_space']
    for name, value in loaded.items():
        assert node.get_parameter(name).value == value


def test_the_readme_has_the_generated_tables():
    text = (ROOT / 'README.md').read_text()
    text = reference.with_table(text, 'parameters', reference.parameters_markdown())
    text = reference.with_table(text, 'messages', reference.messages_markdown())
    assert (ROOT / 'README.md').read_text() == text


def test_the_readme_lists_the_topics_of_the_node(node):
    written = rows('topics')
    if importlib.util.find_spec('vision_msgs') is None:
        assert written.pop('detections') == 'vision_msgs/Detection2DArray'
    questions = (
        node.get_publisher_names_and_types_by_node, node.get_subscriber_names_and_types_by_node
    )  # fmt: skip
    assert written == in_graph(node, written, *questions)


def test_the_readme_lists_the_services_of_the_node(node):
    written = rows('services')
    assert written == in_graph(node, written, node.get_service_names_and_types_by_node)


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r'\]\((?!http|#)([^)]+)\)', (ROOT / 'README.md').read_text())
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links and not missing
