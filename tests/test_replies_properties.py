# SPDX-License-Identifier: Apache-2.0
"""What holds for every text: readers do not raise, do not make up, and do not take long.

``faults/test_replies_at_length.py`` tries far more texts.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_grounding.replies import ReplyStatus, read_extraction, read_grounding
from image_grounding.replies.lenient import read_values

ASKED = ("a red car", "the dog", "two cats", "7")
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

# As by default, for which each character there is would be tried.
characters = st.characters(exclude_categories=["Cs"])
numbers = st.one_of(
    st.integers(-10, 1100), st.floats(-1, 1000, width=32), st.floats(allow_nan=True), st.none(),
    st.integers(0, 999).map(str),
)  # fmt: skip
boxes = st.lists(numbers, min_size=3, max_size=5)
labels = st.sampled_from([*ASKED, "Dog", "a zebra", "...", 'the "x" \' {y} [z]', "\u8d64\u3044"])
items = st.fixed_dictionaries(
    {"label": labels},
    optional={
        "id": st.one_of(st.integers(-1, 5), st.text(characters, max_size=2)),
        "bbox_2d": boxes,
        "box_2d": st.lists(boxes, max_size=2),
        "score": st.one_of(st.floats(0, 1), st.integers(0, 100), st.just("95%")),
    },
)
answers = st.one_of(
    st.lists(items, max_size=4).map(lambda found: {"instances": found}),
    st.lists(items, max_size=4),
    st.dictionaries(labels, st.one_of(boxes, st.lists(boxes, max_size=2)), max_size=4),
)
written = answers.flatmap(
    lambda answer: st.sampled_from([json.dumps(answer), json.dumps(answer, indent=1), repr(answer)])
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A reply in which bits are left out, doubled, put in or cut off, with things around it."""
    text = draw(st.sampled_from(["", "Sure: ", "```json\n", "<think>[{</think>", "{ "]))
    text += draw(written) + draw(st.sampled_from(["", "\n```", " Done {.", "]}", "\x00"]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        bit = draw(st.text("[]{}(),:'\"\\ 1.e-#/\n\u201c", max_size=3))
        text = draw(st.sampled_from([
            text[:start] + text[end:],
            text[:end] + text[start:],
            text[:start] + bit + text[start:],
            text[:start],
        ]))  # fmt: skip
    return text


texts = st.one_of(
    damaged(), st.text(characters), st.text("[]{}():,'\"\\ 0123.e-abt\n\u201c\u201d", max_size=80)
)


def check(text: str) -> None:
    """Reads ``text`` both ways and holds what comes back against it."""
    there = {abs(float(match.group())) for match in _NUMBER.finditer(text)}
    reply = read_grounding(text, ASKED)
    for one in reply.instances:
        assert there.issuperset(map(abs, one.numbers))
        assert 0 <= one.expression < len(ASKED)
        assert one.score is None or (0 <= one.score <= 1 and one.score in there)
    if reply.status in (ReplyStatus.UNPARSEABLE, ReplyStatus.REFUSED):
        assert not reply.instances and not reply.dropped
    for found in read_extraction(text).expressions:
        assert found.text and found.text == found.text.strip()
        assert found.noun_chunk


@settings(max_examples=80)
@given(texts)
def test_readers_take_any_text_and_make_nothing_up(text: str) -> None:
    check(text)


@settings(max_examples=60)
@given(answers)
def test_strict_json_is_read_the_same_by_both_parsers(answer: Any) -> None:
    """The lenient parser reads JSON and Python literals as what they say."""
    plain = json.dumps(answer)
    strict = json.loads(plain, parse_constant=lambda name: None)
    for text in (plain, json.dumps(answer, ensure_ascii=False, indent=2)):
        assert read_values(f"So: {text}")[0].value == strict


@settings(max_examples=60)
@given(st.text(characters, max_size=40))
def test_any_string_is_read_back(string: str) -> None:
    for ascii_only in (True, False):
        text = json.dumps([string], ensure_ascii=ascii_only)
        assert read_values(f"{text} ")[0].value == [string]


@settings(max_examples=80)
@given(written, st.floats(0, 1))
def test_a_cut_reply_is_never_whole(text: str, share: float) -> None:
    cut = text[: int(len(text) * share)]
    if cut != text:
        assert read_grounding(cut, ASKED).status in (
            ReplyStatus.TRUNCATED,
            ReplyStatus.UNPARSEABLE,
        )


HOSTILE = """
TEXTS = {
    "brackets": "[" * LONG,
    "keys": '{"a":' * (LONG // 5),
    "instances": '{"instances":[' * (LONG // 14),
    "open items": '{"instances":[' + '{"id":0,' * (LONG // 8),
    "open strings": '["' * (LONG // 2),
    "single quotes": "[' " * (LONG // 3),
    "inner quotes": '["a"  x' * (LONG // 7),
    "blanks in a string": '["a" ' + " " * LONG + "x",
    "backslashes": '["' + chr(92) * LONG,
    "escaped": '{' + chr(92) + '"a' + chr(92) + '":' * (LONG // 5),
    "open comments": "[/*" * (LONG // 3),
    "pairs": "{}" * (LONG // 10),
    "pairs in a list": "[" + "{}" * (LONG // 10),
    "closers": "[" + "})" * (LONG // 2),
    "boxes": "[1,2,3,4]" * (LONG // 50),
    "deep boxes": ("[" * 38 + "1,2,3,4" + "]" * 38) * (LONG // 400),
    "objects": '{"label":"z","box":[1,2,3,4]}' * (LONG // 150),
    "labels": "[" + ",".join('{"label":"z%d","box":[1,2,3,4]}' % i for i in range(LONG // 100)),
    "keyed": "{" + ",".join('"k%d":[1,2,3,4]' % i for i in range(LONG // 50)) + "}",
    "deep but valid": '{"a":' * 900 + "1" + "}" * 900,
    "deep lists, valid": '{"instances":[' * 450 + "]}" * 450,
    "thoughts": "<think>" * (LONG // 7),
    "ends of thoughts": "</think>" * (LONG // 8) + "[",
    "fences": "```" * (LONG // 3),
    "blanks": " " * LONG + "x",
    "one number": "[" + "9" * LONG,
    "numbers": "[" + "9e9," * (LONG // 4),
    "a box of a million": '{"instances":[{"id":0,"bbox":"' + "9 " * (LONG // 2) + '"}]}',
    "many scores": '{"instances":[{"id":0,"bbox":[1,2,3,4],"score":[%s1]}]}' % ("1," * (LONG // 4)),
}
"""


def hostile(length: int) -> dict[str, str]:
    """The texts, each of about ``length`` characters or a small part of it."""
    namespace: dict[str, Any] = {"LONG": length}
    exec(HOSTILE, namespace)
    texts: dict[str, str] = namespace["TEXTS"]
    return texts


def work(text: str) -> int:
    """How many functions, built-in ones too, are called while a text is read both ways."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        read_extraction(text)
        read_grounding(text, ["a cat", "z1"])
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", hostile(0))
def test_work_is_in_proportion_to_the_text(name: str) -> None:
    """Four times the text is four times the work; in the square of its length, sixteen times."""
    read_grounding("{}", ASKED)  # what is made at the first reply is made
    short, long = (hostile(length)[name] for length in (1_000, 4_000))
    assert work(long) <= 6 * work(short) + 100


def test_long_texts_are_read(tmp_path: Path) -> None:
    """In a process of its own, which a text may end; a pattern's own square would take hours."""
    script = tmp_path / "read.py"
    script.write_text(
        f"LONG = 20_000{HOSTILE}"
        + "from image_grounding.replies import read_extraction, read_grounding\n"
        + "for text in TEXTS.values():\n"
        + "    read_extraction(text[: len(text) // 3])\n"
        + "    print(read_grounding(text, ['a cat', 'z1']).status)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == len(hostile(0))


@pytest.mark.parametrize("text", ["[" * 1000, '{"a":' * 1000, '[{"a": [' * 1000])
def test_nesting_is_followed_so_far(text: str) -> None:
    assert len(read_values(text)) <= 40
