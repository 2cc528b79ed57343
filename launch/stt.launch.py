# SPDX-License-Identifier: Apache-2.0
"""
Starts the segmentation node, and RViz when asked.

ros2 launch stt_ros stt.launch.py image:=/camera/color/image_raw
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

BOOLEANS = ['true', 'false', 'True', 'False']
SPACES = [
    'auto', 'pixel', 'normalized', 'normalized_bottom_left', 'camera_3d', 'world_3d', 'ray',
]
AS_FILE = ['']  # an argument left empty keeps the value of params_file

# name, default, allowed values (None: any), description
TOPICS = (
    ('image', 'image', None, 'Camera image topic, without /compressed'),
    ('gaze', 'gaze', None, 'PointStamped topic of an eye tracker'),
    ('gaze_pose', 'gaze_pose', None, 'PoseStamped topic of gaze rays'),
    ('gaze_direction', 'gaze_direction', None, 'Vector3Stamped topic of gaze rays'),
    ('clicked_point', 'clicked_point', None, "PointStamped topic of RViz' Publish Point tool"),
    ('prompt', 'prompt', None, 'PromptArray topic: boxes, scribbles, words, examples ...'),
    ('detections', 'detections', None, 'Detection2DArray topic of a detector'),
    (
        'mouse_left', '', None,
        'Point topic of rqt_image_view clicks; empty: <image>_mouse_left, or '
        '<image>/compressed_mouse_left with image_transport:=compressed (the argument)',
    ),
    ('camera_info', '', None, 'Calibration topic; empty: camera_info beside the image topic'),
    ('depth', 'depth', None, 'Topic of depth images that are aligned to the image'),
    ('points', 'points', None, "The camera's point cloud, which RViz shows to be clicked on"),
)
PARAMETERS = (
    ('weights', '', None, 'Model name or weights file'),
    ('device', '', None, 'auto, cpu, cuda or cuda:<number>'),
    ('engine', '', AS_FILE + ['auto', 'torch', 'openvino', 'onnxruntime'], 'What runs the network'),
    ('precision', '', AS_FILE + ['auto', 'fp32', 'bf16', 'fp16', 'int8'], 'Numbers of the network'),
    ('gaze_space', '', AS_FILE + SPACES, 'What the numbers on the gaze topic are'),
    ('clicked_point_space', '', AS_FILE + SPACES, 'What those of clicked_point are'),
    ('handedness', '', AS_FILE + ['right', 'left_unity'], 'Axes of gazes in space'),
    ('mode', '', AS_FILE + ['on_prompt', 'continuous'], 'One result per prompt, or per frame'),
    ('image_transport', '', AS_FILE + ['raw', 'compressed'], 'How the images arrive'),
    ('autostart', '', AS_FILE + BOOLEANS, 'Configure and activate the node at start'),
    ('use_sim_time', '', AS_FILE + BOOLEANS, 'Take the time from /clock'),
)
PROCESS = (
    ('namespace', '', None, 'Namespace of the node'),
    ('name', 'stt', None, 'Name of the node: outputs are ~/segmentation, ~/mask, ~/overlay'),
    ('params_file', '', None, 'Parameter file; empty: config/stt.yaml of this package'),
    ('log_level', 'info', ['debug', 'info', 'warn', 'error', 'fatal'], 'Least severity to log'),
    ('use_respawn', 'false', BOOLEANS, 'Start the node again when it ends'),
    ('rviz', 'false', BOOLEANS, 'Also start rviz2 with image, overlay and mask'),
)
SHOWN = ('overlay', 'mask', 'object_points', 'markers')  # by RViz, of the outputs
SHARE = Path(get_package_share_directory('stt_ros'))


def derived_topics(values):
    """Fill in the topics that follow from the image topic; return {input: topic}."""
    topics = {name: values[name] for name, *_ in TOPICS}
    image = topics['image'].rstrip('/')
    viewed = f'{image}/compressed' if values['image_transport'] == 'compressed' else image
    topics['mouse_left'] = topics['mouse_left'] or f'{viewed}_mouse_left'
    folder, slash, _ = image.rpartition('/')
    topics['camera_info'] = topics['camera_info'] or f'{folder}{slash}camera_info'
    return topics


def parameter_sources(values):
    """Return the parameter file, followed by the parameters that were given as arguments."""
    file = Path(values['params_file'] or SHARE / 'config' / 'stt.yaml')
    if not file.is_file():
        raise RuntimeError(f'params_file:={file}: there is no such file')
    given = {name: values[name] for name, *_ in PARAMETERS if values[name]}
    for name in ('autostart', 'use_sim_time'):
        if name in given:
            given[name] = given[name].lower() == 'true'
    return [str(file)] + ([given] if given else [])


def dds_profile(context):
    """Return the environment that gives Fast DDS room for images, unless the user chose one."""
    new, old = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
    for name in (new, old, 'FASTDDS_BUILTIN_TRANSPORTS'):
        if EnvironmentVariable(name, default_value='').perform(context):
            return {}
    distro = EnvironmentVariable('ROS_DISTRO', default_value='').perform(context)
    local = EnvironmentVariable('ROS_LOCALHOST_ONLY', default_value='').perform(context)
    if distro == 'humble' and local == '1':  # to which the profile's network would be added
        return {}
    variable = old if distro in ('humble', 'iron', 'jazzy') else new
    return {variable: str(SHARE / 'config' / 'fastdds.xml')}


def start(context):
    """Make the actions for the given arguments."""
    values = {
        name: LaunchConfiguration(name).perform(context)
        for name, *_ in TOPICS + PARAMETERS + PROCESS
    }
    topics = derived_topics(values)
    shared = {
        'namespace': values['namespace'],
        'output': 'screen',
        'additional_env': dds_profile(context),
    }
    node = LifecycleNode(
        package='stt_ros',
        executable='stt_node',
        name=values['name'],
        parameters=parameter_sources(values),
        remappings=[(name, topic) for name, topic in topics.items() if name != 'points'],
        arguments=['--ros-args', '--log-level', values['log_level']],
        respawn=values['use_respawn'].lower() == 'true',
        respawn_delay=2.0,
        **shared,
    )
    if values['rviz'].lower() != 'true':
        return [node]
    shown = {f'/{name}': topics[name] for name in ('image', 'clicked_point', 'points')}
    shown.update({f'/stt/{output}': f'{values["name"]}/{output}' for output in SHOWN})
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        name='rviz',
        arguments=['-d', str(SHARE / 'config' / 'stt.rviz')],
        remappings=list(shown.items()),
        **shared,
    )
    return [node, rviz]


def generate_launch_description():
    """Declare the arguments and start the node with them."""
    declarations = [
        DeclareLaunchArgument(name, default_value=default, choices=choices, description=text)
        for name, default, choices, text in TOPICS + PARAMETERS + PROCESS
    ]
    return LaunchDescription([*declarations, OpaqueFunction(function=start)])
