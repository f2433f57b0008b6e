# SPDX-License-Identifier: Apache-2.0
"""Replies to step 0: the cleaned caption and its referring expressions."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from image_grounding.files import encodable
from image_grounding.replies.lenient import CutList, CutObject
from image_grounding.replies.text import (
    PLACEHOLDERS,
    ReplyStatus,
    Shape,
    find_json,
    first,
    lowered,
    without_thoughts,
)
from image_grounding.spans import as_span

_CAPTION_KEYS = ("cleaned_caption", "clean_caption", "caption")
_LIST_KEYS = ("expressions", "referring_expressions", "phrases")
_TEXT_KEYS = ("text", "expression", "phrase", "referring_expression", "label")
_CHUNK_KEYS = ("noun_chunk", "noun", "head")


@dataclass(frozen=True)
class RawExpression:
    """A referring expression as a model gave it; ``hint`` is a span that it claimed."""

    text: str
    noun_chunk: str
    hint: tuple[int, int] | None = None


@dataclass(frozen=True)
class ExtractionReply:
    """What a reply to step 0 says; ``cleaned_caption`` is None where it says none.

    ``open_ended`` as in ``Found``.
    """

    status: ReplyStatus
    cleaned_caption: str | None = None
    expressions: tuple[RawExpression, ...] = ()
    open_ended: bool = False


def read_extraction(text: str) -> ExtractionReply:
    """Read a reply to step 0. Never raises; see ``ReplyStatus`` for how well it went."""
    found = find_json(without_thoughts(text), _shape)
    if not found:
        return ExtractionReply(ReplyStatus.UNPARSEABLE)
    read = [_read(value) for value in found.strongest]
    # The last that the model wrote is its answer, but for an empty one behind it.
    caption, expressions = next((found for found in reversed(read) if found[1]), read[-1])
    if _is_cut_behind(found.strongest[-1]):
        return ExtractionReply(ReplyStatus.REPAIRED, caption, expressions)
    return ExtractionReply(found.status, caption, expressions, found.open_ended)


def read_extractions(text: str) -> dict[int, ExtractionReply]:
    """Read a reply to step 0 for several captions: what it gives for each id, whole and once.

    Stricter than ``read_extraction``, as each caption can be asked about alone. Never raises.
    """
    found = find_json(without_thoughts(text), _shape_of_several)
    if not found or len(found.values) > 1:  # a draft may stand beside the answer
        return {}
    entries = _entries(found.values[0][1].value)
    count = Counter(entry["id"] for entry in entries)
    replies = {entry["id"]: _whole(entry) for entry in entries if count[entry["id"]] == 1}
    return {number: reply for number, reply in replies.items() if reply}


def _entries(value: Any) -> list[dict[str, Any]]:
    """The entries of a reply for several captions."""
    listed = lowered(value).get("captions") if isinstance(value, dict) else value
    listed = listed if isinstance(listed, list) else []
    return [entry for entry in listed if isinstance(entry, dict) and type(entry.get("id")) is int]


def _shape_of_several(value: Any) -> Shape:
    return Shape.STRONG if _entries(value) else Shape.NONE


def _whole(entry: dict[str, Any]) -> ExtractionReply | None:
    """An entry of which nothing is cut, lost or unreadable."""
    caption, expressions = _read(entry)
    items = first(lowered(entry), _LIST_KEYS)
    parts = [entry, *items] if type(items) is list else []
    plain = all(type(part) in (dict, str) for part in parts)
    if not caption or not plain or len(parts) != len(expressions) + 1:
        return None
    return ExtractionReply(ReplyStatus.OK, caption, expressions)


def _read(value: Any) -> tuple[str | None, tuple[RawExpression, ...]]:
    keys = lowered(value) if isinstance(value, dict) else {}
    items = value if isinstance(value, list) else first(keys, _LIST_KEYS)
    expressions = (_expression(item) for item in (items if isinstance(items, list) else []))
    return _text(first(keys, _CAPTION_KEYS)), tuple(filter(None, expressions))


def _is_cut_behind(value: Any) -> bool:
    """Whether what is cut of an answer stands behind its list of expressions, which is whole."""
    keys = lowered(value) if isinstance(value, CutObject) else {}
    items = first(keys, _LIST_KEYS)
    whole = isinstance(items, list) and not isinstance(items, CutList)
    return whole and list(keys)[-1] not in _LIST_KEYS + _CAPTION_KEYS


def _shape(value: Any) -> Shape:
    if isinstance(value, dict):
        keys = lowered(value)
        items = first(keys, _LIST_KEYS)
        if isinstance(items, list):
            # A list of what can all not be read is no list of expressions.
            readable = not items or any(map(_expression, items)) or isinstance(value, CutObject)
            return Shape.STRONG if readable else Shape.NONE
        # A reply that was cut in its caption; a whole one without a list is no answer.
        cut = isinstance(value, CutObject) and _text(first(keys, _CAPTION_KEYS))
        return Shape.WEAK if cut else Shape.NONE
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return Shape.WEAK if any(map(_expression, value)) else Shape.NONE
    return Shape.NONE


def _expression(item: Any) -> RawExpression | None:
    if isinstance(item, str):
        text = _text(item)
        return RawExpression(text, text) if text else None
    if not isinstance(item, dict) or isinstance(item, CutObject):
        return None
    keys = lowered(item)
    text = _text(first(keys, _TEXT_KEYS))
    if not text:
        return None
    return RawExpression(
        text, _text(first(keys, _CHUNK_KEYS)) or text, as_span(keys.get("char_span"))
    )


def _text(value: Any) -> str | None:
    text = encodable(value.strip()) if isinstance(value, str) else ""
    return text if text and text not in PLACEHOLDERS else None
