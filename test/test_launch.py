# SPDX-License-Identifier: Apache-2.0
"""The launch file: with launch_ros what it makes of its arguments, without it what can be read."""

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILE = ROOT / 'launch' / 'stt.launch.py'
PROFILE_VARIABLES = (
    'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS',
)
yaml = pytest.importorskip('yaml')


def table(name):
    """Return the rows of one of the launch file's argument tables, without importing launch."""
    constants = {}
    for node in ast.parse(LAUNCH_FILE.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            expression = compile(ast.Expression(node.value), str(LAUNCH_FILE), 'eval')
            if node.targets[0].id == name:
                return eval(expression, {}, constants)
            if isinstance(node.value, (ast.List, ast.Tuple)):
                constants[node.targets[0].id] = eval(expression, {}, constants)
    raise AssertionError(f'no {name} in {LAUNCH_FILE}')


def parameters_of_the_node():
    file = yaml.safe_load((ROOT / 'config' / 'stt.yaml').read_text())
    assert list(file) == ['/**'], 'the parameters must reach the node under any name and namespace'
    return file['/**']['ros__parameters']


def test_arguments_are_unique_and_described():
    rows = [row for name in ('TOPICS', 'PARAMETERS', 'PROCESS') for row in table(name)]
    names = [name for name, *_ in rows]
    assert len(set(names)) == len(names)
    for name, default, choices, description in rows:
        assert description, name
        assert choices is None or default in choices, name


def test_parameter_arguments_exist_in_the_parameter_file():
    known = set(parameters_of_the_node()) | {'use_sim_time'}  # declared by every ROS 2 node
    assert {name for name, *_ in table('PARAMETERS')} <= known


def test_parameter_arguments_default_to_the_parameter_file():
    assert {default for _, default, *_ in table('PARAMETERS')} == {''}


def test_choices_are_those_of_the_node():
    pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    from stt_ros.ros.parameters import BY_NAME

    for name, _, choices, _ in table('PARAMETERS'):
        if name in BY_NAME and BY_NAME[name].choices and name != 'device':  # cuda:1 is not listed
            assert set(choices) == {'', *BY_NAME[name].choices}, name


def test_fast_dds_profile_has_room_for_images():
    names = {'p': 'http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles'}
    profile = ElementTree.parse(ROOT / 'config' / 'fastdds.xml')
    transports = profile.findall('.//p:transport_descriptor', names)
    assert [t.findtext('p:type', None, names) for t in transports] == ['SHM', 'UDPv4']
    assert int(transports[0].findtext('p:segment_size', None, names)) == 64 << 20
    assert int(transports[0].findtext('p:maxMessageSize', None, names)) == 32 << 20
    assert profile.findtext('.//p:useBuiltinTransports', None, names) == 'false'


@pytest.mark.parametrize(
    ('distro', 'local', 'variable'),
    [
        ('humble', '0', PROFILE_VARIABLES[1]),
        ('humble', '1', None),  # its profile's network would leave the machine
        ('jazzy', '1', PROFILE_VARIABLES[1]),
        ('kilted', '', PROFILE_VARIABLES[0]),
    ],
)
def test_the_profile_is_chosen_by_the_distribution(monkeypatch, distro, local, variable):
    pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    from stt_ros.ros import dds

    for name in (*PROFILE_VARIABLES[:2], 'FASTDDS_BUILTIN_TRANSPORTS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DISTRO', distro)
    monkeypatch.setenv('ROS_LOCALHOST_ONLY', local)
    path = ROOT / 'config' / 'fastdds.xml'
    monkeypatch.setattr(dds, 'profile_path', lambda: path)
    with mock.patch.dict(os.environ):
        dds.use_profile()
        chosen = {n: os.environ[n] for n in PROFILE_VARIABLES[:2] if n in os.environ}
    assert chosen == ({variable: str(path)} if variable else {})


def test_rviz_layout_shows_what_the_node_publishes():
    layout = yaml.safe_load((ROOT / 'config' / 'stt.rviz').read_text())['Visualization Manager']
    shown = {
        display['Topic']['Value']: display['Topic']['Reliability Policy']
        for display in layout['Displays']
        if display['Class'] == 'rviz_default_plugins/Image'
    }
    assert shown == dict.fromkeys(('/image', '/stt/overlay', '/stt/mask'), 'Best Effort')
    others = {d['Class'].split('/')[1]: d['Topic']['Value'] for d in layout['Displays'][4:]}
    assert others == {'PointCloud2': '/points', 'MarkerArray': '/stt/markers'}
    assert layout['Displays'][4]['Topic']['Value'] == '/stt/object_points'
    tools = {tool['Class']: tool for tool in layout['Tools']}
    assert tools['rviz_default_plugins/PublishPoint']['Topic']['Value'] == '/clicked_point'


# Sends small images until it is told that one was heard, then a large one for each line it is told.
CAMERA = """
import array, select, sys, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
while not select.select([sys.stdin], [], [], 1 / 30)[0]:
    publisher.publish(Image())
message = Image(width=1280, height=720, step=3840, encoding='rgb8')
message.data = array.array('B', bytes(3840 * 720))
for _ in sys.stdin:
    publisher.publish(message)
"""


def test_fast_dds_profile_brings_every_720p_frame_to_another_process(ros_domain, monkeypatch):
    """Without the profile, 0 of 150 such frames arrive."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    for name in PROFILE_VARIABLES[:2]:
        monkeypatch.setenv(name, str(ROOT / 'config' / 'fastdds.xml'))
    command = [sys.executable, '-c', CAMERA]
    camera = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node('viewer', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        all_arrived = rclpy.task.Future(executor=executor)
        sizes = []

        def count(image):
            """Ask for the next one: a best-effort stream does not wait for who stalls."""
            if image.width or not sizes:
                sizes.append(len(image.data))
                if len(sizes) == 31:
                    all_arrived.set_result(True)
                camera.stdin.write('next\n')

        node.create_subscription(Image, 'image', count, qos_profile_sensor_data)
        executor.spin_until_future_complete(all_arrived, timeout_sec=20)
        assert sizes == [0] + [1280 * 720 * 3] * 30
    finally:
        camera.kill()
        camera.communicate()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.fixture
def launched(monkeypatch):
    """Return a function that runs the launch file's own logic with arguments: its actions."""
    launch = pytest.importorskip('launch', reason='launch is not on PyPI: needs ROS 2 from apt')
    pytest.importorskip('launch_ros', reason='launch_ros is not on PyPI: needs ROS 2 from apt')
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(**arguments):
        context = launch.LaunchContext()
        context.launch_configurations.update(arguments)
        source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
        *declarations, function = source.get_launch_description(context).entities
        for declaration in declarations:
            declaration.visit(context)
        nodes = function.visit(context)
        for node in nodes:
            node._perform_substitutions(context)
        return nodes

    return run


def remaps(node):
    return dict(node.expanded_remapping_rules)


def test_defaults_start_one_node(launched):
    (node,) = launched()
    assert node.node_name == '/stt'
    assert remaps(node)['image'] == 'image'
    assert remaps(node)['camera_info'] == 'camera_info'


def test_topics_follow_the_image(launched):
    (node,) = launched(image='/camera/color/image_raw')
    assert remaps(node)['mouse_left'] == '/camera/color/image_raw_mouse_left'
    assert remaps(node)['camera_info'] == '/camera/color/camera_info'


def test_clicks_on_the_compressed_image(launched):
    (node,) = launched(image='/camera/image_raw', image_transport='compressed')
    assert remaps(node)['mouse_left'] == '/camera/image_raw/compressed_mouse_left'


def test_a_wrong_choice_is_refused(launched):
    with pytest.raises(RuntimeError, match='continuous'):
        launched(mode='sometimes')


def test_a_missing_parameter_file_is_named(launched):
    with pytest.raises(RuntimeError, match='/no/such.yaml'):
        launched(params_file='/no/such.yaml')


def test_rviz_shows_the_nodes_topics(launched):
    _, rviz = launched(rviz='true', name='eye', image='/camera/image_raw')
    assert remaps(rviz)['/image'] == '/camera/image_raw'
    assert remaps(rviz)['/stt/overlay'] == 'eye/overlay'
    assert remaps(rviz)['/stt/object_points'] == 'eye/object_points'
