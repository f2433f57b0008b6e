# SPDX-License-Identifier: Apache-2.0
"""The English that the checks know: unbounded things, counts, and sentences.

Short lists instead of a parser; where in doubt the rules raise no flag.
"""

import re

from rapidfuzz import fuzz

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PREPOSITIONS = _set(
    "about above across after against along alongside amid among around as at atop before behind "
    "below beneath beside besides between beyond by down during except for from in inside into "
    "like near of off on onto opposite out outside over past per round since than through "
    "throughout to toward towards under underneath until up upon versus via with within without"
)  # fmt: skip
# Things that reach from border to border, and scenes that fill the picture.
_STUFF = _set(
    "sky skies cloud clouds sea ocean lake river water waves wave beach shore coast sand snow ice "
    "grass lawn field fields meadow pasture park yard garden forest woods trees jungle bush bushes "
    "ground dirt mud soil earth land landscape desert hill hills hillside slope mountain mountains "
    "valley cliff road street highway path track tracks sidewalk pavement pier dock bridge "
    "floor wall walls ceiling room kitchen bathroom bedroom hallway office restaurant stadium "
    "court arena "
    "stage runway table desk counter countertop tabletop tablecloth carpet rug fence hedge curtain "
    "curtains window bed background foreground scene view city skyline town building buildings "
    "horizon night air crowd audience surface tile tiles"
)
_GROUPS = (
    "pair couple group row bunch pile crowd herd flock set number few lot dozen stack series "
    "collection variety team family line cluster array audience band fleet pack swarm class choir "
    "orchestra squad crew staff litter school colony assortment range string chain column queue "
    "bundle heap mound batch bouquet gang troop army trio duo parade procession party selection "
    "mix mixture congregation pride platoon display host throng mob gathering circle half quarter"
)
_MANY = {"many", "several", "various", "numerous", "multiple", "some", "all", "police", "cattle"}
_OF_MANY = re.compile(r"an? (?:[\w'-]+ ){1,2}of (?:[\w'-]+ ){0,2}[\w'-]+s\b", re.IGNORECASE)
_IRREGULAR = _set(
    "people persons men women children sheep fish deer geese feet teeth mice police cattle "
    "aircraft moose species firemen policemen businessmen fishermen snowmen oxen bison"
)
NUMBERS = {
    "both": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50,
}  # fmt: skip
_COUNT = re.compile(
    rf"(?:the |these |those |all )?({'|'.join(NUMBERS)}|[2-9]|[1-4]\d|50)(?![\w.:,/%°-])"
    r"(?: of)?(?: the| these| those)? (.+)",
    re.IGNORECASE,
)
_SINGULAR = re.compile(r"(?:an?|one|this|that|another)\s", re.IGNORECASE)

_RELATIVE = re.compile(r"\b(?:who|whom|whose|which|that|where|when|while|what)\b", re.IGNORECASE)
_COPULA = re.compile(r"(?<!\w)(?:is|are|was|were)\s", re.IGNORECASE)
_ARTICLES = {"a", "an", "the", "his", "her", "its", "their", "my", "our", "your"}
# What may stand before an article in a noun phrase, besides prepositions and participles.
_BEFORE_ARTICLE = _set(
    "and or but nor both all half such quite just not only almost nearly exactly what plus minus "
    "twice worth even with amidst & x vs de la le"
)
_VERBS = _set(
    "run walk sit stand lie play ride fly swim jump eat drink look sleep rest graze wait talk cook "
    "climb surf ski skate dance sing read drive hang lean smile laugh watch gather pose work race "
    "kick throw catch chase cross perch float roll fight wear carry pull push hold bark sail drink "
    "feed travel go come take "
    "approach wander hover emerge stare peek kneel crouch relax enjoy share sniff lick wag"
)
_COMPOUNDS = {"sports", "clothes", "arms", "goods", "news", "glasses"}  # "a sports watch"
_SUBJECTS = {"i", "he", "she", "it", "we", "they"}
_MEASURES = {"size", "height", "length", "width", "shape", "color", "colour", "age"}
_SINGULAR_START = {"a", "an", "the", "one", "this", "that", "another", "each", "every"}


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


def head_of(text: str) -> str:
    """The last word before the first preposition or participle, mostly the noun."""
    head = ""
    for word in words_of(text):
        if head and (word in _PREPOSITIONS or word == "and" or _is_participle(word)):
            break
        head = word
    return head


