# SPDX-License-Identifier: Apache-2.0
"""The demo: a camera, an eye tracker and a viewer around the node, each a process of its own."""
