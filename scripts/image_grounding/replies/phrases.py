# SPDX-License-Identifier: Apache-2.0
"""Which of the phrases asked for a name in a reply means, and when it means none of them.

A phrase that holds another names another thing ("woman next to man" is no man), so names are
compared by their words, and shortened ones by the noun that carries the phrase. What could be
two of the phrases is neither. The word lists are English; names in other languages match where
they are written alike.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property

from rapidfuzz.distance import Indel

# A name is so much longer than a phrase at most.
_LONGEST = 200
_EDGES = " \t\n.,;:!?'\"`*\u201c\u201d\u2018\u2019"
_ARTICLES = re.compile(r"^(?:a|an|the|this|that|these|those|some)\s+", re.IGNORECASE)
_SAME = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u2010\u2011\u2013\u2014", "'''\"\"----")
_WORD = re.compile(r"[^\W_]+(?:['.][^\W_]+)*")
# "dog 2", "dog-2", "dog #2", "dog (2)", "dog_2 0.93", "2. dog", "[2] dog"
_RUNNING = re.compile(
    r"(?:[\s#(\[:-]+(?:no\.?\s*)?\d{1,3}(?:\.\d+)?%?[)\]]?|(?<=[^\W\d])\d{1,2}"
    r"|\s(?:one|two|three|four|five|six))+$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"^(?:(?:(?:id|expression|phrase|object|item|no\.?)\s*)?[\[(#]?\d{1,3}\s*[.):\]-]+"
    r"(?:\s+(?=\S)|(?=[^\W\d])))+",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")
_ACCENTS = re.compile("[\u0300-\u036f]")
_CUT_SHORT = re.compile(r"\s*(?:\.\.\.|\u2026)$")


def word_set(words: str) -> frozenset[str]:
    """Words from a text of them."""
    return frozenset(words.split())


_DETERMINERS = word_set("a an the this that these those some")
_SINGULAR = word_set("a an one this that each every another")
COUNTS = {
    "two": 2, "both": 2, "pair": 2, "couple": 2, "three": 3, "trio": 3, "four": 4, "five": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_QUANTIFIERS = (
    word_set("one several many multiple various numerous all some few each every") | set(COUNTS)
) - word_set("pair couple trio")
_AMOUNTS = word_set(
    "group groups set bunch row line crowd number lot lots herd flock cluster collection pair "
    "pairs couple trio"
)
# Words of a name that say which one of a kind, and nothing of the kind.
_QUALITIES = word_set(
    "red blue green yellow white black gray brown orange pink purple golden silver tan beige dark "
    "light bright colorful big small large little tiny huge tall short long young old new left "
    "right center middle front rear top bottom upper lower leftmost rightmost first second third "
    "fourth fifth last other another single whole"
)
_BREAKS = word_set(
    "about above across after against along alongside amid among around as at atop before behind "
    "below beneath beside besides between beyond by down during except for from in inside into "
    "like near next of off on onto opposite out outside over past per through throughout to "
    "toward towards under underneath until up upon via with within without who whom whose which "
    "that where while is are was were has have"
)
_JOINS = word_set("and or nor plus vs")
_JOINED = re.compile(r"[,/&+]")
_DENIALS = word_set("no not none without never cannot nothing neither absent missing")
# Nouns that look like participles.
_ING = word_set(
    "building ceiling wedding painting clothing railing string ring king wing thing spring swing "
    "parking dining swimming living washing cutting shopping ironing sewing earring lightning "
    "icing awning topping crossing landing pudding dressing drawing bowling baking wrapping "
    "lighting fencing paving siding flooring bedding frosting hearing"
)
_ED = word_set("bed shed sled seed weed reed hundred moped red breed steed feed toolshed flatbed")
# "terrier dogs" are terriers; but a "dog bowl" is no dog.
_KINDS = word_set("dog cat bird fish horse cow sheep animal")
_UNCHANGED = word_set("sheep fish deer cattle people police aircraft glasses")
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "shelves": "shelf", "loaves": "loaf", "halves": "half", "calves": "calf",
    "scarves": "scarf", "wives": "wife", "oxen": "ox", "snowmen": "snowman", "firemen": "fireman",
    "policemen": "policeman", "shoes": "shoe", "canoes": "canoe", "toes": "toe", "buses": "bus",
    "grey": "gray", "glasses": "glasses",
}  # fmt: skip
# Words for one thing; they count where an id says the same.
_SAME_THINGS = (
    "couch sofa settee", "bike bicycle", "motorbike motorcycle", "car automobile", "tv television",
    "phone cellphone smartphone", "plane airplane aeroplane aircraft", "kid child", "lady woman",
    "guy man", "taxi cab", "photo picture photograph", "rug carpet", "stone rock", "mug cup",
    "trousers pants", "fridge refrigerator", "laptop notebook", "bag purse handbag",
)  # fmt: skip
_SYNONYMS = {word: line.split()[0] for line in _SAME_THINGS for word in line.split()}
# Names that say nothing of what a thing is.
_NEUTRAL = word_set(
    "object objects item items target region regions thing things box boxes bbox bboxes entity "
    "instance instances id label expression expressions detection detections phrase result "
    "results answer output response data content prediction predictions annotation annotations "
    "query obj groundings grounding image final_answer final referring text bounding area"
)


def normalized(text: str) -> str:
    """A text without case, a leading article, punctuation around it, or doubled spaces."""
    text = " ".join(text.casefold().replace("_", " ").split()).strip(_EDGES)
    return _ARTICLES.sub("", text)


def folded(text: str) -> str:
    """A text without case, forms of one letter or quote, punctuation around it, or line breaks."""
    text = unicodedata.normalize("NFKC", text).translate(_SAME).casefold()
    return " ".join(text.replace("_", " ").split()).strip(_EDGES)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a folded text, without articles and accents."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return tuple(word for word in _WORD.findall(text) if word not in _DETERMINERS)


def singular(word: str) -> str:
    """A noun without its plural ending, in one spelling; other words mostly stay."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 5 and word.endswith("our"):
        return word[:-2] + "r"
    if len(word) > 4 and word.endswith(("ies", "ie")):
        return word.removesuffix("s")[:-2] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses", "zzes", "oes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "'s")):
        return word[:-1]
    return word


