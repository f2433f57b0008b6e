# SPDX-License-Identifier: Apache-2.0
"""JSON as models write it: every value in a text, in one pass, with what is cut marked as cut.

Takes single and typographic quotes, unescaped quotes and raw control characters in strings,
trailing and missing commas, comments, tuples, Python's literals, bare keys, missing closers.
General repairers complete what was cut and guess at the rest; a box must do neither.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

# No reply nests deeper; what does is noise, and reading ends there.
_MAX_DEPTH = 40
_CLOSERS = {"{": "}", "[": "]", "(": ")"}

# A quote ends a string where something of JSON follows; else it belongs to the string.
_ENDS = r"""(?=\s*(?:[,:\]})"'“”]|//|/\*|\#|\Z))"""
_TOKEN = re.compile(
    rf"""
      (?P<space>   \s+ | //[^\n]*+ | \#[^\n]*+ | /\*(?:.*?\*/|.*+) )
    | (?P<open>    [\[{{(] )
    | (?P<close>   [\]}})] )
    | (?P<comma>   , )
    | (?P<colon>   : )
    | " (?P<double> (?: [^"\\]++ | \\. | "(?!{_ENDS}) )*+ ) "
    | ' (?P<single> (?: [^'\\]++ | \\. | '(?!{_ENDS}) )*+ ) '
    | [“”] (?P<curly> [^“”]*+ ) [“”]
    | (?P<unclosed> ["'“”] .*+ )
    | (?P<number>  [-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)? (?=[\s,:\]}})]|//|/\*|\#|\Z) )
    | (?P<word>    [^\s,:\[\]{{}}()"“”]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENER = re.compile(r"[\[{]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class CutObject(dict[str, Any]):
    """An object whose end is not in the text; its last member may be missing."""


class CutList(list[Any]):
    """A list whose end is not in the text."""


@dataclass(frozen=True)
class Value:
    """An object or list, and where in the text it stands."""

    value: Any
    start: int
    end: int


@dataclass
class _Open:
    """A container that is being read; ``key`` waits for its value."""

    bracket: str
    start: int
    members: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    key: str | None = None

    def add(self, value: Any) -> None:
        if self.bracket != "{":
            self.items.append(value)
        elif self.key is not None:
            self.members[self.key] = value
            self.key = None

    def end_member(self) -> None:
        if self.key is not None:  # a key without a value
            self.add(None)

    def value(self, *, cut: bool) -> Any:
        if self.bracket == "{":
            return CutObject(self.members) if cut else self.members
        return CutList(self.items) if cut else self.items


def read_values(text: str, start: int = 0) -> list[Value]:
    """Every object and list in ``text`` from ``start`` on, nested ones too, outermost first.

    Takes time in proportion to the text, and never raises. A scalar that the end of the text
    may have cut is left out; containers that it cuts are ``CutObject`` and ``CutList``.
    """
    found: list[Value] = []
    stack: list[_Open] = []
    position = start

    def close(end: int, *, cut: bool) -> None:
        done = stack.pop()
        value = done.value(cut=cut)
        found.append(Value(value, done.start, end))
        if stack:
            stack[-1].add(value)

    while position < len(text):
        if not stack:  # prose
            opening = _OPENER.search(text, position)
            if opening is None:
                break
            position = opening.start()
        token = _TOKEN.match(text, position)
        assert token is not None and token.lastgroup  # every character starts a token
        kind, position = token.lastgroup, token.end()
        if kind == "open":
            if len(stack) == _MAX_DEPTH:
                break
            stack.append(_Open(token[0], token.start()))
        elif kind == "close":
            closers = [_CLOSERS[one.bracket] for one in stack]
            while stack and token[0] in closers:
                if closers.pop() == token[0]:
                    close(position, cut=False)
                    break
                close(position, cut=False)
        elif kind == "unclosed":
            break
        elif kind == "comma":
            stack[-1].end_member()
        elif kind not in ("space", "colon"):
            _scalar(stack[-1], kind, token[kind], text, position)
    while stack:
        close(len(text), cut=True)
    return sorted(found, key=lambda value: value.start)


def _scalar(into: _Open, kind: str, token: str, text: str, end: int) -> None:
    is_key = into.bracket == "{" and into.key is None
    if kind in ("number", "word") and not is_key:
        if end < len(text):  # else more of it may have been to come
            into.add(_number(token) if kind == "number" else _word(token))
    elif is_key:
        into.key = token if kind in ("number", "word") else _string(token)
    else:
        into.add(_string(token))


def _number(token: str) -> int | float:
    return int(token) if len(token) < 19 and token.lstrip("+-").isdecimal() else float(token)


def _word(token: str) -> bool | None:
    """True or False for these words; None for null, NaN and all that is no value."""
    return {"true": True, "false": False}.get(token.lower())


def _string(token: str) -> str:
    if "\\" not in token:
        return token
    try:
        return str(json.loads(f'"{token}"', strict=False))
    except ValueError:
        return _ESCAPE.sub(_unescaped, token)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[2])
