# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: a mask over its image, the gaze, what the network saw."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MASK_COLOUR = (0, 200, 120)
GAZE_COLOUR = (255, 60, 60)


def overlay(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    gaze: Sequence[float] | None = None,
    colour: Sequence[int] = MASK_COLOUR,
    alpha: float = 0.5,
) -> np.ndarray:
    """Return a copy of an image (H, W, 3) uint8 with a mask (H, W) bool tinted and outlined.

    ``colour`` is in the image's channel order, ``alpha`` the tint's share in [0, 1]; the gaze
    (x, y) in pixels becomes a dot in a ring.
    """
    out = np.ascontiguousarray(image).copy()
    thickness = line_width(image.shape[:2])
    if mask is not None and mask.any():
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        part, inside = out[y : y + height, x : x + width], mask[y : y + height, x : x + width]
        tinted = cv2.addWeighted(part, 1 - alpha, np.full_like(part, colour), alpha, 0)
        np.copyto(part, tinted, where=inside[..., None])
        outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(out, outlines, -1, (255, 255, 255), thickness, cv2.LINE_AA)
    if gaze is not None:
        draw_gaze(out, gaze, thickness)
    return out


def answers(image: np.ndarray, found: Sequence, alpha: float = 0.5) -> np.ndarray:
    """Return a copy of an image (H, W, 3) uint8 RGB with every answer in a colour of its own.

    ``found`` are regions with a tight ``box`` (x, y, width, height), the ``crop`` in it (height,
    width) bool, and maybe a ``label`` and its ``label_probability``. The first ones are on top, and
    of those below what is left of them is shown: it is a picture of ``labels``.
    """
    out = np.ascontiguousarray(image).copy()
    owner, thickness = labels(found, image.shape[:2]), line_width(image.shape[:2])
    x, y, width, height = cv2.boundingRect((owner > 0).view(np.uint8))
    part, whose = out[y : y + height, x : x + width], owner[y : y + height, x : x + width]
    if part.size:
        colours = np.array([(0, 0, 0), *map(colour_of, range(len(found)))], np.uint8)
        tinted = cv2.addWeighted(part, 1 - alpha, colours[whose], alpha, 0)
        np.copyto(part, tinted, where=(whose > 0)[..., None])
    for number in range(len(found), 0, -1):
        x, y, width, height = found[number - 1].box
        seen = (owner[y : y + height, x : x + width] == number).view(np.uint8)
        outline, _ = cv2.findContours(seen, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
        cv2.drawContours(out, outline, -1, (255, 255, 255), thickness, cv2.LINE_AA)
    for answer in found:
        _name(out, answer)
    return out


def labels(found: Sequence, size: tuple[int, int]) -> np.ndarray:
    """Return which answer each pixel of an image (H, W) belongs to, (H, W) uint16.

    0: none, k: ``found[k - 1]``. Where answers overlap the earlier one has the pixel.
    """
    image = np.zeros(size, np.uint16)
    for number in range(len(found), 0, -1):
        x, y, width, height = found[number - 1].box
        image[y : y + height, x : x + width][found[number - 1].crop] = number
    return image


def dot(image: np.ndarray, point: Sequence[float], colour: Sequence[int], radius: int) -> None:
    """Draw a dot with a white rim at a point (x, y) into an image (H, W, 3) uint8."""
    centre = (round(point[0]), round(point[1]))
    cv2.circle(image, centre, radius + max(1, radius // 3), (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(image, centre, radius, colour, -1, cv2.LINE_AA)


def line(
    image: np.ndarray,
    points: Sequence,
    thickness: int,
    colour: Sequence[int] = (0, 255, 0),
    closed: bool = False,
) -> None:
    """Draw a line through points (x, y) into an image (H, W, 3) uint8."""
    corners = np.round(np.asarray(points, float)).astype(np.int32)
    for tint, width in (((0, 0, 0), thickness + 2), (colour, thickness)):
        cv2.polylines(image, [corners], closed, tint, width, cv2.LINE_AA)


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the RGB colour of the answer with a number from 0: neighbours differ clearly."""
    if number == 0:
        return MASK_COLOUR
    hue = number * 0.618034 % 1 * 180  # steps of the golden ratio come near each other last
    pixel = np.array([[[hue, 200, 240]]], np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _name(image: np.ndarray, answer) -> None:
    text = getattr(answer, 'label', '')
    if not text:
        return
    if answer.label_probability:
        text += f' {answer.label_probability:.2f}'
    scale = max(0.4, image.shape[0] / 1000)
    at = (int(answer.box[0]), int(answer.box[1] + 34 * scale))
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)


def draw_gaze(image: np.ndarray, gaze: Sequence[float], thickness: int = 2) -> None:
    """Draw a gaze (x, y) into an image (H, W, 3) uint8, legible on any ground.

    The ring is thin and wide, so that the mask of a small thing shows in it.
    """
    centre = (round(gaze[0]), round(gaze[1]))
    radius = 5 * thickness
    for colour, width in (((0, 0, 0), thickness + 2), ((255, 255, 255), thickness)):
        cv2.circle(image, centre, radius, colour, width, cv2.LINE_AA)
    cv2.circle(image, centre, thickness, GAZE_COLOUR, -1, cv2.LINE_AA)


def label(image: np.ndarray, lines: Sequence[str]) -> None:
    """Write lines of text into the top-left corner of an image (H, W, 3) uint8."""
    scale = max(0.4, image.shape[0] / 1000)
    step = round(34 * scale)
    for i, text in enumerate(lines):
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = step // 3, step * (i + 1)
        cv2.rectangle(image, (x - 3, y - height - 3), (x + width + 3, y + below), (0, 0, 0), -1)
        cv2.putText(
            image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA
        )


def line_width(size: Sequence[int]) -> int:
    """A line width in pixels that looks the same on images (H, W) of any size."""
    return max(1, round(min(size) / 360))
