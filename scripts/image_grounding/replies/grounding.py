# SPDX-License-Identifier: Apache-2.0
"""Replies to step 1: for each phrase that was asked for its boxes, its absence, or neither.

Whatever the text, a phrase has boxes only where exactly one reading gives them to it, and is
absent only where the reply says so. Everything else stays unanswered, to be asked again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from image_grounding.boxes.frames import Box, swap_axes, y_first
from image_grounding.replies.answer import Answer, find_answer
from image_grounding.replies.items import Item
from image_grounding.replies.matching import Match, Matcher
from image_grounding.replies.numbers import RawBox
from image_grounding.replies.phrases import Asked
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
    asked = Asked(expressions)
    answer = find_answer(text, asked)
    if answer.status in (ReplyStatus.UNPARSEABLE, ReplyStatus.REFUSED):
        return GroundingReply(answer.status)
    claims = _Claims(asked, answer)
    unusable = claims.unusable()
    instances = tuple(
        RawInstance(index, box.numbers, score, box.named)
        for index, box, score in claims.boxes
        if index not in unusable
    )
    boxed = {instance.expression for instance in instances}
    absent = frozenset(claims.unseen) - unusable - boxed
    if answer.refuses:
        if not instances:
            return GroundingReply(ReplyStatus.REFUSED)
        absent = frozenset()
    whole = answer.status in (ReplyStatus.OK, ReplyStatus.REPAIRED)
    clean = whole and not (claims.dropped or unusable or answer.refuses)
    return GroundingReply(
        answer.status,
        instances,
        absent,
        unusable,
        clean,
        _ABSENT_KEY.search(text) is not None,
        claims.dropped,
        answer.open_ended,
    )


class _Claims:
    """What the items of an answer claim of each phrase, a later word replacing what it corrects."""

    def __init__(self, asked: Asked, answer: Answer) -> None:
        self._asked = asked
        self.boxes: list[tuple[int, RawBox, float | None]] = []
        self.unseen = set(answer.denied)
        self.dropped: Counter[str] = Counter()
        self._doubtful: set[int] = set()
        self._by_block: dict[int, dict[int, list[tuple[RawBox, float | None]]]] = {}
        flat = [(place, item) for place, block in enumerate(answer.blocks) for item in block.items]
        matches = Matcher(asked, [item for _, item in flat]).matches()
        for (place, item), match in zip(flat, matches, strict=True):
            self._take(place, item, match)
        self._settle([block.corrects for block in answer.blocks])
        boxed = {index for index, _, _ in self.boxes}
        self._contradict(boxed & (self.unseen | answer.denied_loosely))
        self._contradict(set(answer.vague) & boxed)
        self._contradict(self._too_few())
        found = sum(len(item.boxes) + item.unread for _, item in flat)
        self.dropped["unread"] += max(answer.boxes_in_text - found, 0)
        self.dropped += Counter()  # without zeros

    def _take(self, place: int, item: Item, match: Match) -> None:
        self._doubtful.update(match.doubtful)
        self.dropped["malformed"] += item.unread
        if match.owner is None:
            if not item.cut:
                self.dropped["unmatched"] += len(item.boxes) or (item.unseen and not item.unread)
            return
        if item.unread or item.cut:
            self._doubtful.add(match.owner)
        if item.unseen:
            self.unseen.add(match.owner)
        if item.boxes:
            block = self._by_block.setdefault(match.owner, {}).setdefault(place, [])
            block.extend(item.boxes)

    def _settle(self, corrects: Sequence[bool]) -> None:
        """Choose between the blocks that speak of one phrase."""
        last = len(corrects) - 1
        for index, blocks in self._by_block.items():
            active: list[tuple[RawBox, float | None]] = []
            before = 0
            for place, boxes in blocks.items():
                if not active or any(corrects[before + 1 : place + 1]):
                    active = boxes
                elif {box for box, _ in active} == {box for box, _ in boxes}:
                    pass
                elif self._may_be_more(index, active, boxes):
                    active = [*active, *boxes]
                else:
                    self._contradict({index})
                before = place
            self.boxes.extend((index, box, score) for box, score in active)
        # What announces a correction and then says nothing takes all back.
        spoken = {place for blocks in self._by_block.values() for place in blocks}
        if last > 0 and corrects[last] and last not in spoken:
            self._contradict(self._by_block)

    def _contradict(self, indexes: Iterable[int]) -> None:
        """Of these phrases the reply says two things."""
        new = set(indexes) - self._doubtful
        self.dropped["contradictory"] += len(new)
        self._doubtful |= new

    def _may_be_more(
        self,
        index: int,
        active: Sequence[tuple[RawBox, float | None]],
        boxes: Sequence[tuple[RawBox, float | None]],
    ) -> bool:
        phrase = self._asked.phrases[index]
        together = len(active) + len(boxes)
        return phrase.plural and len(boxes) == 1 and together <= (phrase.count or together)

    def _too_few(self) -> Iterable[int]:
        """Phrases of which boxes are missing while there are boxes that nobody owns."""
        if not (self.dropped["unmatched"] or self.dropped["malformed"]):
            return
        found = Counter(index for index, _, _ in self.boxes)
        for index, count in found.items():
            if count < (self._asked.phrases[index].count or 0):
                yield index

    def unusable(self) -> frozenset[int]:
        """The phrases of which no reading is sure."""
        return frozenset(self._doubtful)
