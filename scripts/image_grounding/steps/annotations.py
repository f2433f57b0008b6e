# SPDX-License-Identifier: Apache-2.0
"""What an annotator finds out about a sample, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from image_grounding.boxes.geometry import PixelBox
from image_grounding.spans import Span


@dataclass(frozen=True)
class Expression:
    """A referring expression; ``char_span`` in code points of the cleaned caption, or None."""

    text: str
    noun_chunk: str
    char_span: Span | None


@dataclass(frozen=True)
class Extraction:
    """Result of step 0."""

    cleaned_caption: str
    expressions: tuple[Expression, ...]


@dataclass(frozen=True)
class Instance:
    """A box in upright original pixels, and a score in 0..1, or None where there is none."""

    bbox: PixelBox
    score: float | None


@dataclass(frozen=True)
class Grounding:
    """Result of step 1.

    Attributes:
        instances: for each expression, in order, its boxes; none where it was not seen.
        dropped: boxes that could not be used, by reason.
        clipped: boxes that left the image and were cut off at its border.
    """

    instances: tuple[tuple[Instance, ...], ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    clipped: int = 0
