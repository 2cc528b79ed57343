# SPDX-License-Identifier: Apache-2.0
"""Where a point in front of a camera appears in its image, and back: CameraInfo by OpenCV.

The fields and formulas are those of sensor_msgs/CameraInfo and of OpenCV's camera models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from stt_ros.gaze.spaces import GazeError

# Distortion models and their numbers of coefficients.
MODELS = {
    'plumb_bob': (4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
    'fisheye': (4,),
}
_ANGULAR = ('equidistant', 'fisheye')
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
# OpenCV 4 takes the stopping criteria in a function of its own.
_undistort_points = getattr(cv2, 'undistortPointsIter', cv2.undistortPoints)


@dataclass(frozen=True)
class Camera:
    """A calibrated camera; the fields are those of sensor_msgs/CameraInfo.

    Points are in the optical frame: metres, x right, y down, z forward. Pixels are those of the
    image that is being published: binned, cropped to the ROI, resized. Whole numbers are the
    centres of pixels.
    """

    width: int
    height: int
    model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning: tuple[int, int] = (0, 0)  # 0 is 1
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)  # x, y, width, height; all 0 is everything

    def pixel(
        self, point: Sequence[float], size: tuple[int, int], rectified: bool = False
    ) -> tuple[float, float]:
        """Return the pixel (x, y) of a point (x, y, z), in an image of ``size`` (H, W).

        ``rectified`` images are described by P and R, raw ones by K and D. Raises ``GazeError``
        for a point behind the camera or beyond what its lens model describes, for a camera that is
        not calibrated, an unknown model, and an image of another shape than the calibration's.
        """
        x, y, z = (float(v) for v in point)
        if not z > 0:
            raise GazeError(f'point ({x:.3f}, {y:.3f}, {z:.3f}) m is behind the camera (z <= 0)')
        pixels, seen = self.project(np.array([[x, y, z]]), size, rectified)
        if not seen[0]:
            raise GazeError(
                f'point ({x:.3f}, {y:.3f}, {z:.3f}) m is farther from the axis than the lens '
                f"model '{self.model}' describes"
            )
        return float(pixels[0, 0]), float(pixels[0, 1])

    def project(
        self, points: np.ndarray, size: tuple[int, int], rectified: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (N, 2) float64 of points (N, 3), and which (N,) bool the lens can see.

        What it cannot see, behind it or far off its axis, has no meaningful pixel. Raises as
        ``pixel`` does for the camera and the size.
        """
        scale, shift = self._to_image(size)
        points = np.asarray(points, float)
        seen = points[:, 2] > 0
        points = np.where(seen[:, None], points, (0.0, 0.0, 1.0))
        if rectified:
            p = self._projection()
            projected = points @ self._rotation().T @ p[:, :3].T + p[:, 3]
            pixels = projected[:, :2] / projected[:, 2:]
        else:
            pixels = self._distorted(points)
            seen &= self._within_model(np.hypot(points[:, 0], points[:, 1]) / points[:, 2])
        return pixels * scale + shift, seen

    def directions(self, size: tuple[int, int], rectified: bool = False) -> np.ndarray:
        """Return where each pixel looks, (H, W, 2) float32: x/z and y/z in the optical frame.

        In rectified images they are those of the rectified camera. Kept for the next call; not to
        be written to.
        """
        return _directions(self, tuple(size), rectified)

    def direction(
        self, pixel: Sequence[float], size: tuple[int, int], rectified: bool = False
    ) -> np.ndarray:
        """Return the unit vector (3,) in the optical frame along which a pixel (x, y) looks."""
        a, b = self._undistorted(np.array([pixel], float), size, rectified)[0]
        vector = np.array([a, b, 1.0])
        vector = self._rotation().T @ vector if rectified else vector
        return vector / np.linalg.norm(vector)

    def to_points(
        self, z: np.ndarray, index: np.ndarray, size: tuple[int, int], rectified: bool = False
    ) -> np.ndarray:
        """Return the points (N, 3) float32 that pixels with known depth show.

        ``z`` (N,) is in metres along the axis; ``index`` (N,) counts the image's pixels row by row.
        """
        points = np.empty((len(z), 3), np.float32)
        looks = self.directions(size, rectified).reshape(-1, 2)
        np.multiply(looks.take(index, axis=0), z[:, None], out=points[:, :2])
        points[:, 2] = z
        if rectified:
            p = self._projection()
            points[:, 0] -= p[0, 3] / p[0, 0]  # the second camera of a stereo pair
            points[:, 1] -= p[1, 3] / p[1, 1]
            rotation = self._rotation()
            if not np.array_equal(rotation, np.eye(3)):
                points = (points @ rotation).astype(np.float32)
        return points

    def field_of_view(self, size: tuple[int, int], rectified: bool = False) -> np.ndarray:
        """Return the least and the greatest x/z and y/z, (2, 2), that pixels look along."""
        y, x = (np.linspace(-0.5, n - 0.5, 9) for n in size)
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        looks = self._undistorted(grid, size, rectified)
        return np.stack([looks.min(axis=0), looks.max(axis=0)])

    def depth(self, points: np.ndarray, rectified: bool = False) -> np.ndarray:
        """Return how far points (N, 3) are along the axis of the (rectified) camera, in metres."""
        return points @ self._rotation()[2] if rectified else points[:, 2]

    def focal_length(self, size: tuple[int, int], rectified: bool = False) -> float:
        """Return the focal length in pixels of the image: one radian at the axis, about."""
        scale, _ = self._to_image(size)
        matrix = self._projection() if rectified else self._matrix()
        return float(np.sqrt(abs(matrix[0, 0] * matrix[1, 1] * scale[0] * scale[1])))

    def _matrix(self) -> np.ndarray:
        return _usable(np.reshape(np.array(self.k, float), (3, 3)), 'camera matrix K')

    def _projection(self) -> np.ndarray:
        return _usable(np.reshape(np.array(self.p, float), (3, 4)), 'projection matrix P')

    def _rotation(self) -> np.ndarray:
        return np.reshape(self.r, (3, 3)) if any(self.r) else np.eye(3)

    def _coefficients(self) -> np.ndarray | None:
        """Return the distortion coefficients, None when there is no distortion."""
        if not any(self.d):
            return None
        if len(self.d) not in MODELS.get(self.model, ()):
            known = ', '.join(f'{name} {counts}' for name, counts in MODELS.items())
            raise GazeError(
                f"camera_info has distortion model '{self.model}' with {len(self.d)} coefficients; "
                f'known models and their numbers of coefficients: {known}'
            )
        return np.array(self.d, float)

    def _distorted(self, points: np.ndarray) -> np.ndarray:
        k, d, zero = self._matrix(), self._coefficients(), np.zeros(3)
        if d is None and self.model not in _ANGULAR:
            return (points @ k.T)[:, :2] / points[:, 2:]
        if self.model in _ANGULAR:
            d = np.zeros(4) if d is None else d
            pixels, _ = cv2.fisheye.projectPoints(points.reshape(-1, 1, 3), zero, zero, k, d)
        else:
            pixels, _ = cv2.projectPoints(points.reshape(-1, 1, 3), zero, zero, k, d)
        return pixels.reshape(-1, 2)

    def _undistorted(
        self, pixels: np.ndarray, size: tuple[int, int], rectified: bool
    ) -> np.ndarray:
        """Return x/z and y/z (N, 2) of pixels (N, 2) of the image."""
        scale, shift = self._to_image(size)
        pixels = (pixels - shift) / scale
        matrix = self._projection()[:, :3] if rectified else self._matrix()
        d = None if rectified else self._coefficients()
        if d is None and (rectified or self.model not in _ANGULAR):
            upright = np.column_stack([pixels, np.ones(len(pixels))])
            return (upright @ np.linalg.inv(matrix).T)[:, :2]
        points = pixels.reshape(-1, 1, 2)
        if self.model in _ANGULAR:
            d = np.zeros(4) if d is None else d
            found = cv2.fisheye.undistortPoints(points, matrix, d)
        else:
            unit = {'R': np.eye(3), 'P': np.eye(3)}
            found = _undistort_points(points, matrix, d, criteria=_CRITERIA, **unit)
        return found.reshape(-1, 2)

    def _within_model(self, radius: np.ndarray) -> np.ndarray:
        """Tell where tan(angle to the axis) (N,) is in the range that the model describes.

        Beyond the radius at which a distortion polynomial turns back, points far outside the
        picture would appear in it.
        """
        d = self._coefficients()
        if d is None or not len(radius):
            return np.ones(radius.shape, bool)
        ramp = np.tan(np.linspace(0, np.arctan(np.max(radius)), 512))
        if self.model in _ANGULAR:
            angle = np.arctan(ramp)
            image = angle * np.polyval([*d[3::-1], 1.0], angle**2)
        else:
            k = np.concatenate([d, np.zeros(14 - len(d))])
            above = np.polyval([k[4], k[1], k[0], 1.0], ramp**2)
            image = ramp * above / np.polyval([k[7], k[6], k[5], 1.0], ramp**2)
        turns = np.nonzero(np.diff(image) <= 0)[0]
        return radius <= (ramp[max(turns[0] - 1, 0)] if len(turns) and ramp[-1] > 0 else np.inf)

    def _to_image(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return scale (2,) and shift (2,) from pixels of the full sensor to those of the image."""
        bins = np.maximum(self.binning, 1)
        offset, window = np.array(self.roi[:2]), np.array(self.roi[2:])
        if not window.all():
            offset, window = np.zeros(2), np.array([self.width, self.height])
        found = np.array(size[::-1])
        # Some drivers leave the size out.
        expected = window // bins if self.width and self.height else found
        scale = found / np.maximum(expected, 1)
        # A resized image keeps its shape, but for the rounding of its sides.
        if abs(found[0] * expected[1] - found[1] * expected[0]) > max(expected):
            raise GazeError(
                f'camera_info describes images of {expected[0]:g} x {expected[1]:g} pixels, this '
                f'one has {found[0]} x {found[1]}: another shape, so it was not merely resized'
            )
        # Between the centre of a pixel, a whole number, and its edge lies half a pixel.
        scale = scale / bins
        return scale, (0.5 - offset) * scale - 0.5


def _usable(matrix: np.ndarray, what: str) -> np.ndarray:
    """Return the matrix (3, 3 or 4); raises ``GazeError`` if pixels have no rays by it."""
    if matrix[0, 0] == 0 or matrix[1, 1] == 0:
        name = what[-1]
        raise GazeError(f'camera_info has no {what} ({name}[0] is 0): not calibrated')
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :3]) == 0:
        numbers = ', '.join(f'{v:g}' for v in matrix.ravel())
        raise GazeError(f'the {what} of camera_info has no inverse: {numbers}')
    return matrix


@lru_cache(maxsize=4)
def _directions(camera: Camera, size: tuple[int, int], rectified: bool) -> np.ndarray:
    height, width = size
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    pixels = np.column_stack([x.ravel(), y.ravel()])
    found = camera._undistorted(pixels, size, rectified).astype(np.float32)
    return found.reshape(height, width, 2)
