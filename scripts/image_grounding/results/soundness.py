# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint that was read back can be what a step left; its types are checked before."""

import math
from typing import TYPE_CHECKING, Any

from image_grounding.images.source import MAX_FILE_PIXELS
from image_grounding.steps.annotations import Extraction, Grounding
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.step import Earlier

if TYPE_CHECKING:
    from image_grounding.results.checkpoints import Checkpoint

# What a fact may be, besides a finite number.
_PLAIN = frozenset({str, int, bool, type(None)})


def is_sound(kept: "Checkpoint[Any]", earlier: Earlier) -> bool:
    """Whether a checkpoint holds what a record may hold, made after the ``earlier`` results.

    Plain loops: a resumed run asks it of every finished step.
    """
    width, height = kept.size
    if not (width > 0 and height > 0 and width * height <= MAX_FILE_PIXELS):
        return False
    for fact in kept.provenance.values():
        if type(fact) not in _PLAIN and not (type(fact) is float and math.isfinite(fact)):
            return False
    if kept.transport and min(vars(kept.transport).values()) < 1:
        return False
    result = kept.result
    if type(result) is Extraction:
        return _texts_hold(result)
    if type(result) is Grounding:
        expected = len(earlier[EXTRACTION].expressions)
        return len(result.instances) == expected and _boxes_hold(result, width, height)
    return True


def _texts_hold(result: Extraction) -> bool:
    cleaned = result.cleaned_caption
    length = len(cleaned)
    for expression in result.expressions:
        text, span = expression.text, expression.char_span
        if not text:
            return False
        if span is not None:
            start, end = span
            if not 0 <= start < end <= length or cleaned[start:end] != text:
                return False
    return True


def _boxes_hold(result: Grounding, width: int, height: int) -> bool:
    if result.clipped < 0 or (result.dropped and min(result.dropped.values()) < 0):
        return False
    for instances in result.instances:
        for instance in instances:
            x1, y1, x2, y2 = instance.bbox
            if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
                return False
            score = instance.score
            if score is not None and not 0 <= score <= 1:
                return False
    return True
