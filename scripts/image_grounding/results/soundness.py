# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint that was read back can be what a step left; its types are checked before."""

import math
from typing import TYPE_CHECKING, Any

from image_grounding.images.source import MAX_FILE_PIXELS
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep

if TYPE_CHECKING:
    from image_grounding.results.checkpoints import Checkpoint

# What a fact may be, besides a finite number.
_PLAIN = frozenset({str, int, bool, type(None)})


def is_sound(step: AnyStep, kept: "Checkpoint[Any]", earlier: Earlier) -> bool:
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
    return step.is_sound(kept.result, kept.size, earlier)
