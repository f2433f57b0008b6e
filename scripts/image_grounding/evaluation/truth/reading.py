# SPDX-License-Identifier: Apache-2.0
"""What the truth readers share."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import Box, Size
from image_grounding.boxes.geometry import box_area
from image_grounding.files import open_lines, strict_json
from image_grounding.spans import Span


def load_json(path: Path) -> Any:
    """The value of a JSON file, ``.gz`` too; raises ValueError, OSError."""
    with open_lines(path) as file:
        return strict_json(file.read().decode("utf-8-sig"))


def captions_of(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The caption of an image of COCO JSON: as spans count in it, and as it was before."""
    texts = (image.get(name) for name in ("caption", "original_caption"))
    return tuple(str(text) for text in texts if text)


def usable(boxes: Iterable[Box], left_out: Counter[str]) -> tuple[Box, ...]:
    """The boxes that have an area; counts the others."""
    kept = []
    for box in boxes:
        if all(map(math.isfinite, box)) and box[0] < box[2] and box_area(box) > 0:
            kept.append(box)
        else:
            left_out["boxes_without_area"] += 1
    return tuple(kept)


def corners(numbers: Any) -> Box:
    """``[x1, y1, x2, y2]`` as a box."""
    x1, y1, x2, y2 = (float(number) for number in numbers)
    return (x1, y1, x2, y2)


def from_xywh(numbers: Any) -> Box:
    """COCO's ``[x, y, width, height]`` as a box."""
    x, y, width, height = (float(number) for number in numbers)
    return (x, y, x + width, y + height)


def hull(spans: Any, text: str) -> Span | None:
    """From the first to the last of ``tokens_positive``, ``[[start, end), ...]``, in ``text``."""
    if not spans:
        return None
    start, end = min(int(span[0]) for span in spans), max(int(span[1]) for span in spans)
    return (start, end) if 0 <= start < end <= len(text) else None


def size_of(fields: Mapping[str, Any]) -> Size | None:
    """``width`` and ``height``, where both are there."""
    width, height = fields.get("width"), fields.get("height")
    return (int(width), int(height)) if width and height else None
