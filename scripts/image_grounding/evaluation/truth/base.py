# SPDX-License-Identifier: Apache-2.0
"""What every format of ground truth is read into."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.boxes import order_corners
from image_grounding.errors import InputError
from image_grounding.frames import Box
from image_grounding.spans import Span

# A phrase in a caption: its text, and its span where that is known.
Place = tuple[str, Span | None]


@dataclass(frozen=True)
class ImageKey:
    """How a truth file names an image; at least one of both is there.

    Attributes:
        image_id: as text.
        path: file name or path, as in the file.
    """

    image_id: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        """The path, where there is one."""
        return self.path or self.image_id or "?"


@dataclass(frozen=True)
class TruthPhrase:
    """A phrase and the boxes of what it names.

    Attributes:
        text: the phrase.
        span: where it stands in the caption, in code points; None where that is not known.
        boxes: ``(x1, y1, x2, y2)`` in pixels; empty where the truth has the phrase without a
            box, which counts for expressions and not for boxes.
    """

    text: str
    span: Span | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class TruthExample:
    """An image with a caption, or with phrases of no caption, and their boxes."""

    image: ImageKey
    caption: str | None
    phrases: tuple[TruthPhrase, ...]


def xyxy(sides: Any) -> Box:
    """Corners as a box; raises ValueError where they are not four finite numbers."""
    x1, y1, x2, y2 = (float(side) for side in sides)
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise ValueError("a side of a box is not finite")
    return order_corners((x1, y1, x2, y2))


def xywh(sides: Any) -> Box:
    """COCO's corner and size as a box; raises ValueError as ``xyxy`` does."""
    x, y, width, height = (float(side) for side in sides)
    return xyxy((x, y, x + width, y + height))


def as_phrases(
    boxes_of: Mapping[Place, Iterable[Box]],
) -> tuple[TruthPhrase, ...]:
    """Phrases from boxes by text and span; a box that stands twice counts once."""
    return tuple(
        TruthPhrase(text, span, tuple(dict.fromkeys(boxes)))
        for (text, span), boxes in boxes_of.items()
    )


def load_json(path: Path) -> Any:
    """A JSON file; raises InputError where it cannot be read."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
