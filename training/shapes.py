# SPDX-License-Identifier: Apache-2.0
"""Outlines of drawn things, as part maps: 0 outside, 1..k the parts of one connected thing.

Every function takes a ``numpy.random.Generator`` and a size in pixels and returns an (h, w) uint8
map. Parts matter twice: they get textures of their own (which must not split the thing), and they
are sometimes the target themselves (whole / part).
"""

import cv2
import numpy as np

MARGIN = 1.15  # the canvas is this much larger than the unit box, so that limbs are not cut off


class Pen:
    """Draws in unit coordinates ([-1, 1] across the canvas) on a part map, rotated as a whole."""

    def __init__(self, size: int, angle: float, mirror: bool):
        self.half = size / 2
        self.map = np.zeros((size, size), np.uint8)
        c, s = np.cos(angle), np.sin(angle)
        self.turn = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
        self.part = 1

    def px(self, points) -> np.ndarray:
        points = np.asarray(points, float) @ self.turn.T
        return np.rint((points / MARGIN + 1) * self.half * 16).astype(np.int32)

    def polygon(self, points):
        cv2.fillPoly(self.map, [self.px(points)], self.part, cv2.LINE_8, 4)

    def ellipse(self, centre, a, b, angle=0.0):
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        c, s = np.cos(angle), np.sin(angle)
        ring = np.stack([a * np.cos(t), b * np.sin(t)], 1) @ np.array([[c, s], [-s, c]])
        self.polygon(ring + centre)

    def limb(self, points, widths):
        """A tapering limb through points, widths in unit lengths (full width)."""
        points, widths = np.asarray(points, float), np.asarray(widths, float)
        for a, b, wa, wb in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
            for t in np.linspace(0, 1, 4)[:-1]:
                width = (wa + (wb - wa) * t) / MARGIN * self.half
                seg = self.px([a + (b - a) * t, a + (b - a) * (t + 0.34)])
                cv2.line(
                    self.map,
                    tuple(map(int, seg[0])),
                    tuple(map(int, seg[1])),
                    self.part,
                    max(1, int(round(width))),
                    cv2.LINE_8,
                    4,
                )

    def next_part(self):
        self.part += 1


def _pen(rng, size, upright=0.7):
    angle = rng.normal(0, 0.15) if rng.random() < upright else rng.uniform(-np.pi, np.pi)
    return Pen(size, angle, rng.random() < 0.5)


def blob(rng, size):
    pen = _pen(rng, size, 0)
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    r = np.ones_like(t)
    rough = rng.uniform(0.1, 0.7)
    for k in range(1, rng.integers(3, 12)):
        r += rough * rng.normal() / k ** rng.uniform(0.9, 1.5) * np.cos(k * t + rng.uniform(0, 6.3))
    r = np.clip(r, 0.15, None) / r.max()
    pen.polygon(np.stack([r * np.cos(t), r * np.sin(t) * rng.uniform(0.3, 1)], 1))
    return pen.map


def polygon(rng, size):
    pen = _pen(rng, size, 0.5)
    if rng.random() < 0.5:
        w, h = rng.uniform(0.25, 1, 2)
        pen.polygon([(-w, -h), (w, -h), (w, h), (-w, h)])
    else:
        t = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 10)))
        r = rng.uniform(0.4, 1, t.size)
        pen.polygon(np.stack([r * np.cos(t), r * np.sin(t)], 1))
    if rng.random() < 0.4:
        k = max(3, int(size * rng.uniform(0.05, 0.2))) | 1
        pen.map = (cv2.GaussianBlur(pen.map * 255, (k, k), 0) > 127).astype(np.uint8)
    return pen.map


def _leg(pen, rng, hip, length, width, spread=0.35):
    knee = hip + np.array([rng.normal(0, spread * 0.5), 0.5]) * length
    foot = knee + np.array([rng.normal(0, spread * 0.6), 0.5]) * length
    toe = foot + np.array([rng.uniform(-0.02, 0.12), 0.0])
    pen.limb([hip, knee, foot, toe], [width, width * 0.65, width * 0.45, width * 0.4])


