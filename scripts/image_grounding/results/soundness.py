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

# What a fact may be.
_PLAIN = frozenset({str, int, bool, float, type(None)})


def is_sound(kept: "Checkpoint[Any]", earlier: Earlier) -> bool:
    """Whether a checkpoint holds what a record may hold, made after the ``earlier`` results.

    Plain loops: a resumed run asks it of every finished step.
    """
    width, height = kept.size
    if not (width > 0 and height > 0 and width * height <= MAX_FILE_PIXELS):
        return False
    for facts in (kept.provenance, kept.image):
        kinds = set(map(type, facts.values()))
        if not kinds <= _PLAIN or (float in kinds and not all(map(_is_finite, facts.values()))):
            return False
    if kept.transport and min(vars(kept.transport).values()) < 1:
        return False
    if isinstance(kept.result, Extraction):
        return _texts_hold(kept.result)
    if isinstance(kept.result, Grounding):
        expected = len(earlier[EXTRACTION].expressions)
        return len(kept.result.instances) == expected and _boxes_hold(kept.result, width, height)
    return True


def _is_finite(value: Any) -> bool:
    return type(value) is not float or math.isfinite(value)


def _texts_hold(result: Extraction) -> bool:
    cleaned = result.cleaned_caption
    for expression in result.expressions:
        if not expression.text:
            return False
        if span := expression.char_span:
            start, end = span
            if not 0 <= start < end <= len(cleaned) or cleaned[start:end] != expression.text:
                return False
    return True


def _boxes_hold(result: Grounding, width: int, height: int) -> bool:
    if result.clipped < 0 or any(count < 0 for count in result.dropped.values()):
        return False
    for instances in result.instances:
        for instance in instances:
            x1, y1, x2, y2 = instance.bbox
            if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
                return False
            if not (instance.score is None or 0 <= instance.score <= 1):
                return False
    return True
