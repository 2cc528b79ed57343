# SPDX-License-Identifier: Apache-2.0
"""Segment This Thing for robots: a gaze and a picture in, masks with predicted IoU out."""

__version__ = '0.1.0'
