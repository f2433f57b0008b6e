# SPDX-License-Identifier: Apache-2.0
"""Which of the expressions asked for an item of a reply is about."""

import re
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"^(?:a|an|the|this|that|these|those|some)\s+", re.IGNORECASE)


def normalized(text: str) -> str:
    """A text without case, a leading article, punctuation around it, or doubled spaces."""
    text = " ".join(text.casefold().split()).strip(" .,;:!?'\"`")
    return _ARTICLES.sub("", text)


class Matcher:
    """Matches the items of one reply, in order, to the expressions asked for.

    The id decides; a label that is another expression's text outweighs it, since models count
    wrongly more often than they copy wrongly. Items with neither match only where a single
    expression was asked for.
    """

    def __init__(self, expressions: Sequence[str], ids: Sequence[int | None]) -> None:
        self._labels = [normalized(text) for text in expressions]
        self._used: Counter[str] = Counter()
        given = {number for number in ids if number is not None}
        counts_from_one = 0 not in given and len(expressions) in given
        self._first_id = 1 if counts_from_one else 0

    def match(self, number: int | None, label: str | None) -> int | None:
        """The position of the expression that an item is about, or None."""
        index = None if number is None else number - self._first_id
        if index is not None and not 0 <= index < len(self._labels):
            index = None
        if label is None:
            return 0 if number is None and len(self._labels) == 1 else index
        named = self._named(label)
        if index in named or not named:
            return index
        # Equal phrases without usable ids: one item each, from the first on.
        turn = self._used[normalized(label)]
        self._used[normalized(label)] += 1
        return named[min(turn, len(named) - 1)]

    def _named(self, label: str) -> list[int]:
        wanted = normalized(label)
        exact = [index for index, text in enumerate(self._labels) if text == wanted]
        if exact or not wanted:
            return exact
        words = set(wanted.split())
        close = [i for i, text in enumerate(self._labels) if words <= set(text.split())]
        if wanted.isdecimal() and int(wanted) < len(self._labels):
            return [int(wanted)]  # an object keyed by id
        return close if len(close) == 1 else []
