# SPDX-License-Identifier: Apache-2.0
"""A camera frame as the segmenter reads it: a view of pixels and the order of their channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stt_ros.foveation import FILLER_RGB

CHANNEL_ORDERS = ('rgb', 'bgr', 'rgba', 'bgra', 'mono')


@dataclass(frozen=True)
class Frame:
    """Pixels (H, W, C) or (H, W) uint8, usually a view of a message's buffer, never copied.

    Raises ``ValueError`` when the pixels are empty, not uint8 or do not have the order's channels.
    """

    pixels: np.ndarray
    order: str = 'rgb'

    def __post_init__(self) -> None:
        if self.order not in CHANNEL_ORDERS:
            raise ValueError(f'channel order {self.order!r}; allowed: {", ".join(CHANNEL_ORDERS)}')
        channels = 1 if self.order == 'mono' else len(self.order)
        shape = self.pixels.shape
        found = 1 if len(shape) == 2 else shape[-1]
        if self.pixels.dtype != np.uint8 or len(shape) not in (2, 3) or found != channels:
            raise ValueError(
                f'image is {self.pixels.dtype} of shape {shape}; '
                f'expected uint8 (H, W, {channels}) for {self.order}'
            )
        if self.pixels.size == 0:
            raise ValueError(f'image is empty: {shape[1]} x {shape[0]} pixels')

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[:2]

    @property
    def reversed(self) -> bool:
        """Whether blue comes first."""
        return self.order.startswith('bgr')

    @property
    def filler(self) -> tuple[int, ...]:
        """The colour beyond the border, in this frame's channel order."""
        return FILLER_RGB[::-1] if self.reversed else FILLER_RGB

    def rgb(self) -> np.ndarray:
        """Return the whole frame as (H, W, 3) RGB; a view where the memory allows."""
        if self.order == 'mono':
            return np.repeat(self.pixels.reshape(*self.size, 1), 3, axis=2)
        colours = self.pixels[..., :3]
        return colours[..., ::-1] if self.reversed else colours
