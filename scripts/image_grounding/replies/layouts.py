# SPDX-License-Identifier: Apache-2.0
"""Tables, XML and lines of keys and values, as the values that JSON would hold.

Each reader gives None for a text that is none of its kind.
"""

import re
from typing import Any

from image_grounding.replies.lenient import from_pairs
from image_grounding.replies.text import MAX_LEVELS

_TAG = re.compile(
    r"<(/?)([A-Za-z_][\w.-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(/?)>"
)
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_NUMBERS = re.compile(r"[\d\s,.;()\[\]-]+")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_WRAPPERS = frozenset({"answer", "output", "response", "result", "final_answer", "think"})
_RULE = re.compile(r"[\s|:+-]*--[\s|:+-]*")
_KEY = (
    r"(?:expression[ _]?)?(?:id|index)|label|text|phrase|expression|name|object|category|class|"
    r"b?box(?:es)?(?:[_ ]?2d)?|bounding[_ ]box(?:es)?|coordinates|coords|"
    r"score|confidence|visible|found|present|status|[xy][_ ]?(?:[012]|min|max)|left|top|right|"
    r"bottom|width|height"
)
_MEMBER = re.compile(
    rf"\s*(?P<dash>(?:[-*\u2022]|\d+[.)])\s+)?(?:\*\*|`|\")?(?P<key>{_KEY})(?:\*\*|`|\")?"
    r"\s*[:=]\s*(?:\*\*)?\s*(?P<value>.*?)[\s,]*",
    re.IGNORECASE,
)
_COLUMN = re.compile(_KEY, re.IGNORECASE)


def table(text: str) -> list[dict[str, Any]] | None:
    """The rows of a table in Markdown, or of comma- or tab-separated values with a header."""
    rows = [line.strip() for line in text.splitlines()]
    for separator in ("|", "\t", ",", ";"):
        lines = [row.strip("|") if separator == "|" else row for row in rows if separator in row]
        lines = [line for line in lines if not _RULE.fullmatch(line)]
        if len(lines) < 2:
            continue
        header = [_cell(name) for name in lines[0].split(separator)]
        known = [name for name in header if _COLUMN.fullmatch(name.replace(" ", "_"))]
        if len(header) < 2 or len(known) < (1 if separator == "|" else len(header)):
            continue
        if len(set(header)) < len(header):
            continue
        cells = [[_cell(cell) for cell in _split(line, separator)] for line in lines[1:]]
        if all(len(row) == len(header) for row in cells):
            return [dict(zip(header, row, strict=True)) for row in cells]
    return None


def _split(line: str, separator: str) -> list[str]:
    """The cells of a row; separators in quotes or brackets are none."""
    return re.split(
        rf"{re.escape(separator)}(?![^\[(]*[\])])(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", line
    )


def _cell(text: str) -> str:
    return text.strip().strip('*`"').strip()


def members(text: str) -> list[dict[str, Any]] | None:
    """Lines of ``key: value`` with the keys of an answer, as objects."""
    objects: list[list[tuple[str, Any]]] = []
    fresh = True
    for line in text.splitlines():
        match = _MEMBER.fullmatch(line)
        if match is None:
            fresh = True
            continue
        pair = (match["key"].lower().replace(" ", "_"), _cell(match["value"]))
        if fresh or match["dash"] or pair[0] in dict(objects[-1]):
            objects.append([])
        objects[-1].append(pair)
        fresh = False
    found = [dict(pairs) for pairs in objects if len(pairs) > 1]
    return found if found and len(found) == len(objects) else None


def markup(text: str) -> list[Any] | None:
    """Elements of XML as objects: their attributes, children and text."""
    tags = [tag for tag in _TAG.finditer(text) if tag[2].lower() not in _WRAPPERS]
    if not any(tag[1] or tag[4] for tag in tags):
        return None
    position = 0

    def content(name: str, level: int) -> tuple[list[tuple[str, Any]], str, bool]:
        nonlocal position
        pairs: list[tuple[str, Any]] = []
        start = tags[position - 1].end() if position else 0
        inside = ""
        while position < len(tags):
            tag = tags[position]
            inside += text[start : tag.start()]
            position += 1
            start = tag.end()
            if tag[1]:
                if tag[2] == name:
                    return pairs, inside.strip(), True
                continue
            pairs.append((tag[2], element(tag, level + 1)))
            start = tags[position - 1].end()
        return pairs, (inside + text[start:]).strip(), False

    def element(tag: re.Match[str], level: int) -> Any:
        own = [(key, _plain(a or b)) for key, a, b in _ATTRIBUTE.findall(tag[3])]
        if tag[4] or level > MAX_LEVELS:
            return dict(own) if own else None
        pairs, inside, _ = content(tag[2], level)
        if not own and not pairs:
            return _plain(inside)
        if inside:
            own.append(("bbox" if _NUMBERS.fullmatch(inside) else "text", _plain(inside)))
        return from_pairs([*own, *pairs])

    pairs, _, _ = content("", 0)
    return [{name: value} for name, value in pairs]


def _plain(text: str) -> str:
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text.strip()
