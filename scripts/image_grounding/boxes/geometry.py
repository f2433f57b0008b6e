# SPDX-License-Identifier: Apache-2.0
"""Pixel boxes ``(x1, y1, x2, y2)``: mending, clipping, overlap."""

import math
from collections import Counter

from image_grounding.boxes.frames import CONVENTIONS, Box, Frame, Size
from image_grounding.boxes.plausible import unmeant

PixelBox = tuple[int, int, int, int]

# Mean IoU with the truth on flat rectangles: below the first a model cannot ground; one that
# grounds well reaches the second with ease.
MIN_IOU = 0.5
GOOD_IOU = 0.9


def order_corners(box: Box) -> Box:
    """``box`` with x1 <= x2 and y1 <= y2."""
    x1, y1, x2, y2 = box
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def clip_box(box: Box, resolution_wh: Size) -> Box:
    """``box`` with its corners inside ``0..width`` and ``0..height``."""
    width, height = resolution_wh
    x1, y1, x2, y2 = box
    return (
        min(max(x1, 0), width),
        min(max(y1, 0), height),
        min(max(x2, 0), width),
        min(max(y2, 0), height),
    )


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes with ordered corners; 0 where both are empty."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    union = box_area(first) + box_area(second) - shared
    return shared / union if union > 0 else 0.0


def box_area(box: Box) -> float:
    """Area of a box with ordered corners."""
    return (box[2] - box[0]) * (box[3] - box[1])


def reaches_beyond(numbers: Box, convention: str, frame: Frame) -> bool:
    """Whether a model's box passes the border of its image, so that ``to_original`` clips it."""
    if not all(map(math.isfinite, numbers)):
        return False
    x1, y1, x2, y2 = order_corners(CONVENTIONS[convention].to_sent(numbers, frame))
    noise_x, noise_y = (side * 1e-6 for side in frame.sent)
    return (
        min(x1 + noise_x, y1 + noise_y) < 0
        or x2 > frame.sent[0] + noise_x
        or y2 > frame.sent[1] + noise_y
    )


def to_original(
    numbers: Box, convention: str, frame: Frame, dropped: Counter[str]
) -> PixelBox | None:
    """A model's four numbers as a box in upright original pixels.

    Reversed corners are put in order, what passes the border by rounding is cut off, x1 and y1
    are rounded down, x2 and y2 up.

    Returns:
        The box, with 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height, or None where the
        numbers are none; then ``dropped`` counts the reason, see ``unmeant``.
    """
    if reason := unmeant(numbers, convention, frame):
        dropped[reason] += 1
        return None
    box = order_corners(frame.sent_to_original(CONVENTIONS[convention].to_sent(numbers, frame)))
    clipped = clip_box(box, frame.original)
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        dropped["outside"] += 1
        return None
    whole = round_out(clipped)
    if whole[0] == whole[2] or whole[1] == whole[3]:  # an area of float noise only
        dropped["no_area"] += 1
        return None
    return whole


def round_out(box: Box) -> PixelBox:
    """The smallest box of whole pixels around ``box``, so that no edge is lost."""
    x1, y1, x2, y2 = (_snap(side) for side in box)
    return (math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))


def _snap(side: float) -> float:
    """A side that is whole but for float noise, whole: 427.00000000000006 must not be 428."""
    nearest = round(side)
    return nearest if abs(side - nearest) < 1e-6 else side
