# SPDX-License-Identifier: Apache-2.0
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from image_grounding.spans import find_spans

ASTRONAUT = "\U0001f469\u200d\U0001f680"
WOMAN = "\U0001f469"


def found(text: str, *phrases: str, hints=None) -> list[str | None]:
    spans = find_spans(text, phrases, hints)
    return [text[span[0] : span[1]] if span else None for span in spans]


# Text, phrase, and the span; what has to be found is cut out by hand, not computed.
HELD = {
    "as it is": ("a man and a dog", "a dog", (10, 15)),
    "whole text": ("a dog", "a dog", (0, 5)),
    "case": ("A Red CAR stops", "a red car", (0, 9)),
    "upper-case phrase": ("a red car", "A RED CAR", (0, 9)),
    "curly apostrophe in the text": ("the dog\u2019s bone", "the dog's bone", (0, 14)),
    "curly quotes in the phrase": ('a "stop" sign', "a \u201cstop\u201d sign", (0, 13)),
    "German quotes": ("ein \u201eHalt\u201c-Schild", '"Halt"', (4, 10)),
    "dashes": ("a black\u2013white cat", "black-white cat", (2, 17)),
    "non-breaking hyphen": ("a t\u2011shirt", "t-shirt", (2, 9)),
    "more space in the text": ("a  red \n car", "a red car", (0, 12)),
    "more space in the phrase": ("a red car", " a  red\tcar ", (0, 9)),
    "no-break space": ("a red\u00a0car", "red car", (2, 9)),
    "composed text": ("un caf\u00e9 noir", "cafe\u0301", (3, 7)),
    "decomposed text": ("un cafe\u0301 noir", "caf\u00e9", (3, 8)),
    "accent left out": ("un caf\u00e9 noir", "cafe", (3, 7)),
    "accent left out, decomposed": ("un cafe\u0301 noir", "cafe", (3, 8)),
    "sharp s": ("die Stra\u00dfe dort", "strasse", (4, 10)),
    "sharp s in the phrase": ("die STRASSE dort", "Stra\u00dfe", (4, 11)),
    "ligature": ("the \ufb01rst dog", "first dog", (4, 12)),
    "full width": ("a \uff32\uff25\uff24 car", "red car", (2, 9)),
    "soft hyphen": ("a base\u00adball bat", "baseball bat", (2, 15)),
    "dotted capital i": ("in \u0130stanbul", "\u0130stanbul", (3, 11)),
    "lone accent": ("a \u00a8 sign", "\u00a8", (2, 3)),
    "Chinese": ("一只红色的狗坐在草地上", "红色的狗", (2, 6)),
    "Chinese with quotes": ("一块写着\u201c停\u201d的牌子", '"停"的牌子', (4, 10)),
    "Chinese with braces": ("标志{禁止}在墙上", "{禁止}", (2, 6)),
    "Thai": ("สุนัขสีน้ำตาลบนหญ้า", "หญ้า", (15, 19)),
    "Japanese": ("赤い車と犬がいる", "犬", (4, 5)),
    "Chinese in English": ("a sign saying 停 now", "停", (14, 15)),
    "Hindi": ("मेज पर किताब है", "किताब", (7, 12)),
    "emoji": (f"a {ASTRONAUT} waves", ASTRONAUT, (2, 5)),
    "emoji is a whole one": (f"{ASTRONAUT} and {WOMAN}", WOMAN, (8, 9)),
    "after astral characters": ("\U0001f600\U0001f600 a dog", "a dog", (3, 8)),
    "plural in the text": ("two brown dogs run", "brown dog", (4, 14)),
    "plural in the phrase": ("one brown dog runs", "brown dogs", (4, 13)),
    "short plural": ("two dogs run", "dog", (4, 8)),
    "British spelling": ("of many colours", "many colors", (3, 15)),
    "apostrophe left out": ("the dogs bone", "the dog's bone", (0, 13)),
    "sentence end": ("a dog runs", "a dog.", (0, 5)),
    "text's own punctuation": ("a cat, a dog.", "a dog", (7, 12)),
    "phrase is a part of a hyphenated word": ("a T-shirt", "shirt", (4, 9)),
    "regular expression characters": ("a (red) [car]* here", "(red) [car]*", (2, 14)),
}


