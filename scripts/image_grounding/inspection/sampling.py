# SPDX-License-Identifier: Apache-2.0
"""Which records to show: the worst, some of every flag, the rest at random.

One pass, holding a bounded number of records. The random part is the beginning of one random
order of all records, drawn until the page is full. Records in it that are also among the worst
count as random; with the next one left out (Haldane's inverse sampling) their share in it is an
unbiased estimate of their share in all records. They are shown in the order of the draw, so that
a review that stops early still has a random sample. With ``only``, no record is random.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from image_grounding.inspection.model import Card, Picked

_WORST_SHARE = 0.25
_FLAG_SHARE = 0.25


@dataclass(order=True)
class _RankedCard:
    """A card in a heap whose smallest key goes first; keys are unique."""

    key: tuple[float, float]
    card: Card = field(compare=False)


class _TopCards:
    """The cards with the largest keys, up to ``size``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[_RankedCard] = []

    def add(self, key: tuple[float, float], card: Card) -> None:
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, _RankedCard(key, card))
        elif self._size and key > self._heap[0].key:
            heapq.heapreplace(self._heap, _RankedCard(key, card))

    def cards(self) -> list[Card]:
        """Largest key first."""
        return [ranked.card for ranked in sorted(self._heap, reverse=True)]


class Sampler:
    """Picks up to ``size`` cards from a stream.

    Args:
        size: the largest number of cards.
        seed: the same seed picks the same cards from the same stream.
        weights: how much a flag of each check adds to the rank among the worst.
        only: the check whose records alone are added.
    """

    def __init__(
        self, size: int, seed: int, weights: dict[str, int], only: str | None = None
    ) -> None:
        self._size = size
        self._only = only
        self._weights = weights
        self._random = random.Random(seed)
        self._worst_size = int(size * _WORST_SHARE)
        self._flag_size = int(size * _FLAG_SHARE)
        self._worst = _TopCards(self._worst_size)
        self._shuffled = _TopCards(size)
        self._by_flag = {name: _TopCards(self._flag_size + self._worst_size) for name in weights}
        self.seen = 0

    def add(self, card: Card) -> None:
        """Consider the next card."""
        self.seen += 1
        draw, tie_break = self._random.random(), self._random.random()
        self._shuffled.add((draw, float(-self.seen)), card)
        weight = sum(self._weights[flag.check] for flag in card.flags)
        if weight:
            self._worst.add((float(weight), tie_break), card)
        for name in {flag.check for flag in card.flags}:
            self._by_flag[name].add((tie_break, float(-self.seen)), card)

    def cards(self) -> tuple[Card, ...]:
        """The picked cards: random, then worst, then examples of flags."""
        chosen = self._chosen()
        drawn: list[Card] = []
        taken = len(chosen)
        for card in self._shuffled.cards():
            if card.index not in chosen:
                if taken >= self._size:
                    break
                taken += 1
            because = chosen.pop(card.index).because if card.index in chosen else ""
            drawn.append(replace(card, picked=Picked.RANDOM, because=because))
        cards = (*drawn, *chosen.values())
        if self._only is None:
            return cards
        return tuple(
            replace(card, picked=Picked.ONLY, because=f"--only {self._only}") for card in cards
        )

    def _chosen(self) -> dict[int, Card]:
        """The worst cards and some of every flag, by index."""
        chosen = {
            card.index: replace(card, picked=Picked.WORST, because="its flags weigh most")
            for card in self._worst.cards()
        }
        for name, card in self._in_turn_by_flag():
            if len(chosen) >= self._worst_size + self._flag_size:
                break
            because = f"an example of {name}"
            chosen.setdefault(card.index, replace(card, picked=Picked.FLAG, because=because))
        return chosen

    def _in_turn_by_flag(self) -> Iterator[tuple[str, Card]]:
        strata = [[(name, card) for card in best.cards()] for name, best in self._by_flag.items()]
        for row in zip_longest(*strata):
            yield from (named for named in row if named is not None)
