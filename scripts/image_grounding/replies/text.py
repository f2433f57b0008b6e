# SPDX-License-Identifier: Apache-2.0
"""From whatever a model wrote to the JSON value that it meant.

Real replies hold fences, prose with stray braces, think blocks, single quotes, trailing commas,
a schema echoed back, or end in the middle. What is found is told apart by ``ReplyStatus``.
Nothing here raises on any text.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

import json_repair

# Set in every object that the end of a reply cut through.
CUT = "__cut__"

_MAX_STARTS = 400
_CLOSERS = {"{": "}", "[": "]"}


class ReplyStatus(StrEnum):
    """How well a reply could be read."""

    OK = "ok"
    REPAIRED = "repaired"
    TRUNCATED = "truncated"
    UNPARSEABLE = "unparseable"


class Shape(IntEnum):
    """How much a JSON value looks like the answer."""

    NONE = 0
    WEAK = 1
    STRONG = 2


@dataclass(frozen=True)
class Found:
    """A JSON value found in a reply, and how."""

    value: Any
    shape: Shape
    status: ReplyStatus


def find_json(text: str, shape_of: Callable[[Any], Shape]) -> list[Found]:
    """JSON values in ``text`` that look like an answer, best first; empty where there is none.

    A complete value comes before a cut one, and of several equally good ones the last that
    the model wrote comes first.

    Args:
        text: a model's reply.
        shape_of: judges a value; only what it does not call ``Shape.NONE`` is returned.
    """
    whole = _loads(text)
    if whole is not None and shape_of(whole):
        return [Found(whole, shape_of(whole), ReplyStatus.OK)]
    text = _without_thoughts(text)
    found = list(_candidates(text, shape_of))

    def rank(index: int) -> tuple[int, bool, int]:
        item = found[index]
        return (item.shape, item.status is not ReplyStatus.TRUNCATED, index)

    return [found[index] for index in sorted(range(len(found)), key=rank, reverse=True)]


def _without_thoughts(text: str) -> str:
    """``text`` after the reasoning that some models put before the answer."""
    opening = re.match(r"\s*<(think|thinking|reasoning)>", text, re.IGNORECASE)
    closing = re.search(r"</(think|thinking|reasoning)>", text, re.IGNORECASE)
    answer_first = re.match(r"\s*(```\w*\s*)?[\[{]", text)
    if closing and not answer_first:
        return text[closing.end() :]
    return "" if opening else text


def _candidates(text: str, shape_of: Callable[[Any], Shape]) -> Iterator[Found]:
    position = 0
    for _ in range(_MAX_STARTS):
        opening = re.compile(r"[\[{]").search(text, position)
        if opening is None:
            return
        start = opening.start()
        scan = _scan(text, start)
        body = text[start : scan.end] if scan.closed else text[start : scan.safe_end] + scan.closers
        value = _loads(body)
        strict = value is not None
        if not strict:
            value = _repair(body)
        shape = shape_of(value)
        if shape and scan.closed:
            yield Found(
                value,
                shape,
                ReplyStatus.OK if _alone(text, start, scan.end, strict) else ReplyStatus.REPAIRED,
            )
            position = scan.end
        elif shape is Shape.STRONG or (shape and strict):
            yield Found(value, shape, ReplyStatus.TRUNCATED)
            return
        else:
            position = start + 1


def _alone(text: str, start: int, end: int, strict: bool) -> bool:
    """Whether nothing but a fence stands around a strictly valid value."""
    around = text[:start] + text[end:]
    return strict and not re.sub(r"```\w*", "", around).strip()


@dataclass(frozen=True)
class _Scan:
    """Where the value that starts at a bracket ends; if it does not, how to close it."""

    closed: bool
    end: int
    safe_end: int
    closers: str


def _scan(text: str, start: int) -> _Scan:
    stack: list[str] = []
    safe_end, safe_stack = start, ""
    quote = ""
    previous = ""
    index = start
    while index < len(text):
        char = text[index]
        if quote:
            if char == "\\":
                index += 1
            elif char == quote and (quote == '"' or _ends_single_quoted(text, index)):
                quote, previous = "", char
        elif char == '"' or (char == "'" and previous in "{[,:"):
            quote = char
        elif char in _CLOSERS:
            stack.append(char)
            safe_end, safe_stack = index + 1, "".join(stack)
        elif char in "}]":
            if stack and _CLOSERS[stack[-1]] == char:
                stack.pop()
            elif char in (_CLOSERS[opener] for opener in stack):
                while _CLOSERS[stack.pop()] != char:
                    pass
            if not stack:
                return _Scan(True, index + 1, index + 1, "")
            safe_end, safe_stack = index + 1, "".join(stack)
        elif char == ",":
            safe_end, safe_stack = index, "".join(stack)
        if not quote and not char.isspace():
            previous = char
        index += 1
    return _Scan(False, len(text), safe_end, _close(text[:safe_end], safe_stack))


def _ends_single_quoted(text: str, index: int) -> bool:
    """Whether the quote at ``index`` is an end and not an apostrophe."""
    following = text[index + 1 : index + 40].lstrip()
    return not following or following[0] in ",:]}"


def _close(body: str, stack: str) -> str:
    """What closes ``body``; the objects that are cut through get the mark ``CUT``."""
    closers = []
    last = body.rstrip()[-1:]
    for opener in reversed(stack):
        if opener == "{":
            comma = "" if last == "{" else ","
            closers.append(f'{comma}"{CUT}":true}}')
        else:
            closers.append("]")
        last = "]"
    return "".join(closers)


def _loads(text: str) -> Any:
    """The value of strict JSON but for raw control characters in strings; None if it is not."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _repair(text: str) -> Any:
    try:
        return json_repair.loads(text, skip_json_loads=True)
    except Exception:  # a repair of arbitrary text may fail in any way
        return None
