# SPDX-License-Identifier: Apache-2.0
"""Replies to step 1: boxes for the referring expressions that were asked for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from image_grounding.boxes.frames import Box, swap_axes, y_first
from image_grounding.replies.items import Item, Reader, has_box
from image_grounding.replies.matching import Matcher, normalized
from image_grounding.replies.text import ReplyStatus, find_json, lowered


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
    """What a reply to step 1 says.

    Attributes:
        status: how well it could be read.
        instances: its boxes.
        dropped: counts, by reason, what could not be used.
        spoiled: the expressions that had something of it in the place of a box.
        open_ended: as in ``Found``.
    """

    status: ReplyStatus
    instances: tuple[RawInstance, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    spoiled: frozenset[int] = frozenset()
    open_ended: bool = False


def read_grounding(text: str, expressions: Sequence[str]) -> GroundingReply:
    """Read a reply to step 1. Never raises, never returns a number that is not in ``text``.

    Args:
        text: the reply.
        expressions: the texts that were asked for; their position is their id.
    """
    reader = Reader(frozenset(map(normalized, expressions)))
    found = find_json(text, reader.shape)
    if not found:
        return GroundingReply(ReplyStatus.UNPARSEABLE)
    items = _without_drafts([(value, reader.items(value)) for value in found.values])
    matcher = Matcher(expressions, [(item.id, item.label) for item in items])
    dropped: Counter[str] = Counter()
    instances = []
    spoiled: set[int] = set()
    for item in items:
        target = matcher.match(item.id, item.label)
        for box, score in item.boxes:
            if box is None:
                dropped["malformed"] += 1
                if target is not None:
                    spoiled.add(target)
            elif target is None:
                dropped["unmatched"] += 1
            else:
                instances.append(RawInstance(target, box.numbers, score, box.named))
    return GroundingReply(
        found.status, tuple(instances), dropped, frozenset(spoiled), found.open_ended
    )


def _without_drafts(values: list[tuple[Any, list[Item]]]) -> list[Item]:
    """The items of all values, without a list that a later one says anew.

    Objects with one box each are entries of one answer; lists and keyed objects are whole
    answers, each to some of the expressions.
    """
    kept: list[Item] = []
    named: set[tuple[int | None, str]] = set()
    for value, items in reversed(values):
        names = {(item.id, normalized(item.label or "")) for item in items}
        single = isinstance(value, dict) and has_box(lowered(value)) and len(items) == 1
        if single or not names & named:
            kept[:0] = items
        named |= names
    return kept
