# SPDX-License-Identifier: Apache-2.0
"""The 80 COCO nouns, their synonyms, and where a caption mentions them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from image_grounding.resources import asset_path

_WORDS: dict[str, Any] = yaml.safe_load(asset_path("vocabulary.yaml").read_text(encoding="utf-8"))
COCO_CLASSES = tuple(_WORDS["classes"])
_DETERMINERS = frozenset(_WORDS["determiners"].split())
_STOPS = frozenset(_WORDS["stops"].split())
_HEADS = frozenset(_WORDS["heads"].split())
# A colour far more often than a thing; it names one only between a determiner and a boundary.
_COLOUR_NOUNS = frozenset({"orange"})
_MAX_MODIFIERS = 4
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_LEAD_IN = re.compile(
    r"^\s*(?:(?:in|on)\s+(?:this|the)\s+(?:image|picture|photo|photograph)\s*,?\s*)?"
    r"(?:(?:here\s+)?(?:we|you|i|one)\s+can\s+(?:clearly\s+)?see\s+(?:that\s+)?"
    r"|there\s+(?:is|are)\s+(?=(?:an?|the|one|two|three|four|five|some|several|many)\b)"
    r"|(?:this|the)\s+(?:image|picture|photo|photograph)\s+(?:shows|depicts|features|contains|is\s+of)\s+"
    r"|(?:an?|the)\s+(?:image|picture|photo|photograph|close-?up)\s+of\s+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Mention:
    """A noun phrase in a text, its span, and the COCO class that its noun names."""

    start: int
    end: int
    noun: str
    coco_class: str


def clean_caption(caption: str) -> str:
    """``caption`` without a lead-in such as "we can see"; upper case kept at the start."""
    text = caption.strip()
    match = _LEAD_IN.match(text)
    rest = text[match.end() :] if match else text
    return rest[:1].upper() + rest[1:] if rest and rest != text else text


def find_mentions(text: str) -> Iterator[Mention]:
    """Mentions of COCO things in ``text``, with the modifiers before them, left to right."""
    words = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(text)]
    index = 0
    while index < len(words):
        length = next(
            (n for n in (3, 2, 1) if _phrase(text, words, index, n) in _NOUNS),
            0,
        )
        if not length or not _is_noun(text, words, index, length):
            index += 1
            continue
        noun = _phrase(text, words, index, length)
        assert noun is not None
        first = _phrase_start(text, words, index)
        last = words[index + length - 1][2]
        yield Mention(words[first][1], last, text[words[index][1] : last], _NOUNS[noun])
        index += length


Words = list[tuple[str, int, int]]


def _phrase(text: str, words: Words, index: int, length: int) -> str | None:
    run = words[index : index + length]
    if len(run) < length or not _adjacent(text, run):
        return None
    return " ".join(word for word, _, _ in run)


def _adjacent(text: str, run: Words) -> bool:
    gaps = (text[left[2] : right[1]] for left, right in pairwise(run))
    return all(gap.isspace() for gap in gaps)


def _is_noun(text: str, words: Words, index: int, length: int) -> bool:
    """Whether the words name the thing and do not modify the next noun ("a car park")."""
    following = words[index + length : index + length + 1]
    joined = bool(following) and _adjacent(text, words[index + length - 1 : index + length + 1])
    word = words[index][0]
    if length == 1 and word in _COLOUR_NOUNS:
        before = words[index - 1][0] if index else ""
        return before in _DETERMINERS and not (joined and following[0][0] not in _STOPS)
    return not (joined and following[0][0] in _HEADS)


def _phrase_start(text: str, words: Words, index: int) -> int:
    first = index
    for candidate in range(index - 1, max(index - 2 - _MAX_MODIFIERS, -1), -1):
        word = words[candidate][0]
        if word in _STOPS or not _adjacent(text, words[candidate : candidate + 2]):
            break
        first = candidate
        if word in _DETERMINERS:
            return first
    # Without a determiner the words before a noun may as well be a verb.
    return first if words[first][0] in _DETERMINERS else index


def _plurals(noun: str) -> Iterator[str]:
    yield noun
    if noun.endswith(("s", "x", "ch", "sh")):
        yield f"{noun}es"
    elif noun.endswith("fe"):
        yield f"{noun[:-2]}ves"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        yield f"{noun[:-1]}ies"
    else:
        yield f"{noun}s"


def _nouns() -> dict[str, str]:
    table: dict[str, str] = {}
    for name, synonyms in _WORDS["classes"].items():
        for noun in (name, *synonyms):
            for form in _plurals(noun):
                table.setdefault(form, name)
    return table


_NOUNS = _nouns()