@pytest.mark.parametrize(("text", "phrase", "span"), HELD.values(), ids=HELD)
def test_phrase_is_found(text, phrase, span):
    assert find_spans(text, [phrase]) == [span]


NOT_HELD = {
    "inside a longer word": ("a catalogue", "cat"),
    "end of a longer word": ("a bobcat", "cat"),
    "another word of the same length": ("a red cat", "a red car"),
    "a letter more is another word": ("a man in a coat", "a cat"),
    "another number": ("12 dogs", "2 dogs"),
    "half of a ligature": ("the \ufb01rst", "f"),
    "half of a decomposed letter in Thai": ("เสื้อ", "เส"),
    "start of a Hindi word": ("मेज पर किताब है", "कि"),
    "half of an emoji": (f"a {ASTRONAUT} waves", WOMAN),
    "words in another order": ("a red big car", "a big red car"),
    "a word too many": ("man in a hat", "the man in a hat"),
    "nothing like it": ("a dog on a lawn", "three purple elephants"),
    "empty phrase": ("a dog", ""),
    "blank phrase": ("a dog", " \t\n"),
    "empty text": ("", "a dog"),
    "both empty": ("", ""),
    "longer than the text": ("a dog", "a dog that runs over a wide green lawn"),
    "punctuation alone": ("a dog", "..."),
    "Chinese, not there": ("一只狗", "猫"),
}


@pytest.mark.parametrize(("text", "phrase"), NOT_HELD.values(), ids=NOT_HELD)
def test_phrase_is_not_found(text, phrase):
    assert find_spans(text, [phrase]) == [None]


TWO = "A man sees the man."


@pytest.mark.parametrize(
    ("text", "phrases", "hints", "spans"),
    [
        (TWO, ["man", "man"], None, [(2, 5), (15, 18)]),
        (TWO, ["man", "MAN", "man"], None, [(2, 5), (15, 18), (15, 18)]),
        (TWO, ["the man", "man"], None, [(11, 18), (2, 5)]),
        (TWO, ["man"], [(15, 18)], [(15, 18)]),
        (TWO, ["man"], [(14, 17)], [(15, 18)]),
        (TWO, ["man", "man"], [(15, 18), (15, 18)], [(15, 18), (2, 5)]),
        (TWO, ["man", "man"], [None, (0, 3)], [(2, 5), (15, 18)]),
        (TWO, ["man"], [(-9, 10**12)], [(2, 5)]),
        (TWO, ["cow"], [(2, 5)], [None]),
        (TWO, ["man", "cow", "man"], None, [(2, 5), None, (15, 18)]),
        (TWO, [], None, []),
        (TWO, [], [], []),
    ],
)
def test_occurrences_and_hints(text, phrases, hints, spans):
    assert find_spans(text, phrases, hints) == spans


def test_many_phrases_of_a_long_text():
    words = [f"thing{index}" for index in range(2000)]
    assert found(" ".join(words), *words) == words


def letters_of(text: str) -> str:
    """What is left of a text when case, spacing, quotes and accents are taken off."""
    return "".join(
        char
        for char in unicodedata.normalize("NFKD", text).casefold()
        if unicodedata.category(char)[0] in "LN"
    )


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "aAéßİﬁ'\u2019\u0301\u200d\xad \n犬ก\u0e49.-", max_size=40
)


@settings(max_examples=120)
@given(text=ANY_TEXT, data=st.data())
def test_any_substring_at_word_boundaries_is_found(text, data):
    words = text.split()
    if not words:
        assert find_spans(text, [text]) == [None]
        return
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    phrase = " ".join(words[first : last + 1])
    assume(phrase.strip("\xad") == phrase)  # it folds to nothing, so that no word ends there
    (span,) = find_spans(text, [phrase])
    if letters_of(phrase):
        assert span is not None
    if span is not None:
        assert letters_of(text[span[0] : span[1]]) == letters_of(phrase)


@settings(max_examples=120)
@given(
    text=ANY_TEXT,
    phrases=st.lists(ANY_TEXT, max_size=4),
    hint=st.none() | st.tuples(st.integers(), st.integers()),
)
def test_spans_lie_in_the_text(text, phrases, hint):
    spans = find_spans(text, phrases, [hint] * len(phrases))
    assert len(spans) == len(phrases)
    for span in spans:
        if span is not None:
            assert 0 <= span[0] < span[1] <= len(text)
            assert text[span[0] : span[1]].strip()
