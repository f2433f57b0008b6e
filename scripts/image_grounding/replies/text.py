# SPDX-License-Identifier: Apache-2.0
"""From whatever a model wrote to the JSON value that it meant.

Real replies hold fences, prose with stray braces, think blocks, a draft before the answer, a
schema echoed back, or end in the middle. How well it went is told by ``ReplyStatus``. Nothing
here raises on any text, or takes more time than in proportion to it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from image_grounding.replies.lenient import CutList, CutObject, Value, from_pairs, read_values

# Text that is no strict JSON is read so far: several times what token limits allow.
_MAX_CHARS = 250_000
# Where reading begins anew after a stray bracket that upset the quotes behind it.
_MAX_STARTS = 4
# Levels of an answer that are looked at; real ones have four.
MAX_LEVELS = 8
# What stands for a text in the prompts' examples, which some models echo.
PLACEHOLDERS = frozenset({"...", "\u2026"})
_BLOCK = r"(?:think|thinking|thought|reasoning)"
_THOUGHT = re.compile(rf"\s*[<◁]{_BLOCK}[>▷]", re.IGNORECASE)
_THOUGHT_END = re.compile(rf"[<◁]/{_BLOCK}[>▷]", re.IGNORECASE)
_FENCE = re.compile(r"```\w*")
_ESCAPED = re.compile(r'[\[{]\s*\\"')
_ANSWER_FIRST = re.compile(r"\s*(?:```\w*\s*)?[\[{\"]")


class ReplyStatus(StrEnum):
    """How well a reply could be read."""

    OK = "ok"
    REPAIRED = "repaired"
    TRUNCATED = "truncated"
    UNPARSEABLE = "unparseable"
    REFUSED = "refused"


class Shape(IntEnum):
    """How much a JSON value looks like the answer."""

    NONE = 0
    EMPTY = 1
    BARE = 2  # boxes without names
    WEAK = 3
    STRONG = 4


@dataclass(frozen=True)
class Found:
    """The values of a reply that are its answer, in order, and how well it could be read.

    Several where a model writes one object a line, a draft before the answer, or an answer for
    each thing asked. Such a reply is ``open_ended``: nothing in it says that no more follows.

    Attributes:
        text: what they were found in.
        values: from the first of the strongest shape on, and each one's shape.
    """

    text: str
    values: tuple[tuple[Shape, Value], ...]
    status: ReplyStatus
    open_ended: bool = False

    @property
    def shape(self) -> Shape:
        """The strongest shape of them."""
        return max(shape for shape, _ in self.values)

    @property
    def strongest(self) -> list[Any]:
        """The values that look most like an answer."""
        return [value.value for shape, value in self.values if shape is self.shape]


def find_json(text: str, shape_of: Callable[[Any], Shape]) -> Found | None:
    """The JSON values in ``text`` that are the answer, or None where there is none.

    Args:
        text: a model's reply, without its thoughts.
        shape_of: judges a value; what it calls ``Shape.NONE`` is no answer.
    """
    text, whole = unwrapped(text)
    if shape := shape_of(whole):
        one_a_line = shape < Shape.STRONG and isinstance(whole, dict)
        return Found(text, ((shape, Value(whole, 0, len(text))),), ReplyStatus.OK, one_a_line)
    if _ESCAPED.search(text):  # the same without the string around it
        text = text.replace('\\"', '"')
    text = text[:_MAX_CHARS]
    found, inside_cut = _search(text, shape_of)
    if not found:
        return None
    strongest = max(shape for shape, _ in found)
    # Before an answer of the form that was asked for stand drafts; other entries are as good.
    first = next(
        place
        for place, (shape, value) in enumerate(found)
        if shape is strongest
        or (strongest is Shape.WEAK and shape is Shape.BARE and isinstance(value.value, dict))
    )
    # What looks only weakly like an answer may be a part of one that has no end.
    weak_part = strongest < Shape.STRONG and inside_cut
    cut = weak_part or isinstance(found[-1][1].value, CutObject | CutList)
    status = ReplyStatus.TRUNCATED if cut else ReplyStatus.REPAIRED
    shape, last = found[-1]
    one_a_line = shape < Shape.STRONG and isinstance(last.value, dict)
    values = tuple(found[first:])
    return Found(text, values, status, one_a_line or len(values) > 1)


def unwrapped(text: str) -> tuple[str, Any]:
    """A reply without a JSON string around it, and its value where all of it is strict JSON."""
    whole = _loads(text)
    return (whole, _loads(whole)) if isinstance(whole, str) else (text, whole)


def without_thoughts(text: str) -> str:
    """``text`` after the reasoning that some models put before the answer."""
    if _ANSWER_FIRST.match(text):
        return text
    *_, end = (0, *(match.end() for match in _THOUGHT_END.finditer(text)))
    return "" if not end and _THOUGHT.match(text) else text[end:]


def _search(text: str, shape_of: Callable[[Any], Shape]) -> tuple[list[tuple[Shape, Value]], bool]:
    """The outermost values of a shape, in the order of the text.

    And whether something that is no answer begins before them and has no end.
    """
    start = 0
    for _ in range(_MAX_STARTS):
        values = read_values(text, start)
        if found := list(_outermost(values, shape_of)):
            open_first = values[0].value
            cut_first = isinstance(open_first, CutObject | CutList) and not shape_of(open_first)
            return found, start > 0 or cut_first
        stray = next(
            (value for value in values if isinstance(value.value, CutObject | CutList)), None
        )
        if stray is None:
            break
        start = stray.start + 1
    return [], False


def _outermost(
    values: list[Value], shape_of: Callable[[Any], Shape]
) -> Iterator[tuple[Shape, Value]]:
    taken = read = 0  # how far
    for value in values:
        nested, read = value.start < read, max(read, value.end)
        # An empty list inside of something else says nothing.
        if value.start < taken or (nested and not value.value):
            continue
        if shape := shape_of(value.value):
            taken = value.end
            yield shape, value


def _loads(text: str) -> Any:
    """Strict JSON, maybe in a fence, but for control characters in strings; None if it is not."""
    text = text.strip()
    if fence := _FENCE.match(text):
        text = text[fence.end() :].removesuffix("```")
    try:
        return json.loads(text, strict=False, object_pairs_hook=from_pairs)
    except (ValueError, RecursionError):
        return None


def lowered(value: Mapping[Any, Any]) -> dict[str, Any]:
    """``value`` with its keys in lower case, ``-`` and spaces as ``_``."""
    return {
        str(key).strip().lower().replace("-", "_").replace(" ", "_"): item
        for key, item in value.items()
    }


def first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value of the first of ``names`` that is there, else None."""
    return next((values[name] for name in names if name in values), None)
