# SPDX-License-Identifier: Apache-2.0
"""Which of the expressions asked for an item of a reply is about."""

import re
from collections import Counter
from collections.abc import Sequence

_EDGES = " .,;:!?'\"`\u201c\u201d\u2018\u2019"
_ARTICLES = re.compile(r"^(?:a|an|the|this|that|these|those|some)\s+", re.IGNORECASE)


def normalized(text: str) -> str:
    """A text without case, a leading article, punctuation around it, or doubled spaces."""
    text = " ".join(text.casefold().replace("_", " ").split()).strip(_EDGES)
    return _ARTICLES.sub("", text)


class Matcher:
    """Matches the items of one reply, in order, to the expressions asked for.

    The id decides; a label that is another expression's text outweighs it, since models count
    wrongly more often than they copy wrongly. Items with neither match only where a single
    expression was asked for.

    Args:
        expressions: what was asked for; the position is the id.
        items: id and label of each item of the reply, where it has them.
    """

    def __init__(
        self, expressions: Sequence[str], items: Sequence[tuple[int | None, str | None]]
    ) -> None:
        self._texts = [normalized(text) for text in expressions]
        self._words = [frozenset(text.split()) for text in self._texts]
        self._named_by: dict[str, list[int]] = {}
        self._turns: Counter[str] = Counter()
        self._first_id = self._counts_from(items)

    def _counts_from(self, items: Sequence[tuple[int | None, str | None]]) -> int:
        """0 or 1: what the model's ids start at, by its labels or else by the ids it uses."""
        agreeing = Counter(
            number - index
            for number, label in items
            if number is not None
            for index in self._named(label or "")
        )
        if agreeing[0] != agreeing[1]:
            return 0 if agreeing[0] > agreeing[1] else 1
        given = {number for number, _ in items}
        return 1 if 0 not in given and len(self._texts) in given else 0

    def match(self, number: int | None, label: str | None) -> int | None:
        """The position of the expression that an item is about, or None."""
        index = None if number is None else number - self._first_id
        if index is not None and not 0 <= index < len(self._texts):
            index = None
        if label is None:
            return 0 if number is None and len(self._texts) == 1 else index
        named = self._named(label)
        if index in named or not named:
            return index
        # Equal phrases without usable ids: one item each, from the first on.
        turn = self._turns[self._texts[named[0]]]
        self._turns[self._texts[named[0]]] += 1
        return named[min(turn, len(named) - 1)]

    def _named(self, label: str) -> list[int]:
        wanted = normalized(label)
        if wanted not in self._named_by:
            self._named_by[wanted] = self._look_up(wanted)
        return self._named_by[wanted]

    def _look_up(self, wanted: str) -> list[int]:
        exact = [index for index, text in enumerate(self._texts) if text == wanted]
        words = frozenset(wanted.split())
        if exact or not words:
            return exact
        close = [i for i, own in enumerate(self._words) if own and (words <= own or own <= words)]
        return close if len(close) == 1 else []
