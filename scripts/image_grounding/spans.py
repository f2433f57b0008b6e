# SPDX-License-Identifier: Apache-2.0
"""Where a phrase stands in a text: exact character spans, computed, never asked for.

Spans are ``(start, end)`` in code points, end exclusive, so that ``text[start:end]`` is the
phrase as the text has it. A phrase that differs in case, spacing, quotes, accents' encoding or
by a letter in a word is found too; one that is not there is not given a span.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

Span = tuple[int, int]

# Least similarity (0..100) at which a place in the text is looked at word by word.
_FUZZY_CUTOFF = 70.0
# What words may differ in: accents of Latin, Greek and Cyrillic letters, punctuation.
_TRIFLES = re.compile("[\u0300-\u036f'\".,-]")
# What does not belong to a phrase at its ends.
_EDGES = " \t\r\n,.;:!?"
# Typographic quotes, dashes and slashes fold to the plain ones, a soft hyphen to nothing.
_SAME = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\xab\xbb\u2010\u2013\u2014\u2212\u2044",
    '\'\'\'"""""----/',
    "\xad",
)
_JOINER = "\u200d"  # makes one emoji, or one letter, of two


@dataclass(frozen=True)
class _Folded:
    """A text folded for comparison; ``origin[i]`` is where folded character i came from."""

    text: str
    origin: tuple[int, ...]


def _fold(text: str) -> _Folded:
    chars: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        folded = _fold_one(char)
        if char.isspace():
            folded = "" if chars and chars[-1] == " " else " "
        elif " " in folded:  # a lone accent decomposes to a space and a mark
            folded = char
        chars.extend(folded)
        origin.extend([index] * len(folded))
    return _Folded("".join(chars), tuple(origin))


@lru_cache(maxsize=4096)
def _fold_one(char: str) -> str:
    return unicodedata.normalize("NFKD", char).translate(_SAME).casefold()


def find_spans(
    text: str, phrases: Sequence[str], hints: Sequence[Span | None] | None = None
) -> list[Span | None]:
    """A span for each phrase, or None where the text does not hold it.

    Equal phrases take one occurrence each, from left to right; where there are more of them
    than occurrences, the rest get the last one again. A hint (a span that a model claimed)
    only chooses between occurrences.
    """
    folded = _fold(text)
    taken: set[Span] = set()
    spans: list[Span | None] = []
    for index, phrase in enumerate(phrases):
        hint = hints[index] if hints else None
        span = _choose(list(_exact(text, folded, phrase)), taken, hint)
        if span is None:
            span = _fuzzy(text, folded, phrase)
        if span is not None:
            taken.add(span)
        spans.append(span)
    return spans


def _choose(found: list[Span], taken: set[Span], hint: Span | None) -> Span | None:
    if not found:
        return None
    free = [span for span in found if span not in taken] or found[-1:]
    return min(free, key=lambda span: abs(span[0] - hint[0])) if hint else free[0]


def _exact(text: str, folded: _Folded, phrase: str) -> Iterator[Span]:
    wanted = _fold(phrase.strip()).text.strip()
    start = folded.text.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        span = (folded.origin[start], folded.origin[end - 1] + 1)
        # Half of a character that folds to several ("ﬁ" to "fi") is no place to cut.
        whole_start = start == 0 or folded.origin[start - 1] != span[0]
        whole_end = end == len(folded.text) or folded.origin[end] != span[1] - 1
        if whole_start and whole_end and not _joined(text, *span):
            yield span
        start = folded.text.find(wanted, start + 1)


def _joined(text: str, start: int, end: int) -> bool:
    """Whether cutting ``text[start:end]`` out would cut through a word."""
    return _inside_word(text, start) or _inside_word(text, end)


def _inside_word(text: str, index: int) -> bool:
    if not 0 < index < len(text):
        return False
    before, after = text[index - 1], text[index]
    if before.isspace() or after.isspace():
        return False
    if _is_mark(after) or _JOINER in (before, after):
        return True
    inside = (before.isalnum() or _is_mark(before)) and after.isalnum()
    return inside and not (_spaceless(before) or _spaceless(after))


def _is_mark(char: str) -> bool:
    """Whether ``char`` is an accent or vowel sign, which belongs to the letter before it."""
    return unicodedata.category(char)[0] == "M" and char not in "\ufe0e\ufe0f"


def _spaceless(char: str) -> bool:
    """Whether ``char`` is of a script that puts no spaces between words."""
    code = ord(char)
    return (
        0x0E00 <= code <= 0x0EFF  # Thai, Lao
        or 0x1000 <= code <= 0x109F  # Myanmar
        or 0x1780 <= code <= 0x17FF  # Khmer
        or 0x2E80 <= code <= 0x9FFF  # CJK, kana
        or 0xF900 <= code <= 0xFAFF
        or 0xFF66 <= code <= 0xFF9F
        or 0x20000 <= code <= 0x3FFFF
    )


def _fuzzy(text: str, folded: _Folded, phrase: str) -> Span | None:
    wanted = _fold(phrase.strip()).text.strip(_EDGES)
    if len(wanted) < 3 or len(wanted) > 1.3 * len(folded.text):
        return None
    match = fuzz.partial_ratio_alignment(wanted, folded.text, score_cutoff=_FUZZY_CUTOFF)
    if match is None or match.dest_end <= match.dest_start:
        return None
    start = folded.origin[match.dest_start]
    end = folded.origin[match.dest_end - 1] + 1
    best: tuple[float, Span] | None = None
    for span in _word_cuts(text, start, end):
        candidate = _fold(text[span[0] : span[1]]).text
        ratio = fuzz.ratio(wanted, candidate)
        if (best is None or ratio > best[0]) and _same_words(wanted, candidate):
            best = (ratio, span)
    return best[1] if best else None


def _same_words(first: str, second: str) -> bool:
    """Whether two phrases agree word by word, but for a letter too many or too few.

    "dog" and "dogs", "colour" and "color", "cafe" and "café" agree; "car" and "cat" do not, nor
    do "cat" and "coat": a short word is another one by any letter but a plural's.
    """
    firsts, seconds = first.split(), second.split()
    return len(firsts) == len(seconds) and all(map(_same_word, firsts, seconds))


def _same_word(first: str, second: str) -> bool:
    short, long = sorted((_TRIFLES.sub("", first), _TRIFLES.sub("", second)), key=len)
    if first == second or short == long != "" or (len(short) >= 3 and long == short + "s"):
        return True
    return len(short) >= 5 and Indel.distance(short, long, score_cutoff=1) <= 1


def _word_cuts(text: str, start: int, end: int) -> Iterator[Span]:
    """The spans near ``(start, end)`` that cut no word and have no space at their ends."""
    starts = {_move(text, start, -1), _move(text, start, +1)}
    ends = {_move(text, end, -1), _move(text, end, +1)}
    for first in starts:
        for last in ends:
            inner = text[first:last]
            stripped = inner.strip(_EDGES)
            if stripped:
                offset = first + inner.index(stripped)
                yield (offset, offset + len(stripped))


def _move(text: str, index: int, step: int) -> int:
    while _inside_word(text, index):
        index += step
    return index


def as_span(value: Any) -> tuple[int, int] | None:
    """``[start, end]`` as a span, or None for anything else."""
    match value:
        case [int(start), int(end)] if bool not in (type(start), type(end)) and 0 <= start < end:
            return (start, end)
    return None