def animal(rng, size):
    pen = _pen(rng, size, 0.85)
    a, b, leg = rng.uniform(0.4, 0.6), rng.uniform(0.14, 0.32), rng.uniform(0.25, 0.75)
    y, width = -0.05 - leg * 0.3, rng.uniform(0.07, 0.16)
    for x in (-a * 0.7, -a * 0.5, a * 0.55, a * 0.75):
        if rng.random() < 0.9:
            _leg(pen, rng, np.array([x, y + b * 0.5]), leg, width)
            if rng.random() < 0.4:
                pen.next_part()
    if rng.random() < 0.8:
        start = np.array([-a * 0.9, y - b * 0.2])
        mid = start + rng.normal(0, 0.15, 2) + [-0.15, 0.05]
        pen.limb([start, mid, mid + rng.normal(0, 0.15, 2) + [-0.1, 0.1]], [0.07, 0.05, 0.03])
    pen.next_part()
    pen.ellipse((0, y), a, b, rng.normal(0, 0.08))
    if rng.random() < 0.5:
        pen.ellipse((a * 0.6, y - 0.03), b * 1.05, b * 1.05)
    pen.next_part()
    head = np.array([a + rng.uniform(0.05, 0.3), y - rng.uniform(-0.15, 0.6)])
    pen.limb([(a * 0.8, y), head], [b * rng.uniform(0.8, 1.4), b * rng.uniform(0.4, 0.8)])
    size_h = rng.uniform(0.09, 0.2)
    pen.ellipse(head, size_h * 1.2, size_h * 0.8, rng.uniform(-0.3, 0.9))
    for dx in (-0.05, 0.06):
        pen.limb([head + [dx, 0], head + [dx * 1.8, -size_h * rng.uniform(0.9, 1.8)]], [0.07, 0.03])
    return pen.map


def person(rng, size):
    pen = _pen(rng, size, 0.85)
    shoulder, hip = np.array([0, -0.5]), np.array([rng.normal(0, 0.05), 0.08])
    w = rng.uniform(0.24, 0.42)
    for side in (-1, 1):
        _leg(
            pen, rng, hip + [side * w * 0.28, 0], rng.uniform(0.75, 0.95), w * rng.uniform(0.4, 0.6)
        )
    pen.next_part()
    pen.limb([shoulder, (shoulder + hip) / 2, hip], [w, w * 0.9, w])
    if rng.random() < 0.3:
        pen.polygon(
            [hip + [-w * 0.5, -0.2], hip + [w * 0.5, -0.2], hip + [w, 0.45], hip + [-w, 0.45]]
        )
    pen.next_part()
    for side in (-1, 1):
        s = shoulder + [side * w * 0.5, 0.03]
        elbow = s + rng.uniform(0.25, 0.35) * _unit(
            rng.uniform(-0.6, 1.6) if side > 0 else np.pi - rng.uniform(-0.6, 1.6)
        )
        hand = elbow + rng.uniform(0.2, 0.35) * _unit(rng.uniform(-np.pi, np.pi))
        pen.limb([s, elbow, hand], [w * 0.35, w * 0.28, w * 0.22])
    pen.next_part()
    pen.limb([shoulder, shoulder + [0, -0.15]], [w * 0.35, w * 0.35])
    pen.ellipse(shoulder + [0, -0.27], w * rng.uniform(0.35, 0.5), w * rng.uniform(0.45, 0.6))
    return pen.map


def _unit(angle):
    return np.array([np.cos(angle), np.sin(angle)])


def vehicle(rng, size):
    pen = _pen(rng, size, 0.9)
    w, h = rng.uniform(0.7, 1), rng.uniform(0.12, 0.3)
    roof, cut = rng.uniform(0.15, 0.5), rng.uniform(0.05, 0.35)
    x0, x1 = -w * rng.uniform(0.4, 0.95), w * rng.uniform(0.4, 0.9)
    pen.polygon([(-w, -h), (w, -h * rng.uniform(0.3, 1)), (w, h), (-w, h)])
    cabin = np.array([(x0, -h), (x0 + cut, -h - roof), (x1 - cut, -h - roof), (x1, -h)])
    pen.polygon(cabin + [0, 0.02])
    pen.next_part()
    pen.polygon((cabin - cabin.mean(0)) * [0.85, 0.7] + cabin.mean(0))
    pen.next_part()
    r = rng.uniform(0.1, 0.26)
    for x in (-w * 0.62, w * 0.62):
        pen.ellipse((x, h), r, r)
    if rng.random() < 0.6:
        pen.next_part()
        for x in (-w * 0.62, w * 0.62):
            pen.ellipse((x, h), r * 0.6, r * 0.6)
    return pen.map


