# SPDX-License-Identifier: Apache-2.0
"""What the viewer received, ordered by the stamp of the image, and its figures while it runs."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from stt_ros.msg import Segmentation
from stt_ros.ros.demo.shots import JPEG_QUALITY, compressed_message
from stt_ros.ros.images import to_frame

RAW_BYTES = 800_000_000  # as many bytes of images are kept as they came, later ones as JPEG
_RECENT = 50  # results that the status line looks back on


@dataclass(frozen=True)
class Found:
    """All masks of an answer to prompts."""

    count: int
    png: bytes  # which of them each pixel belongs to, (H, W) uint16: 0 none, k the k-th

    def labels(self) -> np.ndarray:
        """Return the label image (H, W) uint16."""
        return cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_UNCHANGED)


@dataclass
class Moment:
    """All that belongs to one image stamp; None is what has not been received."""

    image: object | None = None  # sensor_msgs Image or CompressedImage
    mask: object | None = None  # CompressedImage, the human one
    result: object | None = None  # stt_ros Segmentation, of prompts the best one
    found: Found | None = None  # by prompts
    latency: float = math.nan  # seconds from the image's stamp to the result received


@dataclass(frozen=True)
class Progress:
    """How the run stands: images and results received, and the recent results' figures."""

    images: int
    results: int
    rate: float  # Hz, NaN below two results
    p50: float  # seconds of latency, NaN without a result
    p95: float
    predicted_iou: float  # mean of the best hypotheses, NaN without one


class Record:
    """Keeps references to received messages; safe to read while another thread writes."""

    def __init__(self, raw_bytes: int = RAW_BYTES) -> None:
        self._lock = threading.Lock()
        self._moments: dict[int, Moment] = {}
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=_RECENT)
        self._room = raw_bytes
        self._images = self._results = 0

    def add_image(self, message) -> None:
        """Keep an image."""
        self._room -= len(message.data)
        if self._room < 0 and hasattr(message, 'encoding'):
            message = _as_jpeg(message)
        with self._lock:
            self._at(message).image = message
            self._images += 1

    def add_mask(self, message) -> None:
        """Keep a human mask."""
        with self._lock:
            self._at(message).mask = message

    def add_result(self, message, received: float) -> None:
        """Keep a result that was received at this time (s, of the clock of the image stamps)."""
        with self._lock:
            moment = self._at(message)
            if moment.result is None:
                self._results += 1
            moment.result = message
            moment.latency = received - _nanoseconds(message) * 1e-9
            best = message.hypotheses[0].predicted_iou if message.hypotheses else math.nan
            self._recent.append((received, moment.latency, best))

    def add_answer(self, message, received: float) -> None:
        """Keep an answer to prompts, a SegmentationArray, as ``add_result`` keeps a result."""
        all_found = message.segmentations
        found = Found(len(all_found), _as_png(message.labels))
        self.add_result(
            all_found[0] if all_found else Segmentation(header=message.header), received
        )
        with self._lock:
            self._at(message).found = found

    def _at(self, message) -> Moment:
        return self._moments.setdefault(_nanoseconds(message), Moment())

    def moments(self) -> list[tuple[int, Moment]]:
        """Return (stamp in ns, moment) in the order of the stamps."""
        with self._lock:
            return sorted(self._moments.items())

    def progress(self) -> Progress:
        """Return how the run stands."""
        with self._lock:
            recent, images, results = np.array(self._recent), self._images, self._results
        if not len(recent):
            return Progress(images, results, *[math.nan] * 4)
        times, latencies, ious = recent.T
        span = times[-1] - times[0]
        rate = (len(times) - 1) / span if span > 0 else math.nan
        p50, p95 = np.percentile(latencies, (50, 95))
        known = ious[np.isfinite(ious)]
        iou = float(known.mean()) if len(known) else math.nan
        return Progress(images, results, float(rate), float(p50), float(p95), iou)


def _nanoseconds(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def _as_png(labels) -> bytes:
    """Return a mono16 Image as a PNG file: of a hundred masks a few percent of its bytes."""
    kind = np.dtype(np.uint16).newbyteorder('>' if labels.is_bigendian else '<')
    pixels = np.frombuffer(labels.data, kind).reshape(labels.height, labels.width)
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return cv2.imencode('.png', pixels.astype(np.uint16), quick)[1].tobytes()


def _as_jpeg(message):
    pixels = np.ascontiguousarray(to_frame(message).rgb()[..., ::-1])
    _, content = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    small = compressed_message(content.tobytes(), 'bgr8; jpeg compressed bgr8')
    small.header = message.header
    return small
