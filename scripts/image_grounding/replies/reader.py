# SPDX-License-Identifier: Apache-2.0
"""What a value of a grounding reply says, whichever of the many shapes it has."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.replies.asked import Asked
from image_grounding.replies.items import (
    ABSENT_KEYS,
    ID_KEYS,
    KIND_KEYS,
    LABEL_KEYS,
    LONG_KEYS,
    LOOSE_KEYS,
    SCORE_KEYS,
    UNSURE_KEYS,
    Item,
    describes,
    is_example,
    item_of,
    json_in,
    listed_in,
    not_seen,
    unless_seen,
    with_id,
)
from image_grounding.replies.lenient import (
    LOST,
    BareText,
    CutList,
    CutObject,
    LossyObject,
    RepeatedObject,
)
from image_grounding.replies.numbers import (
    BOX_KEYS,
    No,
    Reading,
    as_number,
    as_score,
    box_of_members,
    box_of_points,
    boxes_in,
    boxes_in_text,
    has_box,
    says_none,
)
from image_grounding.replies.phrases import is_neutral
from image_grounding.replies.text import MAX_LEVELS, Shape, first, lowered

_NOBODY = Item()
_DAMAGED_ID = re.compile(r"\d+\W*\w?")  # "3x": a box under it may belong to any phrase


@dataclass(frozen=True)
class Reader:
    """Reads values as answers about the phrases that were asked for."""

    asked: Asked

    def shape(self, value: Any) -> Shape:
        """How much ``value`` looks like an answer; see ``Shape``."""
        if isinstance(value, dict):
            listed = listed_in(lowered(value))
            if isinstance(listed, list):
                return Shape.NONE if listed and all(map(is_example, listed)) else Shape.STRONG
        if isinstance(value, CutList) and any(map(_is_answer, value)):
            return Shape.NONE  # a stray bracket before the answer
        if value == []:
            return Shape.NONE if isinstance(value, CutList) else Shape.EMPTY
        if not isinstance(value, dict | list):
            return Shape.NONE
        items = self.items(value)
        if not any(map(self._tells, items)):
            return Shape.NONE
        return Shape.WEAK if any(item.owned or item.cut for item in items) else Shape.BARE

    def _tells(self, item: Item) -> bool:
        if item.cut or item.boxes:
            return True
        return any(self.asked.holds(label) for label in item.labels) or (
            item.unseen and item.id is not None
        )

    def _telling(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that name something."""
        return tuple(
            name for name in names if not is_neutral(name) or self.asked.named_exactly(name)
        )

    def _called(self, name: str, outer: Item) -> Item:
        """What stands under a key, which may be a name, an id, or nothing of that."""
        return with_id(name, Item(labels=self._telling([name]))).under(outer)

    def items(self, value: Any) -> list[Item]:
        """All that ``value`` says."""
        return list(self._read(value, _NOBODY, 0))

    def _read(self, value: Any, outer: Item, level: int) -> Iterator[Item]:
        """Items of a value that stands under ``outer``, which may name what they are about."""
        if level > MAX_LEVELS:
            return
        if isinstance(value, RepeatedObject):
            for part in value.parts:
                yield from self._read_object(part, outer, level)
        elif isinstance(value, dict):
            yield from self._read_object(value, outer, level)
        elif isinstance(value, list):
            yield from self._read_list(value, outer, level)
        elif isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and json_in(value):
            yield from self._read(json_in(value), outer, level + 1)
        elif value is LOST and outer.owned:
            yield replace(outer, unread=1)
        elif value is False and outer.owned:
            yield replace(outer, unseen=True)
        elif outer.labels and self.asked.named_exactly(outer.labels[-1]) and not _is_none(value):
            yield replace(outer, unread=1)  # something else than a box, or the word for none
        elif value is None or (isinstance(value, str) and _is_box_text(value)):
            item = self._boxes(value)
            if outer.owned or item.boxes:
                yield item.under(outer)

    def _read_list(self, value: list[Any], outer: Item, level: int) -> Iterator[Item]:
        if row := self._row(value):
            yield row.under(outer)
            return
        is_box = box_of_points(value) is not None
        if any(isinstance(part, dict | list) for part in value) and not is_box:
            for part in value:
                yield from self._read(part, outer, level + 1)
        elif isinstance(value, CutList) or not (value or outer.owned):
            if outer.owned:
                yield replace(outer, cut=True)
        elif is_box or _is_flat(value):
            yield self._boxes(value).under(outer)
        else:
            for part in value:
                if isinstance(part, BareText):
                    continue
                if isinstance(part, str) and self.asked.holds(part):
                    yield Item(labels=(part,), unread=1, mute=True)
                else:
                    yield from self._read(part, outer, level + 1)

    def _row(self, value: list[Any]) -> Item | None:
        """A name and its box in one list: ``["a dog", 1, 2, 3, 4]``, maybe with more texts."""
        texts = [part for part in value if isinstance(part, str) and not _is_box_text(part)]
        rest = [part for part in value if not any(part is text for text in texts)]
        if not texts or not rest or isinstance(value, CutList):
            return None
        names = [text for text in texts if self.asked.named(text)]
        item = self._boxes(rest[0] if len(rest) == 1 else rest)
        if len(names or texts) > 1 or item.unread or item.unseen:
            return None
        return replace(item, labels=tuple(names or texts))

    @staticmethod
    def _boxes(value: Any) -> Item:
        return item_of((reading, None) for reading in boxes_in(value))

    def _read_object(self, value: Mapping[str, Any], outer: Item, level: int) -> Iterator[Item]:
        if not value or is_example(value):
            return
        keys = lowered(value)
        for name in ABSENT_KEYS:
            listed_ids = name in ("absent", "absent_ids") and type(keys.get(name)) is int
            if listed_ids or isinstance(keys.get(name), list | dict | str):
                yield from self._entries(keys.pop(name), Item(unseen=True, apart=True))
        for name in UNSURE_KEYS:
            if isinstance(keys.get(name), list):
                yield from self._entries(keys.pop(name), Item(unread=1, apart=True))
        listed = listed_in(keys)
        described = describes(keys)
        keyed = not described and any(self.asked.holds(name) for name in value)
        if keyed or not (described or has_box(keys) or isinstance(listed, list | dict)):
            found = [
                item
                for name, part in value.items()
                if lowered({name: 0}).keys() & keys.keys()
                for item in self._read(part, self._called(name, outer), level + 1)
            ]
            yield from found
            if isinstance(value, LossyObject) and any(item.boxes or item.unseen for item in found):
                yield Item(unread=1, lossy=True)
            return
        own = self._owner(keys).under(outer)
        if isinstance(listed, list | dict) and (listed or not has_box(keys)):
            yield from self._read(listed, own, level + 1)
        if has_box(keys) or (described and not isinstance(listed, list | dict)):
            yield from self._described(value, keys, own, level)

    def _owner(self, keys: Mapping[str, Any]) -> Item:
        """What an object says of itself: id, names, and whether it is to be seen."""
        labels, kinds, long = (
            self._telling(keys[name] for name in names if isinstance(keys.get(name), str))
            for names in (LABEL_KEYS, KIND_KEYS, LONG_KEYS)
        )
        labels = labels or (() if kinds else long)
        loose = [keys[name] for name in LOOSE_KEYS if isinstance(keys.get(name), str)]
        named = [name for name in loose if self.asked.named_exactly(name)]
        # Where nothing else tells what it is, they may name another thing.
        if not named and not labels and not kinds and first(keys, ID_KEYS) is None:
            named = loose
        kinds += self._telling(named)
        telling = tuple(label for label in labels if self.asked.named(label))
        item = Item(labels=telling or labels[:1], kinds=kinds, unseen=not_seen(keys))
        number = first(keys, ID_KEYS)
        label = first(keys, LABEL_KEYS)
        if number is None and not labels and isinstance(label, str):
            number = label if label.strip().isdecimal() else None
        given = with_id(number, item)
        if given.id is None and isinstance(number, str) and not is_neutral(number):
            if not item.labels and _DAMAGED_ID.fullmatch(number) and not self.asked.named(number):
                return item
            return replace(item, labels=item.labels or (number,))  # the phrase in its id's place
        if given.id is None and isinstance(number, float):
            return replace(given, id=-1)  # no id of anything
        return given

    def _entries(self, value: Any, what: Item) -> Iterator[Item]:
        """``what`` for each entry of a list: ids, texts or objects with either."""
        for part in value if isinstance(value, list) else [value]:
            entries = [part]
            if isinstance(part, dict):
                own = self._owner(lowered(part))
                entries = [own] if own.owned else list(part)
            elif part is None or (isinstance(part, str) and _is_empty(part)):
                entries = []
            for entry in entries:
                yield what.under(entry if isinstance(entry, Item) else self._entry(entry))

    def _entry(self, value: Any) -> Item:
        own = self._called(value, _NOBODY) if isinstance(value, str) else with_id(value, Item())
        return own if own.owned else Item(id=-1)

    def _described(
        self, value: Mapping[str, Any], keys: Mapping[str, Any], own: Item, level: int
    ) -> Iterator[Item]:
        """An object with boxes, and with scores, a label or an id or several of them."""
        if isinstance(value, CutObject):
            yield replace(own, cut=True)
            return
        inside = first(keys, BOX_KEYS)
        if self._are_objects(inside):  # boxes that have a name or a score of their own
            yield from self._read(inside, own, level + 1)
            return
        readings = box_of_members(keys)
        scores = first(keys, SCORE_KEYS)
        scores = scores if isinstance(scores, list) else [scores] * len(readings)
        scored = [
            (reading, as_score(scores[place]) if place < len(scores) else None)
            for place, reading in enumerate(readings)
        ]
        labels, ids = first(keys, LABEL_KEYS + KIND_KEYS), first(keys, ID_KEYS)
        if inside == [] in (labels, ids):
            return
        if isinstance(labels, list) or isinstance(ids, list):
            yield from self._in_columns(labels, ids, scored)
            return
        item = replace(item_of(scored), mute=not has_box(keys)).under(own)
        if isinstance(value, LossyObject):
            item = replace(item, unread=item.unread + 1, mute=False, lossy=True)
        if item.unseen and item.mute:
            item = replace(item, unread=0)
        yield unless_seen(item, keys)

    def _are_objects(self, value: Any) -> bool:
        """Whether under a box's key stand whole entries."""
        if isinstance(value, dict):
            keyed = any(map(self.asked.holds, value))
            return keyed or isinstance(value, RepeatedObject) or describes(lowered(value))
        if not isinstance(value, list) or not value:
            return False
        return all(
            (isinstance(part, dict) and has_box(lowered(part)))
            or (isinstance(part, list) and self._row(part) is not None)
            for part in value
        )

    def _in_columns(
        self, labels: Any, ids: Any, scored: list[tuple[Reading, float | None]]
    ) -> Iterator[Item]:
        """Labels or ids in one list, boxes in another; they belong together if they are as many."""
        for column in (labels, ids):
            if isinstance(column, list) and len(column) != len(scored):
                yield Item(labels=("?",), unread=len(scored))
                return
        for place, reading in enumerate(scored):
            name = labels[place] if isinstance(labels, list) else labels
            number = ids[place] if isinstance(ids, list) else None
            own = Item(labels=self._telling([name]) if isinstance(name, str) else ())
            yield item_of([reading]).under(with_id(number, own))


def _is_empty(text: str) -> bool:
    return not text.strip() or says_none(text)


def _is_flat(value: list[Any]) -> bool:
    """Whether a list holds numbers, nothing, or texts that are boxes."""
    numbers = any(as_number(part) is not None for part in value)
    return numbers or all(part is None or _is_box_text(part) for part in value)


def _is_box_text(value: Any) -> bool:
    return isinstance(value, str) and No.SENSE not in boxes_in_text(value)


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(listed_in(lowered(value)), list)


def _is_none(value: Any) -> bool:
    return value is None or _is_box_text(value)
