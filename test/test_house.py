# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: only stt_ros/ros knows ROS, and it never touches a tensor."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stt_ros

PACKAGE = Path(stt_ros.__file__).parent
GENERATED = ('msg', 'srv')  # in an installed package
ROOMS_WITHOUT_TORCH = ('ros', 'gaze')

# Which modules of the package the ROS-free ones below may use: each layer those before it.
LAYERS = (
    ('errors', 'allocator'),
    ('boxsums', 'checks', 'levels', 'painting', 'foveation', 'masks', 'frame', 'visualize'),
    ('layers', 'model', 'weights_io', 'download', 'zoo'),
    ('engines',),
    ('segmenter',),
    ('prompts',),
    ('pictures', 'window', 'evaluation', 'cli_everything', 'cli_prompts', 'cli'),
)


def sources(under=PACKAGE):
    """Return the package's own source files."""
    return [
        path for path in sorted(under.rglob('*.py'))
        if path.relative_to(PACKAGE).parts[0] not in GENERATED
    ]


def imported(path):
    """Return the full names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def is_ros(name):
    top, _, rest = name.partition('.')
    return (
        top in ('rclpy', 'ament_index_python', 'cv_bridge', 'builtin_interfaces', 'std_srvs')
        or top.startswith(('tf2_', 'launch', 'rcl_')) or top.endswith(('_msgs', '_py'))
        or (top == 'stt_ros' and rest.split('.')[0] in GENERATED)
    )  # fmt: skip


def test_sources_are_found():
    names = {path.name for path in sources()}
    assert {'foveation.py', 'node.py', 'segmenter.py', 'attention.py'} <= names


@pytest.mark.parametrize('path', sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_who_imports_what(path):
    names, room = imported(path), path.relative_to(PACKAGE).parts[0]
    if room != 'ros':
        assert not [name for name in names if is_ros(name)]
    if room not in ('ros', 'cli.py'):
        assert not [name for name in names if name.startswith('stt_ros.ros')]
    if room in ROOMS_WITHOUT_TORCH:
        assert not [name for name in names if name.split('.')[0] in ('torch', 'safetensors')]


@pytest.mark.parametrize('layer', range(len(LAYERS)))
def test_layers_use_those_below(layer):
    above = {name for names in LAYERS[layer + 1 :] for name in names}
    for module in LAYERS[layer]:
        path = PACKAGE / f'{module}.py'
        for file in [path] if path.is_file() else sources(PACKAGE / module):
            used = {n.split('.')[1] for n in imported(file) if n.startswith('stt_ros.')}
            assert not used & above, file


def test_every_module_has_its_layer():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix('.py') for path in sources()}
    assert rooms - {'ros', 'gaze', '__init__'} == {name for names in LAYERS for name in names}


def loaded_by(statement, *names):
    """Return which modules an import brings along, in a fresh Python."""
    code = f'import sys; {statement}; print(*sorted({set(names)} & {{*sys.modules}}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_node_loads_torch_only_when_configured():
    pytest.importorskip('rclpy', reason='needs ROS 2: run ./stt test')
    statement = 'import stt_ros.ros.node'
    assert loaded_by(statement, 'torch', 'matplotlib', 'huggingface_hub', 'rclpy') == ['rclpy']


def test_foveation_needs_numpy_and_opencv_only():
    statement = 'import stt_ros.foveation, stt_ros.visualize, stt_ros.gaze.attention'
    assert loaded_by(statement, 'torch', 'rclpy', 'matplotlib', 'cv2', 'numpy') == ['cv2', 'numpy']
