# SPDX-License-Identifier: Apache-2.0
"""From the text of a reply to the items of its answer, whatever it is written as."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.replies import layouts
from image_grounding.replies.asked import Asked
from image_grounding.replies.items import Item
from image_grounding.replies.lenient import Value, read_values
from image_grounding.replies.lines import name_in, plain_lines, read_lines, undecorated
from image_grounding.replies.numbers import NUMBER, says_none
from image_grounding.replies.prose import corrects, denied, is_error, refuses, withdrawn
from image_grounding.replies.reader import Reader
from image_grounding.replies.text import (
    Found,
    ReplyStatus,
    Shape,
    find_json,
    unwrapped,
    without_thoughts,
)

_N = rf"(?<![\w.]){NUMBER}"
_RUN = re.compile(rf"{_N}(?:(?:,\s{{0,40}}|[^\w\n]{{1,4}}){_N}){{2,}}")
_NATIVE = re.compile(r"<\|?(?:ref|object_ref_start|box_start|det)\|?>|<b?box>[^<]*\d")
_ELEMENT = re.compile(r"<(?:label|name|object|item|instance|annotation|detection|element)\b")
_WIDE = re.compile(r"[\uff3b\uff5b]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
# Wrappers around an answer that are opened, and how far a text is looked at for errors.
_MAX_WRAPPERS = 2
_FIRST = 20_000
_IN_WORDS = re.compile(r"\s*(?:none|not|no)\b", re.IGNORECASE)
_ENTRIES = re.compile(r"[\s,;`]*(?:json)?[\s,;`]*")


@dataclass(frozen=True)
class Block:
    """Items that were written in one go; ``corrects`` where they replace what was before."""

    items: tuple[Item, ...]
    corrects: bool = False
    in_prose: bool = False


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
        numbers: those that stand several together in it, as in boxes.
        open_ended: as in ``Found``.
    """

    status: ReplyStatus
    blocks: tuple[Block, ...] = ()
    denied: frozenset[int] = frozenset()
    denied_loosely: frozenset[int] = frozenset()
    vague: frozenset[int] = frozenset()
    refuses: bool = False
    numbers: tuple[tuple[float, ...], ...] = ()
    open_ended: bool = False


def find_answer(text: str, asked: Asked) -> Answer:
    """The answer in the text of a reply."""
    return _find(without_thoughts(text), Reader(asked), 0)


def _find(text: str, reader: Reader, level: int) -> Answer:
    text, whole = unwrapped(text)
    if whole is not None and level < _MAX_WRAPPERS and not reader.shape(whole):
        # The answer is a text inside of it, as in the body of a completion.
        answer = _find("\n".join(_texts_in(whole)), reader, level + 1)
        return _refused(answer, text, [whole], reader.asked)
    mended = text if whole is not None else _mended(text, reader.asked)
    found = find_json(mended, reader.shape)
    laid_out = None
    if found is None or (found.shape < Shape.WEAK and found.status is not ReplyStatus.OK):
        laid_out = _laid_out(mended, reader, found)
    in_json = _structured(found, reader) if found else Answer(ReplyStatus.UNPARSEABLE)
    answer = laid_out or in_json
    if mended != text and answer.status is ReplyStatus.OK:
        answer = replace(answer, status=ReplyStatus.REPAIRED)
    values = [value.value for value in read_values(mended[:_FIRST])[:50]]
    return _refused(answer, mended, values if whole is None else [whole], reader.asked)


def _refused(answer: Answer, text: str, values: Sequence[Any], asked: Asked) -> Answer:
    """The answer, with what it refuses."""
    if answer.refuses or any(map(is_error, values)) or refuses(text, asked):
        unread = answer.status is ReplyStatus.UNPARSEABLE
        return replace(
            answer, refuses=True, status=ReplyStatus.REFUSED if unread else answer.status
        )
    return answer


def _mended(text: str, asked: Asked) -> str:
    """Text without what upsets all readers: entities, wide forms, quotes copied with a phrase."""
    if "&quot;" in text or "&#34;" in text:
        text = html.unescape(text)
    if _WIDE.search(text):
        text = text.translate(_NARROW)
    for phrase in asked.texts:
        inner = phrase.strip()
        if '"' in inner[1:-1] and not (inner[0] == '"' == inner[-1] and inner.count('"') == 2):
            text = text.replace(inner, inner.replace('"', '\\"'))
    return text


