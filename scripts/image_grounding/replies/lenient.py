# SPDX-License-Identifier: Apache-2.0
"""JSON as models write it: every value in a text, in one pass, with what is cut marked as cut.

Takes single and typographic quotes, unescaped quotes and raw control characters in strings,
trailing and missing commas, comments, tuples, Python's literals, bare keys and texts, brackets
too many or missing. General repairers complete what was cut and guess at the rest; a box must
do neither: what can not be placed is marked as lost.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# No reply nests deeper; what does is noise, and reading ends there.
_MAX_DEPTH = 40
_CLOSERS = {"{": "}", "[": "]", "(": ")"}

# A quote ends a string where something of JSON follows; else it belongs to the string.
_ENDS = r"""(?=\s*(?:[,:\]})“”]|\[+\s*[-\d]|//|/\*|\#|\Z)|\s+["']|["'][\w\s-]{1,40}["']\s*:)"""
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
# A member of an object follows, so that the object is not at its end.
_MEMBER_FOLLOWS = re.compile(
    r"""\s{0,40},\s{0,40}(?:"[^"\n]{1,60}"|'[^'\n]{1,60}'|\w{1,60})\s{0,9}:"""
)
# A text without quotes, up to what ends a value.
_BARE = re.compile(r"""[^\s,\[\]{}"“”][^,\[\]{}"“”\n]*""")
# A key that holds this has swallowed others.
_SWALLOWED = re.compile(r"[\[\]{}]|\"\s*[\d,:-]")
_NO_TEXT = {"null", "none", "nan", "undefined", "infinity", "-infinity", "inf", "-inf"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class BareText(str):
    """A text in a list that stands there without quotes."""


class Lost:
    """What stands in the place of a value that is not there; null says something."""

    def __repr__(self) -> str:
        """As it shows in tests."""
        return "LOST"


LOST = Lost()


class CutObject(dict[str, Any]):
    """An object whose end is not in the text; its last member may be missing."""


class CutList(list[Any]):
    """A list whose end is not in the text."""


class _Unbracketed(list[Any]):
    """Numbers one behind the other, without the brackets of a list."""


class LossyObject(dict[str, Any]):
    """An object in which something stands that belongs to no key."""


class RepeatedObject(dict[str, Any]):
    """An object that has a key twice; ``parts`` are the objects it may be made of, in order."""

    def __init__(self, pairs: Sequence[tuple[str, Any]], part: type[dict[str, Any]] = dict) -> None:
        super().__init__(pairs)
        self.parts = [part()]
        for key, value in pairs:
            if key in self.parts[-1]:
                self.parts.append(part())
            self.parts[-1][key] = value


def from_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some members, none of which is lost when a key comes twice."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else RepeatedObject(pairs)


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
    pairs: list[tuple[str, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    key: str | None = None
    lossy: bool = False

    @property
    def wants_key(self) -> bool:
        return self.bracket == "{" and self.key is None

    def add(self, value: Any) -> None:
        if self.bracket != "{":
            self.items.append(value)
        elif self.key is not None:
            self.pairs.append((self.key, value))
            self.key = None
        elif not self.pairs and isinstance(value, dict):  # "{{...}}"
            self.pairs.extend(value.items())
        else:
            self.taint()

    def taint(self) -> None:
        """Something belongs to no key; it may be a part of the value before it."""
        self.lossy = True
        if self.pairs and isinstance(self.pairs[-1][1], list | None):
            key, value = self.pairs[-1]
            self.pairs[-1] = (key, [value, LOST])

    def goes_on(self, number: int | float) -> bool:
        """Take a number behind one that is a value: their brackets were forgotten."""
        key, value = self.pairs[-1] if self.pairs else ("", None)
        if isinstance(value, _Unbracketed):
            value.append(number)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.pairs[-1] = (key, _Unbracketed([value, number]))
        else:
            return False
        return True

    def end_member(self) -> None:
        if self.key is not None:  # a key without a value
            self.add(LOST)
            self.lossy = True

    def value(self, *, cut: bool) -> Any:
        if self.bracket != "{":
            return CutList(self.items) if cut else self.items
        if cut:
            return CutObject(self.pairs)
        if not self.lossy and not any(_SWALLOWED.search(key) for key, _ in self.pairs):
            return from_pairs(self.pairs)
        lossy = LossyObject(self.pairs)
        whole = len(lossy) == len(self.pairs)
        return lossy if whole else RepeatedObject(self.pairs, LossyObject)


def read_values(text: str, start: int = 0) -> list[Value]:
    """Every object and list in ``text`` from ``start`` on, nested ones too, outermost first.

    Takes time in proportion to the text, and never raises. A scalar that the end of the text
    may have cut is left out; containers that it cuts are ``CutObject`` and ``CutList``.
    """
    found: list[Value] = []
    stack: list[_Open] = []
    position = start

    def close(end: int, *, cut: bool = False) -> None:
        done = stack.pop()
        if not cut:
            done.end_member()
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
        kind, begin, position = token.lastgroup, position, token.end()
        if kind == "open":
            in_list = len(stack) > 1 and stack[-2].bracket == "["
            if token[0] == "{" and stack and stack[-1].wants_key and stack[-1].pairs and in_list:
                close(begin)  # the brace before was forgotten
            if len(stack) == _MAX_DEPTH:
                break
            stack.append(_Open(token[0], begin))
        elif kind == "close":
            for _ in range(_closed_by(token[0], stack, text, position)):
                if stack[-1].bracket == "[" and token[0] != "]" and not stack[-1].items:
                    stack[-1].add(LOST)  # no list that was left empty
                close(position)
        elif kind == "unclosed":
            break
        elif kind == "comma":
            stack[-1].end_member()
        elif kind == "colon":
            _open_forgotten(stack, begin)
        elif kind == "word" and stack[-1].bracket == "{" and stack[-1].key is not None:
            bare = _BARE.match(text, begin)
            position = bare.end() if bare else position
            if position < len(text):  # else more of it may have been to come
                stack[-1].add(_bare(text[begin:position]))
        elif kind != "space":
            _scalar(stack[-1], kind, token[kind], text, position)
    while stack:
        close(len(text), cut=True)
    return sorted(found, key=lambda value: value.start)


def _closed_by(closer: str, stack: Sequence[_Open], text: str, position: int) -> int:
    """How many of the open containers a closer ends: those inside of its own one, too."""
    if _CLOSERS[stack[-1].bracket] == closer:
        return 1
    opened = [_CLOSERS[container.bracket] for container in reversed(stack)]
    if closer not in opened:  # one that looks alike is meant
        return 1 if closer in ")]" and opened[0] in ")]" else 0
    if _MEMBER_FOLLOWS.match(text, position):
        # A stray or a wrong one: only as much ends as leaves the object open that goes on.
        return opened.index("}") if "}" in opened else 0
    return opened.index(closer) + 1


def _open_forgotten(stack: list[_Open], position: int) -> None:
    """A colon behind a text in a list: the brace before it was forgotten."""
    inside = stack[-1]
    if inside.bracket != "[" or not inside.items:
        return
    if isinstance(inside.items[-1], BareText):  # prose in a bracket that was not closed
        inside.items.append(LOST)
    elif isinstance(inside.items[-1], str):
        stack.append(_Open("{", position, key=inside.items.pop()))


def _scalar(into: _Open, kind: str, token: str, text: str, end: int) -> None:
    is_key = into.wants_key
    if is_key and kind == "number" and into.goes_on(_number(token)):
        return
    if kind in ("number", "word") and not is_key:
        if end < len(text):  # else more of it may have been to come
            value = _number(token) if kind == "number" else _bare(token)
            into.add(BareText(value) if isinstance(value, str) else value)
    elif is_key:
        into.key = token if kind in ("number", "word") else _string(token)
    else:
        into.add(_string(token))


def _number(token: str) -> int | float:
    return int(token) if len(token) < 19 and token.lstrip("+-").isdecimal() else float(token)


def _bare(token: str) -> str | bool | None:
    """What a text without quotes says: true, false, nothing, or itself."""
    token = re.split(r"\s(?://|#|/\*)", token)[0].strip()
    if token.lower() in _NO_TEXT:
        return None
    return {"true": True, "false": False}.get(token.lower(), token)


def _string(token: str) -> str:
    if "\\" not in token:
        return token
    try:
        return str(json.loads(f'"{token}"', strict=False))
    except ValueError:
        return _ESCAPE.sub(_unescaped, token)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[2])
