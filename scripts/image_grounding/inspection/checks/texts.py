# SPDX-License-Identifier: Apache-2.0
"""Checks of expressions and captions; the ones that read words know English only."""

import re
from collections.abc import Iterator

from rapidfuzz import fuzz

from image_grounding.inspection.checks.registry import RECORD, Hit, Subject
from image_grounding.inspection.checks.words import count_of, is_group, is_sentence, new_words

_PRONOUN = re.compile(
    r"i|me|you|s?he|him|hers?|it|we|us|they|them|this|that|these|those|ones?|each|both"
    r"|all|some|many|others|(?:every|some)(?:one|thing)|which|who|what|there"
    r"|(?:him|her|it)self|themselves|his|its|theirs|mine|yours|ours",
    re.IGNORECASE,
)
_STOP = re.compile(
    "\\w{3}[.!?]$|[\u3002\uff01\uff1f]$"
)  # not the one of "St."; full-width ones too
_ABBREVIATION = re.compile(r"\b(?:Ave|Blvd|Inc|Ltd|Bros|Corp|Dept|Hwy|etc)\.$", re.IGNORECASE)
_MANY_WORDS = 20
_PICTURE = r"(?:image|picture|photo|photograph|snapshot|screenshot|frame|shot|scene)"
_LEAD_IN = re.compile(
    r"(?:here,? )?(?:we|you|one) (?:can )?(?:also )?see\b"
    r"|(?:there|here|this|it|that) (?:is|are|was|were)\b"
    rf"|in (?:this|the) {_PICTURE}\b"
    r"|(?:pictured|shown|seen|depicted|featured|captured)(?: here| above| below)?(?:,| is| are)\b"
    rf"|(?:this|the|an?) (?:[\w-]+ ){{0,3}}{_PICTURE} (?:shows|showing|depicts|depicting|of"
    r"|features|captures|contains|has|is)\b",
    re.IGNORECASE,
)
# Least similarity (0..100) of a cleaned caption to the original or to a part of it. The cost of
# comparing is the product of the lengths, so only so many characters are compared.
_LIKE = 60
_LOOKED_AT = 2000
_ABOUT = 10  # larger numbers may be off by the following share
_NEARLY = 0.25


@RECORD.add(
    "The caption gave no expression.",
    "Fine for a caption that names no thing. If there are many: a stronger model for step 0, or "
    "captions that describe.",
    weight=2,
)
def no_expressions(subject: Subject) -> Iterator[Hit]:
    """Records without an expression."""
    if not subject.record.expressions:
        yield Hit()


@RECORD.add(
    "The expression does not stand in the cleaned caption, so that it has no span.",
    "Formats that need spans leave it out. If there are many, the model rewords: a stronger "
    "model for step 0, or a lower temperature.",
)
def span_null(subject: Subject) -> Iterator[Hit]:
    """Expressions without a span."""
    for number, expression in enumerate(subject.record.expressions):
        if expression.char_span is None:
            yield Hit(_quoted(expression.text), number)


@RECORD.add(
    "The expression is no noun phrase: a pronoun alone, a whole sentence, or no word at all.",
    "It teaches nothing, or too much at once. If there are many: a stronger model for step 0.",
    weight=2,
)
def not_a_noun_phrase(subject: Subject) -> Iterator[Hit]:
    """Expressions that cannot name one kind of thing."""
    for number, expression in enumerate(subject.record.expressions):
        text = expression.text.strip()
        words = text.split()
        if not any(char.isalpha() for char in text):
            what = "no word"
        elif _PRONOUN.fullmatch(text.strip(".,")):
            what = "a pronoun"
        elif is_sentence(text) or (_STOP.search(text) and not _ABBREVIATION.search(text)):
            what = "a sentence"
        elif len(words) > _MANY_WORDS:
            what = f"{len(words)} words"
        else:
            continue
        yield Hit(f"{what}: {_quoted(text)}", number)


@RECORD.add(
    "Number word and number of boxes disagree.",
    "Look which is wrong. Too few boxes: a stronger model or a higher resolution; one box around "
    "several things: the same. Too many for a singular: the expression is ambiguous.",
    weight=2,
    after_grounding=True,
)
def number_mismatch(subject: Subject) -> Iterator[Hit]:
    """Counted expressions with another number of boxes, singular expressions with several."""
    for number, expression in enumerate(subject.record.expressions):
        text, boxes = expression.text.strip(), len(expression.instances)
        count = count_of(text)
        if not boxes or count is None or is_group(text):
            continue
        tolerated = _NEARLY * count if count > _ABOUT else 0
        wrong = abs(boxes - count) > tolerated
        if wrong:
            counted = f"{boxes} box" + ("es" if boxes > 1 else "")
            yield Hit(f"{_quoted(text)}, {counted}", number, tuple(range(boxes)))


@RECORD.add(
    "Cleaning left the caption's lead-in where it was.",
    'Phrases such as "We can see" name nothing. If there are many: a stronger model for step 0.',
)
def lead_in_left(subject: Subject) -> Iterator[Hit]:
    """Cleaned captions that still start with a lead-in."""
    if lead_in := _LEAD_IN.match(subject.record.cleaned_caption.lstrip()):
        yield Hit(_quoted(lead_in[0]))


@RECORD.add(
    "Cleaning wrote the caption anew, or put something into it.",
    "The cleaned caption may claim what the original did not. If there are many: a stronger model "
    "for step 0, or a lower temperature.",
    weight=2,
)
def caption_rewritten(subject: Subject) -> Iterator[Hit]:
    """Cleaned captions that do not merely shorten the original or that add to it."""
    before = subject.record.caption[:_LOOKED_AT].casefold()
    after = subject.record.cleaned_caption[:_LOOKED_AT].casefold()
    if before == after:
        return
    alike = max(fuzz.partial_ratio(after, before), fuzz.token_set_ratio(after, before))
    if alike < _LIKE:
        yield Hit(f"{alike:.0f} % alike")
    elif new := new_words(before, after):
        yield Hit(f"new: {', '.join(new[:3])}")


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= 60 else f'"{text[:59]}…"'
