# SPDX-License-Identifier: Apache-2.0
"""What an answer claims of each phrase in the end: a later word replaces what it corrects.

Where a reply says two things of a phrase, and nothing tells which one it means, it has said
nothing of it that could be used.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz

from image_grounding.boxes.geometry import box_iou, order_corners
from image_grounding.replies.answer import Answer
from image_grounding.replies.asked import Asked
from image_grounding.replies.items import Item
from image_grounding.replies.matching import Match, Matcher
from image_grounding.replies.numbers import RawBox
from image_grounding.replies.phrases import AskedPhrase, folded, place_of, words_of
from image_grounding.replies.text import ReplyStatus

# So many boxes of a single thing, in a reply without end, are a loop.
_LOOP = 4
# Lists that overlap more than this are two tries at the same things.
_SAME_PLACE = 0.3

_NUMBER = re.compile(r"\d+")
_ALIKE = 80.0
_LONGEST = 400  # letters of a name that is looked into

Scored = tuple[RawBox, float | None]


@dataclass
class _Claim:
    """What one block says of a phrase."""

    boxes: list[Scored] = field(default_factory=list)
    unseen: bool = False

    def agrees(self, other: "_Claim") -> bool:
        return self.unseen is other.unseen and _distinct(self.boxes) == _distinct(other.boxes)


class Claims:
    """The claims of an answer.

    Attributes:
        dropped: counts, by reason, what could not be used.
        doubtful: the phrases of which no reading is sure.
    """

    def __init__(self, asked: Asked, answer: Answer) -> None:
        self.dropped: Counter[str] = Counter()
        self.doubtful: set[int] = set()
        self._asked = asked
        self._aside: list[str] = []  # names of what was not asked for
        self._lost = False  # a box that may belong to anything
        self._blocks: dict[int, dict[int, _Claim]] = {}
        self._final: dict[int, _Claim] = {}
        flat = [(place, item) for place, block in enumerate(answer.blocks) for item in block.items]
        matches = Matcher(asked, [item for _, item in flat]).matches()
        for (place, item), match in zip(flat, matches, strict=True):
            self._take(place, item, match)
        self._settle([block.corrects for block in answer.blocks])
        self._hear(answer)
        if answer.status is ReplyStatus.TRUNCATED:
            owners = [
                match.owner for (_, item), match in zip(flat, matches, strict=True) if item.boxes
            ]
            self._contradict(self._endless(owners))
        self.dropped["unread"] += _lost_boxes(answer, [item for _, item in flat])
        self._contradict(self._too_few(lost=self._lost or self.dropped["unread"] > 0))
        self.dropped += Counter()  # without zeros

    def boxes(self) -> Iterator[tuple[int, RawBox, float | None]]:
        """The boxes of the phrases that have some, in the order of the answer."""
        for index, claim in self._final.items():
            if index not in self.doubtful:
                yield from ((index, box, score) for box, score in claim.boxes)

    def absent(self) -> frozenset[int]:
        """The phrases that the answer calls unseen."""
        unseen = {index for index, claim in self._final.items() if claim.unseen}
        return frozenset(unseen - self.doubtful)

    def _take(self, place: int, item: Item, match: Match) -> None:
        self.doubtful |= match.doubtful
        self.dropped["malformed"] += item.unread
        self._lost = self._lost or item.lossy
        if match.owner is None:
            named = item.labels or item.kinds
            self._lost = self._lost or item.unread > 0 or bool(item.boxes and not named)
            self._aside.extend(named)
            if not item.cut:
                self.dropped["unmatched"] += len(item.boxes) or (item.unseen and not item.unread)
            return
        if item.unread or item.cut:
            self.doubtful.add(match.owner)
        claim = self._blocks.setdefault(match.owner, {}).setdefault(place, _Claim())
        claim.boxes.extend(item.boxes)
        claim.unseen = claim.unseen or item.unseen

    def _settle(self, corrects: Sequence[bool]) -> None:
        """Choose between the blocks that speak of one phrase."""
        for index, blocks in self._blocks.items():
            final, before = _Claim(), 0
            for place, claim in blocks.items():
                if not (final.boxes or final.unseen) or any(corrects[before + 1 : place + 1]):
                    final = claim
                elif self._adds_to(index, final, claim):
                    final = _Claim([*final.boxes, *claim.boxes])
                elif not final.agrees(claim):
                    self._contradict({index})
                before = place
            self._final[index] = final
            if final.boxes and final.unseen:
                self._contradict({index})
        # What announces a correction and then says nothing takes all back.
        last = len(corrects) - 1
        silent = not any(last in blocks for blocks in self._blocks.values())
        if last > 0 and corrects[last] and silent:
            self._contradict(self._blocks)

    def _adds_to(self, index: int, first: _Claim, more: _Claim) -> bool:
        """Whether a second list holds other things of a plural, not the same ones again."""
        phrase = self._asked.phrases[index]
        together = len(first.boxes) + len(more.boxes)
        if first.unseen or more.unseen or not phrase.plural:
            return False
        if together > (phrase.count or together):
            return False
        return not any(
            box_iou(order_corners(box.numbers), order_corners(other.numbers)) > _SAME_PLACE
            for box, _ in first.boxes
            for other, _ in more.boxes
        )

    def _hear(self, answer: Answer) -> None:
        """Take in what sentences say."""
        boxed = {index for index, claim in self._final.items() if claim.boxes}
        self._contradict(boxed & (answer.vague | answer.denied_loosely))
        for index in answer.denied - boxed:
            self._final.setdefault(index, _Claim()).unseen = True

    def _endless(self, owners: Sequence[int | None]) -> Iterator[int]:
        """Phrases that the end of the reply may have cut, or that it did not come to an end of."""
        for index, claim in self._final.items():
            plural = self._asked.phrases[index].plural
            loops = not plural and len(_distinct(claim.boxes)) >= _LOOP
            if loops or (plural and owners[-1:] == [index]):
                yield index

    def _too_few(self, *, lost: bool) -> Iterator[int]:
        """Phrases that may own a box that nobody owns: by their count, or groups if it is lost."""
        if not (lost or self.dropped["unmatched"]):
            return
        aside = [name for name in self._aside if len(name) < _LONGEST]
        for index, claim in self._final.items():
            phrase, found = self._asked.phrases[index], len(_distinct(claim.boxes))
            several = phrase.plural or found > 1
            hidden = lost or any(_hides(name, phrase) for name in aside)
            if found and (found < (phrase.count or 0) or (several and hidden)):
                yield index

    def _contradict(self, indexes: Iterable[int]) -> None:
        """Of these phrases the reply says two things."""
        new = set(indexes) - self.doubtful
        self.dropped["contradictory"] += len(new)
        self.doubtful |= new


def _hides(name: str, phrase: AskedPhrase) -> bool:
    """Whether a name that means no phrase holds this one, or is hardly another."""
    name = folded(name)
    held = place_of(phrase.words, words_of(name)) is not None
    return held or fuzz.ratio(name, phrase.folded) > _ALIKE


def _lost_boxes(answer: Answer, items: Sequence[Item]) -> int:
    """How many boxes stand in the text as numbers that are in no item, read or unreadable."""
    read: Counter[float] = Counter()
    for item in items:
        read.update(float(number) for name in item.labels for number in _NUMBER.findall(name))
        read.update([] if item.id is None else [float(item.id)])
        for box, score in item.boxes:
            read.update((*(box.written or box.numbers), *([] if score is None else [score])))
    boxes = {box.written or box.numbers for item in items for box, _ in item.boxes}
    rest: Counter[float] = Counter()
    for run in answer.numbers:
        for start in range(0, len(run), 4):
            four = run[start : start + 4]
            if four in boxes:  # a box that was read, maybe said once more
                read -= Counter(four)
            else:
                rest.update(four)
    left = (rest - read).total()
    # Of each box that cannot be read most numbers are left; of others none is.
    return max((left + 1) // 4 - sum(item.unread for item in items), 0)


def _distinct(boxes: Sequence[Scored]) -> set[RawBox]:
    return {RawBox(box.numbers, box.named) for box, _ in boxes}
