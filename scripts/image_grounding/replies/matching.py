# SPDX-License-Identifier: Apache-2.0
"""Which of the phrases asked for each item of a reply is about, and which ones are in doubt.

Ids and labels are two witnesses. Where both speak and agree, or only one speaks and speaks
well, an item has an owner. Where they disagree it has none, and the phrases that either of them
named are in doubt: models count wrongly and copy wrongly, and nothing tells which it was.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from image_grounding.replies.items import Item
from image_grounding.replies.phrases import Asked


@dataclass(frozen=True)
class Match:
    """The phrase that an item is about, or None; and the phrases that it puts in doubt."""

    owner: int | None = None
    doubtful: frozenset[int] = frozenset()


class Matcher:
    """Matches the items of one reply to the phrases that were asked for.

    Args:
        asked: the phrases.
        items: all items of the reply, in order.
    """

    def __init__(self, asked: Asked, items: Sequence[Item]) -> None:
        self._asked = asked
        self._items = items
        self._named = [self._names(item) for item in items]
        # A lone phrase owns what has no name, where nothing has one.
        self._alone = len(asked) == 1 and not any(item.owned for item in items)
        self._base = self._counts_from()
        self._turns = self._equal_phrases_in_turn()
        self._bare_ids = Counter(
            item.id
            for item, names in zip(items, self._named, strict=True)
            if names is None and not item.apart
        )

    def matches(self) -> list[Match]:
        """One match for each item."""
        return [self._match(place) for place in range(len(self._items))]

    def _names(self, item: Item) -> tuple[int, ...] | None:
        """The phrases that an item's names mean; none for other things; None without a name."""
        labels, kinds = item.labels, item.kinds
        if not labels and not kinds:
            return None
        named = [found for label in labels if (found := self._asked.named(label))]
        if labels and not self._asked.named(labels[-1]) and len(labels) > 1:
            # The nearest name is of another thing: an object inside of what was asked for.
            return ()
        if not named:
            known = [kind for kind in kinds if self._asked.holds(kind) or not labels]
            named = [found for kind in known if (found := self._asked.named(kind))]
        if not named:
            return ()
        common = set(named[0]).intersection(*named[1:])
        return tuple(index for index in named[0] if index in common)

    def _counts_from(self) -> int | None:
        """0 or 1: what ids start at; None where they are no ids of phrases."""
        given = {item.id for item in self._items if item.id is not None}
        if not given:
            return 0
        named = [
            (item.id, names)
            for item, names in zip(self._items, self._named, strict=True)
            if item.id is not None and names
        ]
        agreeing = {base: sum(n - base in names for n, names in named) for base in (0, 1)}
        first = 1 if 0 not in given and len(self._asked) in given else 0
        best = (
            first if agreeing[0] == agreeing[1] else max(agreeing, key=lambda base: agreeing[base])
        )
        outside = any(not 0 <= number - best < len(self._asked) for number in given)
        disagree = any(number - best not in names for number, names in named)
        # Ids that go on past the last phrase count the items.
        running = given == set(range(min(given), min(given) + len(given)))
        return None if outside and (disagree or running) else best

    def _equal_phrases_in_turn(self) -> dict[int, Match]:
        """Items that name one of several equal phrases, and have no id: one each, in order."""
        turns: dict[int, Match] = {}
        groups = Counter(names for names in self._named if names and len(names) > 1)
        for group in groups:
            places = [
                place
                for place, (item, names) in enumerate(zip(self._items, self._named, strict=True))
                if names == group and (item.id is None or self._base is None)
            ]
            own = {names[0] for names in self._named if names and len(names) == 1}
            free = [index for index in group if index not in own]
            single = all(len(self._items[place].boxes) == 1 for place in places)
            fits = single and len(places) <= len(free)
            for turn, place in enumerate(places):
                turns[place] = Match(free[turn]) if fits else Match(None, frozenset(group))
        return turns

    def _match(self, place: int) -> Match:
        item, names = self._items[place], self._named[place]
        if place in self._turns:
            return self._turns[place]
        index = self._index(item.id)
        if names is None:
            if index is not None:
                # Nothing but its id speaks for a second box of a single thing.
                twice = self._bare_ids[item.id] > 1 and self._asked.phrases[index].count == 1
                return Match(None, frozenset({index})) if twice else Match(index)
            return Match(0) if self._alone and item.id is None else Match()
        if index is None:
            return Match(names[0]) if len(names) == 1 else Match()
        if index in names or (not names and self._is_kin(item, index)):
            return Match(index)
        return Match(None, frozenset({index, *names}))

    def _index(self, number: int | None) -> int | None:
        if number is None or self._base is None:
            return None
        index = number - self._base
        return index if 0 <= index < len(self._asked) else None

    def _is_kin(self, item: Item, index: int) -> bool:
        names = item.labels or item.kinds
        return bool(names) and self._asked.kin(names[-1], index)
