# SPDX-License-Identifier: Apache-2.0
"""The ROS side: messages to frames and gazes, masks to messages. The only place that knows ROS."""
