# SPDX-License-Identifier: Apache-2.0
"""Which caption of the truth a record is of, and which expression is which phrase."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.replies.phrases import normalized
from image_grounding.results.reading import GroundedExpression
from image_grounding.spans import Span

# Least overlap (intersection over union in characters) of two places in the same caption.
SPAN_OVERLAP = 0.5
# Least likeness (rapidfuzz.fuzz.ratio, 0..100) of two phrases, or of two captions, as texts.
TEXT_LIKENESS = 90.0

_PUNCTUATION = re.compile(r"[^\w\s]|_")
# What follows the head noun of an expression.
_AFTER_HEAD = re.compile(
    "about|above|across|against|along|among|around|at|behind|below|beneath|beside|between|by|for|"
    "from|has|holding|in|inside|into|is|near|next|of|off|on|onto|out|outside|over|riding|sitting|"
    "standing|that|to|towards?|under|up|wearing|which|whose?|with|without"
)
# "a pair of scissors" is of scissors, "a cup of tea" is of a cup.
_MEASURE = re.compile(
    "(bunch|couple|crowd|flock|group|herd|lot|number|pair|piece|pile|row|set|slice|stack)(es|s)?"
)
_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth",
}  # fmt: skip


@dataclass(frozen=True)
class Folded:
    """A caption as its letters and digits alone, so that tokenized text equals plain text.

    ``before[i]`` is how many of them come before character i of the caption.
    """

    text: str
    before: tuple[int, ...]

    @classmethod
    def of(cls, caption: str) -> "Folded":
        """Fold a caption."""
        kept: list[str] = []
        before = [0]
        for char in caption:
            if char.isalnum():
                kept.append(char.casefold())
            before.append(len(kept))
        return cls("".join(kept), tuple(before))

    def place(self, span: Span | None) -> Span | None:
        """A span of the caption as one of the folded text; None for none or an empty one."""
        if span is None or not 0 <= span[0] < span[1] < len(self.before):
            return None
        start, end = self.before[span[0]], self.before[span[1]]
        return (start, end) if start < end else None


def find_caption(
    annotations: Sequence[Annotation], cleaned_caption: str, caption: str
) -> tuple[Annotation, float] | None:
    """The annotation whose caption is a record's, and their likeness.

    Equal but for case, spaces and punctuation (a likeness of 100), else the most alike one from
    ``TEXT_LIKENESS`` on.
    """
    own = [Folded.of(text).text for text in (cleaned_caption, caption)]

    def likeness(annotation: Annotation) -> float:
        true = [Folded.of(text).text for text in annotation.captions]
        return max(fuzz.ratio(text, other) for text in own for other in true)

    best = max(annotations, key=likeness, default=None)
    if best is None or (alike := likeness(best)) < TEXT_LIKENESS:
        return None
    return best, alike


def match_phrases(
    annotation: Annotation, expressions: Sequence[GroundedExpression], cleaned_caption: str | None
) -> list[int | None]:
    """For each phrase of the truth the expression that is the same one, or None.

    Where both have a place in the same caption, only places count: they must overlap from
    ``SPAN_OVERLAP`` on. Elsewhere texts do, without case, leading article and punctuation:
    equal ones first, then from ``TEXT_LIKENESS`` on. One to one, the best pairs first; equal
    pairs in the order of the texts. Boxes are not looked at.
    """
    own_places, true_places = _places(annotation, expressions, cleaned_caption)
    texts = [_comparable(expression.text) for expression in expressions]
    pairs: list[tuple[float, int, int]] = []
    for index, phrase in enumerate(annotation.phrases):
        text = _comparable(phrase.text)
        for number, other in enumerate(texts):
            place, own = true_places[index], own_places[number]
            if place and own:
                overlap = _overlap(place, own)
                if overlap >= SPAN_OVERLAP:
                    pairs.append((1 + overlap, index, number))
            else:
                likeness = fuzz.ratio(text, other, score_cutoff=TEXT_LIKENESS)
                if likeness and text:
                    pairs.append((likeness / 100, index, number))
    return _one_to_one(pairs, len(annotation.phrases))


def match_categories(
    phrases: Sequence[Phrase], expressions: Sequence[GroundedExpression]
) -> list[list[int]]:
    """For each category the expressions that it names: many "the red car" are of "car".

    The category's words are the last ones up to the expression's head noun, so that "blue
    rectangle" names "A blue rectangle" whose noun is "rectangle"; the last one may be a plural.
    Where several categories do, the one of most words: "a teddy bear" is no bear. Synonyms
    ("man" for "person") are not known.
    """
    names = [_words(phrase.text) for phrase in phrases]
    found: list[list[int]] = [[] for _ in phrases]
    for number, expression in enumerate(expressions):
        heads = _heads(expression)
        fitting = [
            index
            for index, name in enumerate(names)
            if name and any(_ends_in(head, name) for head in heads)
        ]
        most = max((len(names[index]) for index in fitting), default=0)
        for index in fitting:
            if len(names[index]) == most:
                found[index].append(number)
    return found


def _heads(expression: GroundedExpression) -> list[list[str]]:
    """Words that end with the head noun: of the noun chunk, and of the text up to its end."""
    noun, text = _words(expression.noun_chunk), _words(expression.text)
    head = _head(noun)
    up_to_head = next(
        (
            text[: start + len(head)]
            for start in range(len(text))
            if head and text[start : start + len(head)] == head
        ),
        [],
    )
    return [head, up_to_head]


def _head(words: list[str]) -> list[str]:
    """``words`` without what follows the head noun, and without "a pair of" before it."""
    start = 0
    for index, word in enumerate(words):
        if word == "of" and _MEASURE.fullmatch(words[index - 1]):
            start = index + 1
        elif _AFTER_HEAD.fullmatch(word) and index > start:
            return words[start:index]
    return words[start:]


def _ends_in(words: list[str], name: list[str]) -> bool:
    *before, last = words[-len(name) :] or [""]
    return before == name[:-1] and _same_noun(last, name[-1])


def _same_noun(first: str, second: str) -> bool:
    short, long = sorted((_IRREGULAR.get(noun, noun) for noun in (first, second)), key=len)
    plurals = {short + "s", short + "es", re.sub("y$", "ies", short), re.sub("fe?$", "ves", short)}
    return short == long or (short != "" and long in plurals)


def _words(text: str) -> list[str]:
    return _comparable(text).split()


def _comparable(text: str) -> str:
    return normalized(" ".join(_PUNCTUATION.sub(" ", normalized(text)).split()))


def _places(
    annotation: Annotation, expressions: Sequence[GroundedExpression], cleaned_caption: str | None
) -> tuple[list[Span | None], list[Span | None]]:
    """Places of the expressions and of the phrases in the same folded caption, or all None."""
    if cleaned_caption is not None and annotation.captions:
        own, true = Folded.of(cleaned_caption), Folded.of(annotation.captions[0])
        if own.text == true.text:
            return (
                [own.place(expression.char_span) for expression in expressions],
                [true.place(phrase.span) for phrase in annotation.phrases],
            )
    return [None] * len(expressions), [None] * len(annotation.phrases)


def _overlap(first: Span, second: Span) -> float:
    shared = min(first[1], second[1]) - max(first[0], second[0])
    return max(shared, 0) / (max(first[1], second[1]) - min(first[0], second[0]))


def _one_to_one(pairs: list[tuple[float, int, int]], count: int) -> list[int | None]:
    found: list[int | None] = [None] * count
    used: set[int] = set()
    for _, index, number in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if found[index] is None and number not in used:
            found[index] = number
            used.add(number)
    return found
