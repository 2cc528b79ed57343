# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can do something about; their text says what."""

import numpy as np

# For the lines to be typed: what apt installed for NumPy 1 (OpenCV, cv_bridge) cannot be imported
# beside NumPy 2, which some packages would bring.
KEEP_NUMPY = '' if int(np.__version__.split('.')[0]) > 1 else " 'numpy<2'"


class EngineError(RuntimeError):
    """An engine that cannot be had as asked for, or cannot go on; the text says what to do."""


class WeightsError(RuntimeError):
    """Weights that are not there, cannot be read or do not fit."""


class UnknownModelError(WeightsError, ValueError):
    """A model name that does not exist; the text lists those that do."""


class DownloadError(WeightsError):
    """Published weights could not be fetched; the text says how to do without the download."""
