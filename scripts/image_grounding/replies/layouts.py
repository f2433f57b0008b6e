# SPDX-License-Identifier: Apache-2.0
"""Tables, XML and lines of keys and values, as the values that JSON would hold.

Each reader gives None for a text that is none of its kind.
"""

import re
from typing import Any

import yaml

from image_grounding.replies.lenient import LOST, Lost, from_pairs
from image_grounding.replies.text import MAX_LEVELS

_TAG = re.compile(
    r"<(/?)([A-Za-z_][\w.-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(/?)>"
)
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_NUMBERS = re.compile(r"[\d\s,.;()\[\]-]+")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_HTML_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.DOTALL | re.IGNORECASE)
_HTML_CELL = re.compile(r"<t[hd]\b[^>]*>\s*(.*?)\s*</t[hd]>", re.DOTALL | re.IGNORECASE)
_WRAPPERS = frozenset({"answer", "output", "response", "result", "final_answer", "think"})
_POINTS = frozenset({"point", "points"})
_RULE = re.compile(r"[\s|:+-]*--[\s|:+-]*")
_KEY = (
    r"(?:expression[ _]?)?(?:id|index)|label|text|phrase|expression|name|object|category|class|"
    r"b?box(?:es)?(?:[_ ]?2d)?|bounding[_ ]box(?:es)?|coordinates|coords|"
    r"score|confidence|visible|found|present|status|[xy][_ ]?(?:[012]|min|max)|"
    r"left|top|right|bottom|width|height"
)
_MEMBER = re.compile(r"^[ \t]*(?:- )?[^:\n]{1,200}:(?:[ \t]|$)", re.MULTILINE)
_ALIAS = re.compile(r"(?:^|[\s:\[,-])[&*]\w")
_MOST_YAML = 20_000
_COLUMN = re.compile(_KEY, re.IGNORECASE)


def table(text: str) -> list[dict[str, Any]] | None:
    """The rows of a table in Markdown, or of comma- or tab-separated values with a header."""
    if "<tr" in text:
        rows = ["|".join(_HTML_CELL.findall(row)) for row in _HTML_ROW.findall(text)]
    else:
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
        if separator == "|" and rows[0].endswith("|") and not rows[-1].endswith("|"):
            cells.pop()  # cut by the end of the reply
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


def yaml_members(text: str) -> Any:
    """Lines of ``key: value``, and lists of them, as YAML has them."""
    if len(text) > _MOST_YAML or not _MEMBER.search(text) or _ALIAS.search(text):
        return None
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


class _Loader(yaml.BaseLoader):
    """Texts alone, and no member lost when a key comes twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    return from_pairs([(str(key), value) for key, value in pairs])


def _text(loader: _Loader, node: yaml.ScalarNode) -> str | Lost:
    return LOST if node.value == "" and node.style is None else str(node.value)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG, _text)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


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
        if tag[2].lower() in _POINTS:
            own = [(key, value) for key, value in own if key in ("alt", "label")]
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
