# SPDX-License-Identifier: Apache-2.0
"""Which of the phrases asked for each item of a reply is about, and which ones are in doubt.

Ids and labels are two witnesses. Where both speak and agree, or only one speaks and speaks
well, an item has an owner. Where they disagree it has none, and the phrases that either of them
named are in doubt: models count wrongly and copy wrongly, and nothing tells which it was.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from image_grounding.replies.asked import Asked
from image_grounding.replies.items import Item


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
        own = [(item, names) for item, names in self._pairs() if not item.apart]
        self._bare_ids = Counter(item.id for item, names in own if names is None)
        self._by_its_name = {names[0] for item, names in own if names and self._is_exact(item)}

    def matches(self) -> list[Match]:
        """One match for each item."""
        return [self._match(place) for place in range(len(self._items))]

    def _pairs(self) -> list[tuple[Item, tuple[int, ...] | None]]:
        return list(zip(self._items, self._named, strict=True))

    def _names(self, item: Item) -> tuple[int, ...] | None:
        """The phrases that an item's names mean; none for other things; None without a name."""
        if not item.labels and not item.kinds:
            return None
        if len(item.labels) > 1 and not self._asked.named(item.labels[-1]):
            return ()  # the nearest name is of another thing inside of what was asked for
        kinds = [kind for kind in item.kinds if self._asked.holds(kind) or not item.labels]
        named = [found for name in (*item.labels, *kinds) if (found := self._asked.named(name))]
        if not named:
            return ()
        common = set(named[0]).intersection(*named[1:])
        return tuple(index for index in named[0] if index in common)

    def _torn(self, item: Item) -> frozenset[int]:
        """The phrases of an item whose names mean different ones."""
        named = {found for name in item.labels + item.kinds if (found := self._asked.named(name))}
        return (
            frozenset(index for found in named for index in found)
            if len(named) > 1
            else frozenset()
        )

    def _is_exact(self, item: Item) -> bool:
        return any(map(self._asked.named_exactly, item.labels or item.kinds))

    def _counts_from(self) -> int | None:
        """0 or 1: what ids start at; None where they are no ids of phrases."""
        given = {item.id for item in self._items if item.id is not None}
        if not given:
            return 0
        named = [(item.id, names) for item, names in self._pairs() if item.id is not None and names]
        agreeing = [sum(number - base in names for number, names in named) for base in (0, 1)]
        fitting = [
            base for base in (0, 1) if min(given) >= base and max(given) - base < len(self._asked)
        ]
        if fitting:
            return max(fitting, key=lambda base: agreeing[base])
        # Ids that go on past the last phrase count the items.
        running = given == set(range(min(given), min(given) + len(given)))
        return None if running or agreeing[0] < len(named) else 0

    def _equal_phrases_in_turn(self) -> dict[int, Match]:
        """Items that name one of several equal phrases, and have no id: one each, in order."""
        turns: dict[int, Match] = {}
        groups = {names for names in self._named if names and len(names) > 1}
        taken = {names[0] for names in self._named if names and len(names) == 1}
        for group in groups:
            places = [
                place
                for place, (item, names) in enumerate(self._pairs())
                if names == group and (item.id is None or self._base is None)
            ]
            free = [index for index in group if index not in taken]
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
            return self._by_id(item, index)
        if index is None:
            return self._by_name(item, names)
        if index in names or (not names and self._is_kin(item, index)):
            return Match(index)
        return Match(None, frozenset({index, *names}) | self._torn(item))

    def _by_id(self, item: Item, index: int | None) -> Match:
        if index is None:
            return Match(0) if self._alone and item.id is None else Match()
        # Nothing but its id speaks for a second box of a single thing.
        twice = self._bare_ids[item.id] > 1 and self._asked.phrases[index].count == 1
        return Match(None, frozenset({index})) if twice else Match(index)

    def _by_name(self, item: Item, names: tuple[int, ...]) -> Match:
        if len(names) != 1:
            return Match(None, self._torn(item))
        # Beside items that bear its very name, one with another name may be another thing.
        odd = names[0] in self._by_its_name and not self._is_exact(item)
        return Match(None, frozenset(names)) if odd else Match(names[0])

    def _index(self, number: int | None) -> int | None:
        if number is None or self._base is None:
            return None
        index = number - self._base
        return index if 0 <= index < len(self._asked) else None

    def _is_kin(self, item: Item, index: int) -> bool:
        names = item.labels or item.kinds
        return bool(names) and self._asked.kin(names[-1], index)
