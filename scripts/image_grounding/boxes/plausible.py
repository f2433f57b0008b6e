# SPDX-License-Identifier: Apache-2.0
"""Numbers that cannot be meant as a box in the convention that was measured.

They are no boxes: clipped to the border they would be boxes of something else.
"""

import math

from image_grounding.boxes.frames import CONVENTIONS, PIXEL_CONVENTIONS, Box, Frame

# Share of a side by which an inexact box may pass the border of its image.
BORDER = 0.02


def unmeant(numbers: Box, convention: str, frame: Frame) -> str | None:
    """Why a model's four numbers cannot be meant in ``convention``, or None where they can.

    Four numbers of at most 1 are fractions where pixels or thousandths were measured, whole
    ones too: a box of one thousandth in the corner is meant by nobody, ``[0, 0, 1, 1]`` for the
    whole image by many.

    Args:
        numbers: as the model wrote them, in the order of the convention.
        convention: what the endpoint was measured to answer in.
        frame: the image's sizes.

    Returns:
        ``not_finite``, ``fraction``, ``outside`` (past the border by more than ``BORDER``),
        ``no_area``, or None.
    """
    if not all(map(math.isfinite, numbers)):
        return "not_finite"
    if convention != "norm1_xyxy" and all(abs(number) <= 1 + BORDER for number in numbers):
        return "no_area" if _is_flat(numbers) else "fraction"
    sent = CONVENTIONS[convention].to_sent(numbers, frame)
    if not all(map(math.isfinite, (*sent, *frame.sent_to_original(sent)))):
        return "not_finite"
    for place, number in enumerate(sent):
        side = frame.sent[place % 2]
        # A side of few pixels is passed by one of them in rounding alone.
        border = max(side * BORDER, 1.0 if convention in PIXEL_CONVENTIONS else 0.0)
        if not -border <= number <= side + border:
            return "outside"
    return "no_area" if _is_flat(sent) else None


def _is_flat(box: Box) -> bool:
    return box[0] == box[2] or box[1] == box[3]
