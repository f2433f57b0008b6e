# SPDX-License-Identifier: Apache-2.0
"""What a reply was to be read as, and what it was read as."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import Frame
from image_grounding.boxes.geometry import PixelBox, to_original
from image_grounding.replies import GroundingReply, read_grounding

CONVENTION, FRAME = "norm1000_xyxy", Frame((1000, 1000), (1000, 1000))

# The boxes of an expression; none where it is absent; None where it is unanswered.
Outcome = list[PixelBox] | None


@dataclass(frozen=True)
class Case:
    """A reply, the expressions that were asked for, and the outcome that is right for each."""

    name: str
    kind: str
    expressions: Sequence[str]
    reply: str
    want: Sequence[Outcome]


def load_cases(path: Path) -> list[Case]:
    return [
        Case(
            case["name"],
            case["kind"],
            case["expressions"],
            case["reply"],
            [None if boxes is None else sorted(map(in_pixels, boxes)) for boxes in case["want"]],
        )
        for case in json.loads(path.read_text("utf-8"))["cases"]
    ]


def in_pixels(numbers: Any) -> PixelBox:
    box = to_original(tuple(numbers), CONVENTION, FRAME, Counter())
    assert box is not None
    return box


def outcomes(reply: GroundingReply, count: int) -> list[Outcome]:
    """What each of ``count`` expressions comes out as, numbers that cannot be meant being none."""
    found: list[list[PixelBox]] = [[] for _ in range(count)]
    unusable = set(reply.unusable)
    for raw in reply.instances:
        if box := to_original(raw.numbers_in(CONVENTION), CONVENTION, FRAME, Counter()):
            found[raw.expression].append(box)
        else:
            unusable.add(raw.expression)
    assert not {raw.expression for raw in reply.instances} & (reply.absent | reply.unusable)
    assert not reply.absent & reply.unusable
    return [
        None if index in unusable or not (boxes or index in reply.absent) else sorted(set(boxes))
        for index, boxes in enumerate(found)
    ]


def read(case: Case) -> tuple[GroundingReply, list[Outcome]]:
    reply = read_grounding(case.reply, case.expressions)
    return reply, outcomes(reply, len(case.expressions))


def may_look_absent(reply: GroundingReply, outcome: Sequence[Outcome]) -> set[int]:
    """The expressions that count as absent if the same reply comes back to a second ask."""
    meant = {raw.expression for raw in reply.instances}
    unnamed = {index for index, boxes in enumerate(outcome) if boxes is None}
    return unnamed - meant - reply.unusable if reply.complete else set()