def place_of(phrase: tuple[str, ...], words: tuple[str, ...]) -> int | None:
    """Where the words of a phrase stand among others."""
    for start in range(len(words) - len(phrase) + 1 if phrase else 0):
        if words[start : start + len(phrase)] == phrase:
            return start
    return None


class Phrase:
    """A phrase in the forms that it is compared by."""

    def __init__(self, text: str) -> None:
        self.folded = folded(text)
        self.words = words_of(self.folded)

    @cached_property
    def _noun_phrase(self) -> tuple[str, ...]:
        """Its words without how many: ``("dogs", "on", "sofa")`` for "two dogs on a sofa"."""
        words = self.words
        while len(words) > 1:
            if words[0] in _AMOUNTS and words[1] == "of":
                words = words[2:] or words[1:]
            elif words[0] in _QUANTIFIERS or (words[0].isdecimal() and _is_plural(words[1])):
                words = words[2:] if words[1] == "of" and len(words) > 2 else words[1:]
            else:
                break
        return words

    @cached_property
    def bare(self) -> tuple[str, ...]:
        """Its words in the singular, without how many: ``("dog",)`` for "two dogs"."""
        return tuple(map(singular, self._noun_phrase))

    @cached_property
    def content(self) -> frozenset[str]:
        """Its words that are more than grammar."""
        return frozenset(self.bare) - _BREAKS

    @cached_property
    def core(self) -> tuple[str, ...]:
        """Its words up to the first preposition or participle; none where things are joined."""
        if _JOINS & set(self.words) or _DENIALS & set(self.words) or _JOINED.search(self.folded):
            return ()
        core: list[str] = []
        for word, follower in zip(self.bare, (*self.bare[1:], "of"), strict=True):
            if core and (word in _BREAKS or _is_participle(word, follower)):
                break
            core.append(word)
        return tuple(core)

    @property
    def head(self) -> str | None:
        """The noun that carries the phrase, as far as its place tells."""
        return self.core[-1] if self.core else None

    @cached_property
    def count(self) -> int | None:
        """How many things it says that there are; None where it does not say."""
        words = _WORD.findall(self.folded)
        while len(words) > 1 and (words[0] in _DETERMINERS or words[0] == "all"):
            if words[0] in _SINGULAR and words[1] not in COUNTS:
                return 1
            words.pop(0)
        number = words[0] if words else ""
        if number in _SINGULAR:
            return 1
        if not any(map(_is_plural, words[1:])):
            return None
        return int(number) if number.isdecimal() and len(number) < 3 else COUNTS.get(number)

    @property
    def plural(self) -> bool:
        """Whether it may well stand for several things."""
        if self.count is not None:
            return self.count > 1
        head = self._noun_phrase[len(self.core) - 1] if self.core else ""
        return not self.core or _is_plural(head) or self._noun_phrase != self.words


