# SPDX-License-Identifier: Apache-2.0
"""Replies to step 1: for each phrase that was asked for its boxes, its absence, or neither.

Whatever the text, a phrase has boxes only where exactly one reading gives them to it, and is
absent only where the reply says so. Everything else stays unanswered, to be asked again.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from image_grounding.boxes.frames import Box, swap_axes, y_first
from image_grounding.replies.answer import find_answer
from image_grounding.replies.asked import Asked
from image_grounding.replies.claims import Claims
from image_grounding.replies.exact import read_exact
from image_grounding.replies.text import ReplyStatus

_ABSENT_KEY = re.compile(r"absent\W{0,3}:", re.IGNORECASE)


@dataclass(frozen=True)
class RawInstance:
    """A box as a model wrote it, in its own convention, and the expression it is for.

    ``named``: the numbers are (x1, y1, x2, y2) because each came under its name, whatever
    order the model writes lists in.
    """

    expression: int
    numbers: Box
    score: float | None
    named: bool = False

    def numbers_in(self, convention: str) -> Box:
        """The numbers in the order of ``convention``."""
        return swap_axes(self.numbers) if self.named and y_first(convention) else self.numbers


@dataclass(frozen=True)
class GroundingReply:
    """What a reply to step 1 says. An expression with neither boxes nor absence is unanswered.

    Attributes:
        status: how well it could be read.
        instances: its boxes; none of an expression that is absent or unusable.
        absent: the expressions that it says are not to be seen.
        unusable: the expressions of which it says what cannot be read or meant, or two things.
        can_name_absent: it is written in a form that has a place for what is absent.
        complete: it is whole, and every item of it was read and matched; so what it does not
            name was not named.
        dropped: counts, by reason, what could not be used.
        open_ended: as in ``Found``.
    """

    status: ReplyStatus
    instances: tuple[RawInstance, ...] = ()
    absent: frozenset[int] = frozenset()
    unusable: frozenset[int] = frozenset()
    complete: bool = False
    can_name_absent: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    open_ended: bool = False


def read_grounding(text: str, expressions: Sequence[str]) -> GroundingReply:
    """Read a reply to step 1. Never raises; all numbers are the text's own, or follow from them.

    Args:
        text: the reply.
        expressions: the texts that were asked for; their position is their id.
    """
    exact = read_exact(text, expressions)
    if exact is None:
        return read_any(text, expressions)
    instances = (RawInstance(index, box, score) for index, (box, score) in exact[0].items())
    return GroundingReply(
        ReplyStatus.OK,
        tuple(instances),
        exact[1],
        complete=True,
        can_name_absent='"absent"' in text,
    )


def read_any(text: str, expressions: Sequence[str]) -> GroundingReply:
    """Read a reply in any form, as ``read_grounding``."""
    asked = Asked(expressions)
    answer = find_answer(text, asked)
    if answer.status in (ReplyStatus.UNPARSEABLE, ReplyStatus.REFUSED):
        return GroundingReply(answer.status)
    claims = Claims(asked, answer)
    instances = tuple(
        RawInstance(index, box.numbers, score, box.named) for index, box, score in claims.boxes()
    )
    if answer.refuses and not instances:
        return GroundingReply(ReplyStatus.REFUSED)
    whole = answer.status in (ReplyStatus.OK, ReplyStatus.REPAIRED)
    clean = whole and not (claims.dropped or claims.doubtful or answer.refuses)
    return GroundingReply(
        answer.status,
        instances,
        # Who refuses something did not look for all.
        frozenset() if answer.refuses else claims.absent(),
        frozenset(claims.doubtful),
        clean,
        _ABSENT_KEY.search(text) is not None,
        claims.dropped,
        answer.open_ended,
    )