def branch(rng, size):
    pen = _pen(rng, size, 0.3)
    width = rng.uniform(0.03, 0.14)

    def grow(at, angle, length, width, depth):
        end = at + length * _unit(angle)
        mid = (at + end) / 2 + rng.normal(0, 0.08, 2) * length
        pen.limb([at, mid, end], [width, width * 0.85, width * 0.7])
        for _ in range(rng.integers(0, 3) if depth else 0):
            grow(
                end if rng.random() < 0.5 else mid,
                angle + rng.normal(0, 0.8),
                length * 0.7,
                width * 0.65,
                depth - 1,
            )

    grow(
        np.array([0, 0.95]),
        -np.pi / 2 + rng.normal(0, 0.1),
        rng.uniform(0.7, 1.2),
        width,
        rng.integers(0, 4),
    )
    return pen.map


def lathe(rng, size):
    """Bottles, vases, lamps, cups: a smooth profile turned about an axis, in bands."""
    pen = _pen(rng, size, 0.8)
    n = rng.integers(3, 7)
    knots = rng.uniform(0.1, 0.6, n)
    y = np.linspace(-0.95, 0.95, 40)
    x = np.interp(y, np.linspace(-0.95, 0.95, n), knots)
    if rng.random() < 0.7:
        x = np.convolve(np.pad(x, 4, 'edge'), np.ones(9) / 9, 'valid')
    pen.polygon(np.concatenate([np.stack([x, y], 1), np.stack([-x, y], 1)[::-1]]))
    if rng.random() < 0.5:
        pen.next_part()
        lo, hi = sorted(rng.integers(0, 40, 2))
        if hi > lo + 3:
            band = slice(lo, hi)
            pen.polygon(
                np.concatenate([np.stack([x, y], 1)[band], np.stack([-x, y], 1)[band][::-1]])
            )
    if rng.random() < 0.25:
        pen.next_part()
        t = np.linspace(-1.2, 1.2, 8)
        pen.limb(np.stack([x[20] + 0.25 * np.cos(t), 0.35 * np.sin(t)], 1), [0.08] * 8)
    return pen.map


def box(rng, size):
    """A cuboid seen from above: three faces, three parts."""
    pen = _pen(rng, size, 0.8)
    a = np.array([rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.35)])
    b = np.array([-rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.35)])
    up = np.array([0, -rng.uniform(0.2, 0.9)])
    base = -(a + b + up) / 2
    for corners in (
        (b, b + up, b + up + a, b + a),
        (a, a + up, a + b + up, a + b),
        (up, up + a, up + a + b, up + b),
    ):
        pen.polygon([base + np.asarray(c) for c in corners])
        pen.next_part()
    return pen.map


def plant(rng, size):
    pen = _pen(rng, size, 0.8)
    pen.limb([(0, 0.95), (rng.normal(0, 0.05), 0)], [0.08, 0.05])
    pen.next_part()
    for _ in range(rng.integers(6, 30)):
        at = np.array([rng.normal(0, 0.3), -0.15 + rng.normal(0, 0.3)])
        root = np.array([0, 0.1])
        pen.limb([root, at], [0.03, 0.03])
        pen.ellipse(at, rng.uniform(0.1, 0.3), rng.uniform(0.04, 0.15), rng.uniform(-np.pi, np.pi))
    return pen.map


def ring(rng, size):
    pen = _pen(rng, size, 0)
    a, b, hole = rng.uniform(0.6, 1), rng.uniform(0.4, 1), rng.uniform(0.2, 0.8)
    pen.ellipse((0, 0), a, b)
    pen.part = 0
    pen.ellipse((0, 0), a * hole, b * hole)
    return pen.map


FAMILIES = (
    (blob, 0.2),
    (polygon, 0.11),
    (animal, 0.17),
    (person, 0.14),
    (vehicle, 0.1),
    (branch, 0.06),
    (lathe, 0.09),
    (box, 0.06),
    (plant, 0.05),
    (ring, 0.02),
)


def draw(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random outline, one connected piece, cropped to its bounding box: (h, w) uint8 part map."""
    weights = np.array([w for _, w in FAMILIES])
    family = FAMILIES[rng.choice(len(FAMILIES), p=weights / weights.sum())][0]
    return tidy(family(rng, max(16, int(size))))


def tidy(parts: np.ndarray) -> np.ndarray:
    """Keep the largest connected piece and crop to it."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(
        (parts > 0).astype(np.uint8), connectivity=4
    )
    if count < 2:
        return np.ones((8, 8), np.uint8)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, w, h = stats[best, :4]
    parts = parts * (label == best)
    return np.ascontiguousarray(parts[y : y + h, x : x + w])
