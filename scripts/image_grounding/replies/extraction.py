# SPDX-License-Identifier: Apache-2.0
"""Replies to step 0: the cleaned caption and its referring expressions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image_grounding.replies.text import CUT, ReplyStatus, Shape, find_json

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
    """What a reply to step 0 says; ``cleaned_caption`` is None where it says none."""

    status: ReplyStatus
    cleaned_caption: str | None = None
    expressions: tuple[RawExpression, ...] = ()


def read_extraction(text: str) -> ExtractionReply:
    """Read a reply to step 0. Never raises; see ``ReplyStatus`` for how well it went."""
    found = find_json(text, _shape)
    if not found:
        return ExtractionReply(ReplyStatus.UNPARSEABLE)
    best = found[0]
    keys = lowered(best.value) if isinstance(best.value, dict) else {}
    items = best.value if isinstance(best.value, list) else first(keys, _LIST_KEYS)
    caption = first(keys, _CAPTION_KEYS)
    expressions = tuple(
        expression
        for item in (items if isinstance(items, list) else [])
        if (expression := _expression(item)) is not None
    )
    cleaned = caption.strip() if isinstance(caption, str) else None
    return ExtractionReply(best.status, cleaned or None, expressions)


def _shape(value: Any) -> Shape:
    if isinstance(value, dict):
        keys = lowered(value)
        if isinstance(first(keys, _LIST_KEYS), list):
            return Shape.STRONG
        # A reply that was cut in its caption; a whole one without a list is no answer.
        return Shape.WEAK if value.get(CUT) and first(keys, _CAPTION_KEYS) else Shape.NONE
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return Shape.WEAK if any(_expression(item) for item in value) else Shape.NONE
    return Shape.NONE


def _expression(item: Any) -> RawExpression | None:
    if isinstance(item, str):
        return RawExpression(item.strip(), item.strip()) if item.strip() else None
    if not isinstance(item, dict) or CUT in item:
        return None
    keys = lowered(item)
    text = first(keys, _TEXT_KEYS)
    if not isinstance(text, str) or not text.strip():
        return None
    chunk = first(keys, _CHUNK_KEYS)
    chunk = chunk.strip() if isinstance(chunk, str) else ""
    return RawExpression(text.strip(), chunk or text.strip(), as_span(keys.get("char_span")))


def as_span(value: Any) -> tuple[int, int] | None:
    """``[start, end]`` as a span, or None for anything else."""
    match value:
        case [int(start), int(end)] if 0 <= start < end and end is not True:
            return (start, end)
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
