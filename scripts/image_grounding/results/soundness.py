# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint that was read back can be what a step left; its types are checked before."""

import math
from typing import TYPE_CHECKING, Any

from image_grounding.boxes.frames import Size
from image_grounding.images.source import MAX_FILE_PIXELS
from image_grounding.steps.annotations import Extraction, Grounding, Instance
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.step import Earlier

if TYPE_CHECKING:
    from image_grounding.results.checkpoints import Checkpoint

_PLAIN = frozenset({str, int, bool, type(None)})


def is_sound(kept: "Checkpoint[Any]", earlier: Earlier) -> bool:
    """Whether a checkpoint holds what a record may hold, made after the ``earlier`` results."""
    width, height = size = kept.size
    if not (width > 0 and height > 0 and width * height <= MAX_FILE_PIXELS):
        return False
    if not all(map(_is_plain, (*kept.provenance.values(), *kept.image.values()))):
        return False
    if kept.transport and min(vars(kept.transport).values()) < 1:
        return False
    match kept.result:
        case Extraction() as extraction:
            return _texts_hold(extraction)
        case Grounding(instances=instances) as grounding:
            expected = len(earlier[EXTRACTION].expressions)
            return len(instances) == expected and _boxes_hold(grounding, size)
    return True


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or (type(value) is float and math.isfinite(value))


def _texts_hold(result: Extraction) -> bool:
    cleaned = result.cleaned_caption
    return all(
        bool(expression.text)
        and (
            (span := expression.char_span) is None
            or (
                0 <= span[0] < span[1] <= len(cleaned)
                and cleaned[span[0] : span[1]] == expression.text
            )
        )
        for expression in result.expressions
    )


def _boxes_hold(result: Grounding, size: Size) -> bool:
    counts = (result.clipped, *result.dropped.values())
    return min(counts) >= 0 and all(
        _holds(instance, size) for found in result.instances for instance in found
    )


def _holds(instance: Instance, size: Size) -> bool:
    x1, y1, x2, y2 = instance.bbox
    inside = 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
    return inside and (instance.score is None or 0 <= instance.score <= 1)