def _structured(found: Found, reader: Reader) -> Answer:
    """The answer in JSON."""
    named = [
        (shape, value)
        for shape, value in found.values
        if shape is not Shape.BARE or isinstance(value.value, dict)
    ]
    values = named or list(found.values)
    ends = [0, *(value.end for _, value in values)]
    starts = [*(value.start for _, value in values), len(found.text)]
    prose = [found.text[end:start] for end, start in zip(ends, starts, strict=True)]
    blocks = list(_blocks(values, prose, reader))
    if any(item.boxes or item.unseen for block in blocks for item in block.items):
        # An echo of what was asked says nothing beside an answer.
        blocks = [block for block in blocks if not _is_echo(block)]
    strict, loose = _denials(prose, reader.asked)
    # What is taken back behind the last value stays so.
    loose |= withdrawn(prose[-1], reader.asked) or frozenset()
    if any(_corrects_something(block, reader.asked) for block in blocks):
        loose |= frozenset(range(len(reader.asked)))
    repaired = found.status is ReplyStatus.REPAIRED
    # Before an answer of the form that was asked for stand drafts.
    start = values[0][1].start if found.shape is Shape.STRONG else 0
    return Answer(
        found.status,
        tuple(blocks),
        denied=strict,
        denied_loosely=loose,
        numbers=tuple(_numbers(found.text[start:])) if repaired else (),
        open_ended=found.open_ended,
    )


def _blocks(
    values: Sequence[tuple[Shape, Value]], prose: Sequence[str], reader: Reader
) -> Iterator[Block]:
    pending: list[Item] = []
    correcting = False
    for place, (shape, value) in enumerate(values):
        lead = prose[place]
        items = reader.items(value.value)
        heading = name_in(plain_lines(lead).strip().rpartition("\n")[2], reader.asked)
        if not any(item.owned for item in items) and reader.asked.named(heading):
            items = [item.under(Item(labels=(heading,))) for item in items]
        entry = shape <= Shape.WEAK and isinstance(value.value, dict) and len(items) == 1
        if pending and not (entry and _ENTRIES.fullmatch(lead)):
            yield Block(tuple(pending), correcting)
            pending = []
        if place and (block := _in_prose(lead, reader.asked)):
            yield block
        if not pending:
            correcting = place > 0 and corrects(lead)
        pending.extend(items)
        if not entry:
            yield Block(tuple(pending), correcting)
            pending = []
    if pending:
        yield Block(tuple(pending), correcting)
    if block := _in_prose(prose[-1], reader.asked):
        yield block


def _in_prose(text: str, asked: Asked) -> Block | None:
    """Boxes between or behind the values, which add to them or correct them."""
    items = [item for item in read_lines(text, asked).items if item.boxes]
    return Block(tuple(items), corrects(text), in_prose=True) if items else None


def _corrects_something(block: Block, asked: Asked) -> bool:
    """Whether prose gives a new box and does not say of what."""
    unnamed = block.in_prose and not all(item.owned for item in block.items)
    return unnamed and (block.corrects or len(asked) == 1)


def _is_echo(block: Block) -> bool:
    return bool(block.items) and all(item.mute and not item.unseen for item in block.items)


def _denials(prose: Sequence[str], asked: Asked) -> tuple[frozenset[int], frozenset[int]]:
    found = {claim for text in prose for claim in denied(text, asked)}
    return (
        frozenset(index for index, strictly in found if strictly),
        frozenset(index for index, _ in found),
    )


def _laid_out(text: str, reader: Reader, found: Found | None) -> Answer | None:
    """The answer in tags, tables, XML, YAML or lines; None where there is none."""
    asked = reader.asked
    cut = found is not None and found.status is ReplyStatus.TRUNCATED
    vague: frozenset[int] = frozenset()
    items: list[Item] = []
    if not _NATIVE.search(text) or _ELEMENT.search(text):
        for layout in (layouts.table, layouts.markup, layouts.yaml_members):
            values = layout(undecorated(text) if layout is layouts.yaml_members else text)
            items = reader.items(values) if values else []
            if _are_clear(items, asked):
                break
        else:
            items = []
    if not items:
        lines = read_lines(text, asked)
        items, vague = list(lines.items), lines.vague
        cut = cut or lines.open
    strict, loose = _denials((text,), asked)
    if len(asked) == 1 and says_none(text) and _IN_WORDS.match(text):
        strict = frozenset({0})
    if not strict and not any(item.boxes or item.unseen for item in items):
        return None
    return Answer(
        ReplyStatus.TRUNCATED if cut else ReplyStatus.REPAIRED,
        (Block(tuple(items)),),
        denied=strict,
        denied_loosely=loose,
        vague=vague,
        numbers=tuple(_numbers(text)),
        open_ended=True,
    )


def _numbers(text: str) -> Iterator[tuple[float, ...]]:
    for run in _RUN.finditer(text):
        yield tuple(map(float, re.findall(_N, run[0])))


def _are_clear(items: Sequence[Item], asked: Asked) -> bool:
    """Whether a layout gives names or ids to all that it has, so that it is no chance."""
    telling = [item for item in items if item.boxes or item.unseen]
    return bool(telling) and all(
        item.id is not None or any(map(asked.named, item.labels + item.kinds)) for item in telling
    )


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)
