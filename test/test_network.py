# SPDX-License-Identifier: Apache-2.0
"""Images from elsewhere: room for them in the sockets, and what the log says when none comes."""

import os
import socket
from contextlib import closing

import pytest
from ros_helpers import Bench, qos_profile_sensor_data, rclpy
from sensor_msgs.msg import CompressedImage, Image


def listening(domain):
    """Return the sizes of the receive buffers of our UDP sockets on a domain's ports."""
    ports = range(7400 + 250 * domain, 7400 + 250 * (domain + 1))  # RTPS 2.3, 9.6.1.1
    sizes = []
    for number in os.listdir('/proc/self/fd'):
        try:
            copy = socket.socket(fileno=os.dup(int(number)))
        except OSError:  # none, or gone
            continue
        with copy:
            if copy.type == socket.SOCK_DGRAM and copy.getsockname()[1] in ports:
                sizes.append(copy.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    return sizes


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs Linux')
@pytest.mark.skipif('FASTDDS_BUILTIN_TRANSPORTS' in os.environ, reason='not with our profile')
def test_sockets_have_room_for_images(ros_domain):
    """As much as the system gives: by default a third of a 640x480 image, and 9 of 10 are lost.

    The fixture's domains lie below the ports that Linux gives to sockets that send.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        allowed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    try:
        node = rclpy.create_node('sockets', context=context)
        sizes = listening(ros_domain)
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert sizes and set(sizes) == {allowed}


@pytest.fixture(scope='module')
def bench():
    """Return a node that wants reliable images, and a camera that sends others."""
    override = '-p', 'qos_overrides./unheard/image.subscription.reliability:=reliable'
    with closing(Bench(*override, namespace='/unheard')) as bench:
        yield bench


def test_camera_of_another_qos(bench):
    """The bench's own camera, best effort."""
    bench.process.wait_for_log(
        r'camera: stale: no image for \d s; /unheard/bench cannot be heard on /unheard/image, its '
        r'QoS does not fit: Best effort publisher and reliable subscription; change '
        r'qos_overrides./unheard/image.subscription'
    )


def test_camera_of_another_type(bench):
    """Of a participant of its own: in one a topic has one type."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node('camera', namespace='/unheard', context=context)
        bench.node.destroy_publisher(bench._images)
        node.create_publisher(CompressedImage, 'image', qos_profile_sensor_data)
        bench.process.wait_for_log(
            r'camera: stale: no image for \d+ s; /unheard/camera publishes sensor_msgs/msg/'
            r'CompressedImage on /unheard/image, not sensor_msgs/msg/Image: .*image_transport'
        )
        line = len(bench.process.lines)
        bench.node.create_publisher(Image, 'image', 1)  # a reliable one, which is heard
        bench.process.wait_for_log(
            r'camera: stale: .*; 1 publisher\(s\) on /unheard/image, but nothing arrives', line
        )
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