def _is_plural(word: str) -> bool:
    return word != singular(word) or word in _UNCHANGED


def _is_participle(word: str, follower: str) -> bool:
    if len(word) > 4 and word.endswith("ing"):
        return word not in _ING
    return len(word) > 3 and word.endswith("ed") and word not in _ED and follower in _BREAKS


def is_neutral(label: str) -> bool:
    """Whether a label names no thing: empty, a number, "object 2", "..."."""
    if len(label) > _LONGEST:
        return False
    words = [word for word in _WORD.findall(folded(label)) if not word.isdecimal()]
    return all(re.sub(r"\d+$", "", word) in _NEUTRAL for word in words)


class Asked:
    """The phrases that were asked for; their position is their id."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self.phrases = tuple(map(Phrase, texts))
        self._folded = frozenset(phrase.folded for phrase in self.phrases)
        self._words = frozenset(phrase.words for phrase in self.phrases if phrase.words)
        self._longest = _LONGEST + max(map(len, texts), default=0)
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
        own = Phrase(label)
        return bool(own.folded) and (own.folded in self._folded or own.words in self._words)

    def mentioned(self, text: str) -> bool:
        """Whether one of the phrases stands somewhere in ``text``."""
        words = words_of(folded(text))
        return any(place_of(phrase.words, words) is not None for phrase in self.phrases)

    def _find(self, label: str) -> tuple[int, ...]:
        for text in dict.fromkeys(_readings(label)):
            own = Phrase(text)
            if own.folded and (found := self._exact(own) or self._alike(own)):
                return found
        if _CUT_SHORT.search(label):
            start = folded(_CUT_SHORT.sub("", label))
            found = self._those(lambda phrase: phrase.folded.startswith(start))
            return found if len(start.split()) > 1 and len(found) == 1 else ()
        return ()

    def _those(self, fits: Callable[[Phrase], bool]) -> tuple[int, ...]:
        return tuple(index for index, phrase in enumerate(self.phrases) if fits(phrase))

    def _exact(self, own: Phrase) -> tuple[int, ...]:
        if same := self._those(lambda phrase: phrase.folded == own.folded):
            return same
        if not own.words:
            return ()
        same = self._those(lambda phrase: phrase.words == own.words)
        # "dog" where "a dog" and "two dogs" were asked for may be either.
        alike = self._those(lambda phrase: phrase.bare == own.bare)
        return same if len(same) == len(alike) else ()

    def _alike(self, own: Phrase) -> tuple[int, ...]:
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
        own, phrase = Phrase(label), self.phrases[index]
        if own.head is None or phrase.head is None:
            return False
        cores = [tuple(_SYNONYMS.get(word, word) for word in each.core) for each in (own, phrase)]
        return cores[0] == cores[1]


def _readings(label: str) -> list[str]:
    """A label as it stands, then without a number, then without what is in brackets behind it."""
    label = label.strip()
    plain = _NUMBERED.sub("", label)
    readings = [label, plain, _RUNNING.sub("", plain.replace("_", " "))]
    if _ASIDE.search(plain) and _ASIDE.sub("", plain):
        readings.append(_ASIDE.sub("", plain))
    return readings


def _short_for(label: Phrase, phrase: Phrase) -> bool:
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


def _says_more(label: Phrase, phrase: Phrase) -> bool:
    """Whether a label is a phrase and says besides which one it means."""
    if label.head is None or label.head != phrase.head or not phrase.content <= label.content:
        return False
    more = set(label.core) - set(phrase.core)
    return more <= _QUALITIES
