# SPDX-License-Identifier: Apache-2.0
"""Ground truth as values: what every format is read into."""

from dataclasses import dataclass

from image_grounding.boxes.frames import Box, Size
from image_grounding.spans import Span


@dataclass(frozen=True)
class Phrase:
    """A phrase of the truth.

    Attributes:
        text: the phrase, or the name of a category.
        span: in code points of the annotation's first caption, or None where it is not known.
        boxes: ``(x1, y1, x2, y2)`` in pixels, half-open; empty where the truth states that
            nothing of it is in the image; None where the truth does not state it.
    """

    text: str
    span: Span | None
    boxes: tuple[Box, ...] | None


@dataclass(frozen=True)
class Annotation:
    """The truth about an image, or about a caption of it.

    Attributes:
        image_path: the image's path or file name as the truth has it; "" where it has none.
        image_ids: other names of the image.
        size: (width, height) of the image that the boxes are of, or None.
        captions: the caption that spans count in, then other wordings of it; empty where the
            phrases are of the image and of no caption.
        phrases: in the order of the file.
        categories: the phrases are names of categories, each with all its boxes in the image.
    """

    image_path: str
    image_ids: tuple[str, ...]
    size: Size | None
    captions: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    categories: bool = False
