# SPDX-License-Identifier: Apache-2.0
"""From what a gaze source says to a pixel of a frame: spaces, and pairing in time."""
