# SPDX-License-Identifier: Apache-2.0
"""A phrase in the forms that it is compared by: its words, their singulars, its head noun.

No parser: short lists of English words. Of phrases in other languages only what is written
alike is known.
"""

import re
import unicodedata
from functools import cached_property

# A name is so much longer than a phrase at most.
LONGEST = 200
_EDGES = " \t\n.,;:!?'\"`*\u201c\u201d\u2018\u2019"
_ARTICLES = re.compile(r"^(?:a|an|the|this|that|these|those|some)\s+", re.IGNORECASE)
_SAME = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u2010\u2011\u2013\u2014", "'''\"\"----")
_WORD = re.compile(r"[^\W_]+(?:['.][^\W_]+)*")
_ACCENTS = re.compile("[\u0300-\u036f]")


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
_UNCHANGED = word_set("sheep fish deer cattle people police aircraft glasses")
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "shelves": "shelf", "loaves": "loaf", "halves": "half", "calves": "calf",
    "scarves": "scarf", "wives": "wife", "oxen": "ox", "snowmen": "snowman", "firemen": "fireman",
    "policemen": "policeman", "shoes": "shoe", "canoes": "canoe", "toes": "toe", "buses": "bus",
    "grey": "gray", "glasses": "glasses",
}  # fmt: skip
# Names that say nothing of what a thing is.
_NEUTRAL = word_set(
    "object objects item items target region regions thing things box boxes bbox bboxes entity "
    "instance instances id label expression expressions detection detections phrase result "
    "results answer output response data content prediction predictions annotation annotations "
    "query obj groundings grounding image final_answer final referring text bounding area "
    "rectangle rect polygon xyxy xywh pixel pixels absolute relative normalized 2d bbox_2d box_2d"
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


class AskedPhrase:
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
        # Not strict: a phrase of signs alone, as an emoji, has no word.
        for word, follower in zip(self.bare, (*self.bare[1:], "of"), strict=False):
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
    if len(label) > LONGEST:
        return False
    words = [word for word in _WORD.findall(folded(label)) if not word.isdecimal()]
    return all(re.sub(r"\d+$", "", word) in _NEUTRAL for word in words)
