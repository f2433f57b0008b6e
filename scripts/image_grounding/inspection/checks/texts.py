# SPDX-License-Identifier: Apache-2.0
"""Checks of expressions and captions. Those that read words know English only."""

from collections.abc import Iterator

from rapidfuzz import fuzz

from image_grounding.inspection.checks.registry import RECORD, Found, Subject
from image_grounding.inspection.checks.words import (
    count_of,
    is_pronoun,
    is_sentence,
    lead_in,
    words_of,
)

_MANY_WORDS = 20
# Least likeness (0..100) of a cleaned caption to the original one or to a part of it; comparing
# takes the product of their lengths, so that only this many characters are looked at.
_LIKE = 60
_LOOKED_AT = 2000
# A word that cleaning added is none if it is so like one that was there (a misspelling mended).
_SAME_WORD = 70


@RECORD.add(
    "The caption gave no expression.",
    "Fine for a caption that names no thing. If there are many: a stronger model for step 0, or "
    "captions that describe.",
    weight=2,
)
def no_expressions(subject: Subject) -> Iterator[Found]:
    """Records without an expression."""
    if not subject.record.expressions:
        yield Found()


@RECORD.add(
    "The expression does not stand in the cleaned caption, so that it has no span.",
    "Formats that need spans leave it out. If there are many, the model rewords: a stronger "
    "model for step 0, or a lower temperature.",
)
def span_null(subject: Subject) -> Iterator[Found]:
    """Expressions without a span."""
    for number, expression in enumerate(subject.record.expressions):
        if expression.char_span is None:
            yield Found(_quoted(expression.text), number)


@RECORD.add(
    "The expression is no noun phrase: a pronoun alone, a whole sentence, or no word at all.",
    "It teaches nothing, or too much at once. If there are many: a stronger model for step 0.",
    weight=2,
)
def not_a_noun_phrase(subject: Subject) -> Iterator[Found]:
    """Expressions that cannot name one kind of thing."""
    for number, expression in enumerate(subject.record.expressions):
        text = expression.text.strip()
        words = text.split()
        if not any(char.isalpha() for char in text):
            what = "no word"
        elif is_pronoun(text):
            what = "a pronoun"
        elif is_sentence(text):
            what = "a sentence"
        elif len(words) > _MANY_WORDS:
            what = f"{len(words)} words"
        else:
            continue
        yield Found(f"{what}: {_quoted(text)}", number)


@RECORD.add(
    "Number word and number of boxes disagree.",
    "Look which is wrong. Too few boxes: a stronger model or a higher resolution; one box around "
    "several things: the same. Too many for a singular: the expression is ambiguous.",
    weight=2,
    after_grounding=True,
)
def number_mismatch(subject: Subject) -> Iterator[Found]:
    """Counted expressions with another number of boxes, singular ones with several."""
    for number, expression in enumerate(subject.record.expressions):
        text, boxes = expression.text.strip(), len(expression.instances)
        wanted = count_of(text)
        if boxes and wanted and not wanted[0] <= boxes <= wanted[1]:
            found = f"{boxes} box" + ("es" if boxes > 1 else "")
            yield Found(f"{_quoted(text)}, {found}", number, tuple(range(boxes)))


@RECORD.add(
    "Cleaning left the caption's lead-in where it was.",
    'Phrases such as "We can see" name nothing. If there are many: a stronger model for step 0.',
)
def lead_in_left(subject: Subject) -> Iterator[Found]:
    """Cleaned captions that start like the ones that cleaning is for."""
    if words := lead_in(subject.record.cleaned_caption):
        yield Found(_quoted(words))


@RECORD.add(
    "Cleaning wrote the caption anew, or put in words that were not there.",
    "The cleaned caption may claim what the original did not. If there are many: a stronger model "
    "for step 0, or a lower temperature.",
    weight=2,
)
def caption_rewritten(subject: Subject) -> Iterator[Found]:
    """Cleaned captions that are no shortened form of the original one."""
    before = subject.record.caption[:_LOOKED_AT].casefold()
    after = subject.record.cleaned_caption[:_LOOKED_AT].casefold()
    if before == after:
        return
    alike = max(fuzz.partial_ratio(after, before), fuzz.token_set_ratio(after, before))
    if alike < _LIKE:
        yield Found(f"{alike:.0f} % alike")
        return
    known = words_of(before)
    new = [
        word
        for word in sorted(words_of(after) - known)
        if all(fuzz.ratio(word, other) < _SAME_WORD for other in known)
    ]
    if new and known:
        yield Found(f"new: {', '.join(new[:5])}")


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= 60 else f'"{text[:59]}…"'
