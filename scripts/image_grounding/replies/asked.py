# SPDX-License-Identifier: Apache-2.0
"""Which of the phrases asked for a name in a reply means, and when it means none of them.

A phrase that holds another names another thing ("woman next to man" is no man), so names are
compared by their words, and shortened ones by the noun that carries the phrase. What could be
two of the phrases is neither.
"""

import re
from collections.abc import Callable, Sequence

from rapidfuzz.distance import Indel

from image_grounding.replies.phrases import (
    LONGEST,
    AskedPhrase,
    folded,
    place_of,
    word_set,
    words_of,
)

# "dog 2", "dog-2", "dog #2", "dog (2)", "dog_2 0.93", "2. dog", "[2] dog"
_RUNNING = re.compile(
    r"(?:[\s#(\[:-]+(?:no\.?\s*)?\d{1,3}(?:\.\d+)?%?[)\]]?|(?<=[^\W\d])\d{1,2}"
    r"|\s(?:one|two|three|four|five|six))+$",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"[\s_-]+[A-H]$")  # "dog A"
_NUMBERED = re.compile(
    r"^(?:(?:(?:id|expression|phrase|object|item|no\.?)\s*)?[\[(#]?\d{1,3}\s*[.):\]-]+"
    r"(?:\s+(?=\S)|(?=[^\W\d]))|(?:expression|phrase|object|item|target|label|name):\s+)+",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")
_CUT_SHORT = re.compile(r"\s*(?:\.\.\.|\u2026)$")
# Words of a name that say which one of a kind, and nothing of the kind.
_QUALITIES = word_set(
    "red blue green yellow white black gray brown orange pink purple golden silver tan beige dark "
    "light bright colorful big small large little tiny huge tall short long young old new left "
    "right center middle front rear top bottom upper lower leftmost rightmost first second third "
    "fourth fifth last other another single whole"
)
# "terrier dogs" are terriers; but a "dog bowl" is no dog.
_KINDS = word_set("dog cat bird fish horse cow sheep animal")
# Words for one thing; they count where an id says the same.
_SAME_THINGS = (
    "couch sofa settee", "bike bicycle", "motorbike motorcycle", "car automobile", "tv television",
    "phone cellphone smartphone", "plane airplane aeroplane aircraft", "kid child", "lady woman",
    "guy man", "taxi cab", "photo picture photograph", "rug carpet", "stone rock", "mug cup",
    "trousers pants", "fridge refrigerator", "laptop notebook", "bag purse handbag",
)  # fmt: skip
_SYNONYMS = {word: line.split()[0] for line in _SAME_THINGS for word in line.split()}


class Asked:
    """The phrases that were asked for; their position is their id."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self.phrases = tuple(map(AskedPhrase, texts))
        self._folded = frozenset(phrase.folded for phrase in self.phrases)
        self._words = frozenset(phrase.words for phrase in self.phrases if phrase.words)
        self._longest = LONGEST + max(map(len, texts), default=0)
        self._named: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        """How many phrases."""
        return len(self.phrases)

    def named(self, label: str) -> tuple[int, ...]:
        """The phrases that ``label`` names: one; several where they are equal; mostly none."""
        if len(label) > self._longest:
            return ()
        if label not in self._named:
            self._named[label] = self._find(label)
        return self._named[label]

    def named_exactly(self, label: str) -> bool:
        """Whether ``label`` is one of the phrases as it was asked, but for its number."""
        return len(label) <= self._longest and any(map(self.holds, _readings(label)))

    def holds(self, label: str) -> bool:
        """Whether ``label`` is one of the phrases as it was asked, but for trifles."""
        if len(label) > self._longest:
            return False
        own = AskedPhrase(label)
        return bool(own.folded) and (own.folded in self._folded or own.words in self._words)

    def mentioned(self, text: str) -> bool:
        """Whether one of the phrases stands somewhere in ``text``."""
        words = words_of(folded(text))
        return any(place_of(phrase.words, words) is not None for phrase in self.phrases)

    def _find(self, label: str) -> tuple[int, ...]:
        for text in dict.fromkeys(_readings(label)):
            own = AskedPhrase(text)
            if own.folded and (found := self._exact(own) or self._alike(own)):
                return found
        if _CUT_SHORT.search(label):
            start = folded(_CUT_SHORT.sub("", label))
            found = self._those(lambda phrase: phrase.folded.startswith(start))
            return found if len(start.split()) > 1 and len(found) == 1 else ()
        return ()

    def _those(self, fits: Callable[[AskedPhrase], bool]) -> tuple[int, ...]:
        return tuple(index for index, phrase in enumerate(self.phrases) if fits(phrase))

    def _exact(self, own: AskedPhrase) -> tuple[int, ...]:
        if same := self._those(lambda phrase: phrase.folded == own.folded):
            return same
        if not own.words:
            return ()
        same = self._those(lambda phrase: phrase.words == own.words)
        # "dog" where "a dog" and "two dogs" were asked for may be either.
        alike = self._those(lambda phrase: phrase.bare == own.bare)
        return same if len(same) == len(alike) else ()

    def _alike(self, own: AskedPhrase) -> tuple[int, ...]:
        if not own.words:
            return ()
        alike = self._those(lambda phrase: phrase.bare == own.bare)
        if not alike:
            alike = self._those(lambda phrase: _short_for(own, phrase) or _says_more(own, phrase))
        if not alike:
            alike = self._those(lambda phrase: _misspells(own.bare, phrase.bare))
        return alike if len(alike) == 1 else ()

    def kin(self, label: str, index: int) -> bool:
        """Whether ``label`` can well be other words for a phrase that its id already points to."""
        own, phrase = AskedPhrase(label), self.phrases[index]
        if own.head is None or phrase.head is None:
            return False
        cores = [tuple(_SYNONYMS.get(word, word) for word in each.core) for each in (own, phrase)]
        return cores[0] == cores[1]


def _readings(label: str) -> list[str]:
    """A label as it stands, then without a number, then without what is in brackets behind it."""
    label = label.strip()
    plain = _NUMBERED.sub("", label)
    readings = [label, plain, _RUNNING.sub("", plain.replace("_", " "))]
    if _LETTERED.search(plain):
        readings.append(_LETTERED.sub("", plain))
    if _ASIDE.search(plain) and _ASIDE.sub("", plain):
        readings.append(_ASIDE.sub("", plain))
    return readings


def _short_for(label: AskedPhrase, phrase: AskedPhrase) -> bool:
    """Whether a label is a phrase without some of its words, the noun being left."""
    if label.head is None or phrase.head is None or not label.content <= phrase.content:
        return False
    if label.head == phrase.head:
        return True
    # A kind may be named by its special part: "terrier" for "terrier dogs".
    return phrase.head in _KINDS and set(label.core) <= set(phrase.core) - _QUALITIES


def _misspells(words: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether words are the same but for a letter too many or too few in a long one."""
    return len(words) == len(others) and all(
        word == other
        or (
            min(len(word), len(other)) >= 6
            and word[0] == other[0]
            and Indel.distance(word, other, score_cutoff=1) == 1
        )
        for word, other in zip(words, others, strict=True)
    )


def _says_more(label: AskedPhrase, phrase: AskedPhrase) -> bool:
    """Whether a label is a phrase and says besides which one it means."""
    if label.head is None or label.head != phrase.head or not phrase.content <= label.content:
        return False
    more = set(label.core) - set(phrase.core)
    return more <= _QUALITIES
