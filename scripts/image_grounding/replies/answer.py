# SPDX-License-Identifier: Apache-2.0
"""From the text of a reply to the items of its answer, whatever it is written as."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.replies import layouts
from image_grounding.replies.items import Item, Reader
from image_grounding.replies.lenient import read_values
from image_grounding.replies.lines import name_in, plain_lines, read_lines
from image_grounding.replies.phrases import Asked
from image_grounding.replies.prose import corrects, denied, is_error, refuses
from image_grounding.replies.text import (
    Found,
    ReplyStatus,
    Shape,
    find_json,
    unwrapped,
    without_thoughts,
)

_N = r"[-+]?(?:\d++\.?\d*+|\.\d++)"
_QUAD = re.compile(rf"[\[(]\s*{_N}\s*(?:,\s*{_N}\s*){{3}}[\])]")
_NATIVE = re.compile(r"<\|?(?:ref|object_ref_start|box_start|det)\|?>|<b?box>[^<]*\d")
_ENTRIES = re.compile(r"[\s,;`]*(?:json)?[\s,;`]*")


@dataclass(frozen=True)
class Block:
    """Items that were written in one go; ``corrects`` where they replace what was before."""

    items: tuple[Item, ...]
    corrects: bool = False


@dataclass(frozen=True)
class Answer:
    """What a reply answers.

    Attributes:
        status: how well it could be read.
        blocks: its items.
        denied: phrases that its sentences call unseen, saying nothing else.
        denied_loosely: phrases that its sentences seem to call unseen.
        vague: phrases in sentences with more than one reading.
        refuses: it says that the work was not done, or reports an error.
        boxes_in_text: at least so many boxes stand in it.
        open_ended: as in ``Found``.
    """

    status: ReplyStatus
    blocks: tuple[Block, ...] = ()
    denied: frozenset[int] = frozenset()
    denied_loosely: frozenset[int] = frozenset()
    vague: frozenset[int] = frozenset()
    refuses: bool = False
    boxes_in_text: int = 0
    open_ended: bool = False


def find_answer(text: str, asked: Asked) -> Answer:
    """The answer in the text of a reply."""
    text = without_thoughts(text)
    text, whole = unwrapped(text)
    escaped = text if whole is not None else _with_escapes(text, asked)
    repaired, text = escaped != text, escaped
    reader = Reader(asked)
    found = find_json(text, reader.shape)
    if found and (
        found.status is ReplyStatus.OK or max(found.values[0][1], Shape.BARE) > Shape.BARE
    ):
        answer = _structured(text, found, reader)
    else:
        answer = _laid_out(text, whole, reader)
        if found and found.status is ReplyStatus.TRUNCATED:
            answer = replace(answer, status=ReplyStatus.TRUNCATED)
    if repaired and answer.status is ReplyStatus.OK:
        answer = replace(answer, status=ReplyStatus.REPAIRED)
    values = (
        [whole] if whole is not None else [value.value for value in read_values(text[:20_000])[:50]]
    )
    if any(map(is_error, values)) or refuses(text, asked):
        answer = replace(answer, refuses=True)
        if answer.status is ReplyStatus.UNPARSEABLE:
            return replace(answer, status=ReplyStatus.REFUSED)
    return answer


def _with_escapes(text: str, asked: Asked) -> str:
    """``text`` with the quotes escaped inside of phrases that were copied as they are."""
    for phrase in asked.texts:
        inner = phrase.strip()
        if '"' in inner[1:-1] and not (inner[0] == '"' == inner[-1] and inner.count('"') == 2):
            text = text.replace(inner, inner.replace('"', '\\"'))
    return text


def _structured(text: str, found: Found, reader: Reader) -> Answer:
    """The answer in JSON whose items have owners."""
    blocks = list(_blocks(found, reader))
    if any(item.boxes or item.unseen for block in blocks for item in block.items):
        # An echo of what was asked says nothing beside an answer.
        blocks = [block for block in blocks if not _is_echo(block)]
    strict, loose = _denials(found.prose, reader.asked)
    return Answer(
        found.status,
        tuple(blocks),
        denied=strict,
        denied_loosely=loose,
        boxes_in_text=_count_boxes(text) if found.status is ReplyStatus.REPAIRED else 0,
        open_ended=found.open_ended,
    )


def _blocks(found: Found, reader: Reader) -> Iterator[Block]:
    pending: list[Item] = []
    correcting = False
    for place, ((value, shape), lead) in enumerate(zip(found.values, found.prose, strict=False)):
        items = reader.items(value)
        heading = name_in(plain_lines(lead).strip().rpartition("\n")[2], reader.asked)
        if not any(item.owned for item in items) and reader.asked.named(heading):
            items = [item.under(Item(labels=(heading,))) for item in items]
        entry = shape is Shape.WEAK and isinstance(value, dict) and len(items) == 1
        if pending and not (entry and _ENTRIES.fullmatch(lead)):
            yield Block(tuple(pending), correcting)
            pending = []
        if not pending:
            correcting = place > 0 and corrects(lead)
        pending.extend(items)
        if not entry:
            yield Block(tuple(pending), correcting)
            pending = []
    if pending:
        yield Block(tuple(pending), correcting)


def _is_echo(block: Block) -> bool:
    return bool(block.items) and all(
        item.unread and not item.boxes and not item.unseen for item in block.items
    )


def _denials(prose: tuple[str, ...], asked: Asked) -> tuple[frozenset[int], frozenset[int]]:
    found = {claim for text in prose for claim in denied(text, asked)}
    return (
        frozenset(index for index, strictly in found if strictly),
        frozenset(index for index, _ in found),
    )


def _laid_out(text: str, whole: Any, reader: Reader) -> Answer:
    """The answer in tags, tables, XML or lines; text inside of JSON is read as well."""
    if whole is not None:
        text = "\n".join(_texts_in(whole))
    asked = reader.asked
    plain = plain_lines(text)
    if not _NATIVE.search(text):
        for layout in (layouts.markup, layouts.table, layouts.members):
            values = layout(plain if layout is not layouts.markup else text)
            items = reader.items(values) if values else []
            if any((item.boxes or item.unseen) and item.owned for item in items):
                return _of_items(items, text, asked)
    lines = read_lines(text, asked)
    answer = _of_items(lines.items, text, asked)
    if lines.open:
        return replace(answer, status=ReplyStatus.TRUNCATED, vague=lines.vague)
    return replace(answer, vague=lines.vague)


def _of_items(items: Any, text: str, asked: Asked) -> Answer:
    strict, loose = _denials((text,), asked)
    if not strict and not any(item.boxes or item.unseen for item in items):
        return Answer(ReplyStatus.UNPARSEABLE)
    return Answer(
        ReplyStatus.REPAIRED,
        (Block(tuple(items)),),
        denied=strict,
        denied_loosely=loose,
        open_ended=True,
    )


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)


def _count_boxes(text: str) -> int:
    return len(_QUAD.findall(text))