def is_stuff(text: str) -> bool:
    """Whether a phrase names something that naturally touches borders or fills the picture."""
    return head_of(text) in _STUFF


def is_group(text: str) -> bool:
    """Whether a phrase names a group of things that may share a box."""
    words = set(words_of(text))
    return bool(words & (_GROUP_WORDS | _MANY)) or _OF_MANY.match(text) is not None


def count_of(text: str) -> int | None:
    """The number of things that a phrase names: 1 for a singular, None where it gives none.

    A number before a singular is no count: "four wheel drive".
    """
    if _RELATIVE.search(text) or " and " in text.casefold():
        text = re.split(r"\s(?:who|whom|whose|which|that|where)\s", text)[0]
        if " and " in text.casefold():
            return None
    if counted := _COUNT.match(text):
        noun, number = head_of(counted[2]), counted[1].casefold()
        plural = noun in _IRREGULAR or (noun.endswith("s") and not noun.endswith(("ss", "us")))
        return (NUMBERS.get(number) or int(number)) if plural else None
    return 1 if _SINGULAR.match(text) else None


def is_sentence(text: str) -> bool:
    """Whether a text has a finite verb of its own, and so is a clause and no noun phrase."""
    if _RELATIVE.search(text):
        return False
    words = words_of(text)
    if _COPULA.search(text) or (len(words) > 1 and words[0] in _SUBJECTS):
        return True
    return any(_is_verb(words, place) for place in range(1, len(words)))


def _is_verb(words: list[str], place: int) -> bool:
    before, word = words[place - 1], words[place]
    after = words[place + 1] if place + 1 < len(words) else None
    may_follow = after is None or after in _PREPOSITIONS or after in _ARTICLES
    measured = words[place + 2 : place + 3] and words[place + 2] in _MEASURES
    if place > 1 and after in _ARTICLES and not measured and not (
        word in _PREPOSITIONS | _BEFORE_ARTICLE or _is_participle(word) or word.endswith("ly")
    ):  # fmt: skip
        return True  # "a man rides a horse": no noun stands right before an article
    if place > 1 and word.endswith("s") and _base(word) in _VERBS and may_follow:
        return words[0] in _SINGULAR_START and "of" not in words[:place] and before[-1] != "s"
    plural = before in _IRREGULAR or (before.endswith("s") and "'" not in before)
    return word in _VERBS and plural and before not in _COMPOUNDS and may_follow


def _is_participle(word: str) -> bool:
    return (len(word) > 4 and word.endswith(("ing", "ed"))) or word in ("made", "worn", "seen")


def _base(word: str) -> str:
    stem = word[:-1]
    if word.endswith("ies"):
        stem = word[:-3] + "y" if word != "lies" else "lie"
    elif word.endswith(("ches", "shes", "sses", "oes")):
        stem = word[:-2]
    return stem


# Words that cleaning may add without claiming anything.
_GLUE = _set(
    "the and with has have are was were its their his her one two there this that which who for "
    "from into onto near next some other another wearing holding containing featuring "
    "showing"
)  # fmt: skip


def new_words(before: str, after: str) -> list[str]:
    """Content words that only the second text has; inflections of known words are not new."""
    known = set(words_of(before))
    return [
        word
        for word in dict.fromkeys(words_of(after))
        if word not in known
        and len(word) > 2
        and word.isascii()
        and word.isalpha()
        and word not in _GLUE
        and word not in NUMBERS
        and word not in _PREPOSITIONS
        and not any(_alike(word, other) for other in known)
    ]


def _alike(first: str, second: str) -> bool:
    short, long = sorted((first, second), key=len)
    if len(short) < 3:
        return False
    inflected = long.startswith(short) or (len(short) > 4 and short[:4] == long[:4])
    irregular = {first, second} in ({"man", "men"}, {"woman", "women"}, {"person", "people"})
    typo = len(short) > 4 and first[0] == second[0] and fuzz.ratio(first, second) >= 80
    return (
        inflected or irregular or typo or (second in first.split("-") or first in second.split("-"))
    )


_GROUP_WORDS = {form for word in _GROUPS.split() for form in (word, f"{word}s", f"{word}es")}
_GROUP_WORDS |= {"families", "armies", "parties", "varieties"}
