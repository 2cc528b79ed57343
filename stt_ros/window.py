# SPDX-License-Identifier: Apache-2.0
"""A window: click on a picture, see what the network sees there, its mask and predicted IoU."""

from __future__ import annotations

import os

import numpy as np

from stt_ros.errors import KEEP_NUMPY
from stt_ros.segmenter import Hypothesis, Segmentation, Segmenter
from stt_ros.visualize import overlay


class WindowError(RuntimeError):
    """No window can be opened; the text says why."""


class Window:
    """The picture and, beside it, one foveated view per shown hypothesis, drawn in a figure.

    A left click on any of them is the next gaze.
    """

    def __init__(
        self,
        figure,
        segmenter: Segmenter,
        image: np.ndarray,
        show_all: bool = False,
        interpolation: str = 'bilinear',
    ) -> None:
        """Show an image (H, W, 3) uint8 RGB in a matplotlib figure and listen to its clicks."""
        self.figure, self.segmenter, self.image = figure, segmenter, image
        self.interpolation = interpolation
        grid = figure.subplots(2, 2) if show_all else figure.subplots(1, 2)
        self.picture, *self.views = grid.ravel()
        for axes in grid.ravel():
            axes.set_axis_off()
        self.shown = self.picture.imshow(image)
        self.picture.set_title('click on a thing')
        figure.canvas.mpl_connect('button_press_event', self.on_click)

    def on_click(self, event) -> None:
        """Segment at the clicked pixel, unless the click belongs to the toolbar's zoom or pan."""
        toolbar = self.figure.canvas.toolbar
        if event.button != 1 or (toolbar and toolbar.mode):
            return
        if event.inaxes is None or not event.inaxes.images:  # a view that is still empty
            return
        height, width = self.image.shape[:2]
        x, y = round(event.xdata), round(event.ydata)  # pixel centres are at whole numbers
        if 0 <= x < width and 0 <= y < height:
            self.look_at((x, y))

    def look_at(self, gaze: tuple[int, int]) -> Segmentation:
        """Segment at a gaze (x, y) in pixels and show the result."""
        result = self.segmenter.segment(self.image, [gaze], self.interpolation)[0]
        best = result.hypotheses[0]
        self.shown.set_data(overlay(self.image, best.mask(), gaze))
        self.picture.set_title(f'gaze ({gaze[0]}, {gaze[1]})')
        seen = result.view.picture()
        for axes, hypothesis in zip(self.views, result.hypotheses, strict=False):
            self._show(axes, seen, hypothesis)
        self.figure.canvas.draw_idle()
        return result

    def _show(self, axes, seen: np.ndarray, hypothesis: Hypothesis) -> None:
        """Show the foveated view with a mask over it, cut to what the network saw."""
        view = hypothesis.view
        left, top = view.pattern.crop_origin(view.gaze)
        side = view.pattern.receptive_field
        height, width = view.size
        axes.clear()
        axes.set_axis_off()
        axes.imshow(overlay(seen, hypothesis.mask(), view.gaze))
        axes.set_xlim(max(left, 0) - 0.5, min(left + side, width) - 0.5)
        axes.set_ylim(min(top + side, height) - 0.5, max(top, 0) - 0.5)
        axes.set_title(
            f'predicted IoU {hypothesis.predicted_iou:.2f}   stability {hypothesis.stability:.2f}'
        )


def open_figure(title: str, size: tuple[int, int], show_all: bool):
    """Return an empty matplotlib figure, in a window that is not shown yet, for an image (H, W).

    Raises ``WindowError`` when no window can be opened here, saying what is missing.
    """
    try:
        import matplotlib.pyplot as plt

        height = min(max(7 * size[0] / size[1], 3), 7) + 0.4
        figure = plt.figure(figsize=(14, 2 * height if show_all else height), layout='constrained')
        figure.canvas.manager.set_window_title(title)
        reason = '' if figure.canvas.required_interactive_framework else plt.get_backend()
    except ModuleNotFoundError as error:
        raise WindowError(
            f'the window needs matplotlib ({error}): pip install matplotlib{KEEP_NUMPY}; '
            '`stt_ros segment` needs none'
        ) from error
    except (ImportError, ValueError) as error:  # what MPLBACKEND asks for
        reason = str(error)
    if not reason:
        return figure
    if not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise WindowError(
            'there is no display to open a window on: neither DISPLAY nor WAYLAND_DISPLAY is set '
            '(over ssh: ssh -X); `stt_ros segment` needs none'
        )
    raise WindowError(
        f'matplotlib can open no window ({reason}): the display does not answer, or there is no '
        'toolkit (sudo apt install python3-tk, or pip install PyQt6); `stt_ros segment` needs none'
    )


def wait_until_closed() -> None:
    """Show the open windows and handle their events."""
    import matplotlib.pyplot as plt

    plt.show()
