# SPDX-License-Identifier: Apache-2.0
"""What a value of a grounding reply says, whichever of the many shapes it has."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.replies.lenient import (
    LOST,
    CutList,
    CutObject,
    LossyObject,
    RepeatedObject,
)
from image_grounding.replies.members import (
    ABSENT_KEYS,
    ID_KEYS,
    KIND_KEYS,
    LABEL_KEYS,
    LONG_KEYS,
    SCORE_KEYS,
    SEEN_KEYS,
    answer_list,
    describes,
    is_box_text,
    is_empty,
    is_example,
    is_flat,
    json_in,
    not_seen,
)
from image_grounding.replies.numbers import (
    BOX_KEYS,
    No,
    RawBox,
    Reading,
    as_number,
    as_score,
    box_of_members,
    box_of_points,
    boxes_in,
    has_box,
)
from image_grounding.replies.phrases import Asked, is_neutral
from image_grounding.replies.text import MAX_LEVELS, Shape, first, lowered


@dataclass(frozen=True)
class Item:
    """What a reply says under one id or name.

    Attributes:
        id: its id as written, a whole number.
        labels: what it is called, the nearest name last.
        kinds: what kind of thing it is said to be.
        boxes: its boxes, each with its score.
        unseen: it says that its phrase is not to be seen.
        unread: how many things in the place of a box cannot be read.
        mute: it has nothing in the place of a box.
        cut: the end of the reply cuts it.
        apart: an entry of a list of what is absent.
    """

    id: int | None = None
    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    boxes: tuple[tuple[RawBox, float | None], ...] = ()
    unseen: bool = False
    unread: int = 0
    mute: bool = False
    cut: bool = False
    apart: bool = False

    @property
    def owned(self) -> bool:
        """Whether it says by itself what it is about."""
        return self.id is not None or bool(self.labels or self.kinds)

    def under(self, outer: "Item") -> "Item":
        """The item with what stands around it, where it does not say so itself."""
        return replace(
            self,
            id=self.id if self.id is not None else outer.id,
            labels=outer.labels + self.labels,
            kinds=outer.kinds + self.kinds,
            unseen=self.unseen or outer.unseen,
        )


_NOBODY = Item()


@dataclass(frozen=True)
class Reader:
    """Reads values as answers about the phrases that were asked for."""

    asked: Asked

    def shape(self, value: Any) -> Shape:
        """How much ``value`` looks like an answer; see ``Shape``."""
        if isinstance(value, dict):
            listed = answer_list(lowered(value))
            if isinstance(listed, list):
                return Shape.NONE if listed and all(map(is_example, listed)) else Shape.STRONG
        if isinstance(value, CutList) and any(self.shape(part) is Shape.STRONG for part in value):
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
        return _with_id(name, Item(labels=self._telling([name]))).under(outer)

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
        elif value is None or (isinstance(value, str) and is_box_text(value)):
            item = _item([(reading, None) for reading in boxes_in(value)])
            if outer.owned or item.boxes:
                yield item.under(outer)

    def _read_list(self, value: list[Any], outer: Item, level: int) -> Iterator[Item]:
        if row := self._row(value):
            yield row.under(outer)
            return
        readings = boxes_in(value)
        is_box = box_of_points(value) is not None
        if any(isinstance(part, dict | list) for part in value) and not is_box:
            for part in value:
                yield from self._read(part, outer, level + 1)
        elif isinstance(value, CutList) or not (value or outer.owned):
            if outer.owned:
                yield replace(outer, cut=True)
        elif is_box or is_flat(value):
            yield _item([(one, None) for one in readings]).under(outer)
        else:
            for part in value:
                if isinstance(part, str) and self.asked.holds(part):
                    yield Item(labels=(part,), unread=1, mute=True)
                else:
                    yield from self._read(part, outer, level + 1)

    def _row(self, value: list[Any]) -> Item | None:
        """A name and its box in one list: ``["a dog", 1, 2, 3, 4]``, maybe with more texts."""
        texts = [part for part in value if isinstance(part, str) and not is_box_text(part)]
        rest = [part for part in value if not any(part is text for text in texts)]
        if not texts or not rest or isinstance(value, CutList):
            return None
        names = [text for text in texts if self.asked.named(text)]
        readings = boxes_in(rest[0] if len(rest) == 1 else rest)
        if len(names or texts) > 1 or not all(isinstance(box, RawBox) for box in readings):
            return None
        return replace(_item([(box, None) for box in readings]), labels=tuple(names or texts))

    def _read_object(self, value: Mapping[str, Any], outer: Item, level: int) -> Iterator[Item]:
        if not value or is_example(value):
            return
        keys = lowered(value)
        for name in ABSENT_KEYS:
            if isinstance(keys.get(name), list | dict | str):
                yield from self._absences(keys[name])
                keys.pop(name)
        listed = answer_list(keys)
        described = describes(keys)
        keyed = not described and any(self.asked.holds(name) for name in value)
        if keyed or not (described or has_box(keys) or isinstance(listed, list | dict)):
            for name, part in value.items():
                if lowered({name: 0}).keys() & keys.keys():
                    yield from self._read(part, self._called(name, outer), level + 1)
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
        telling = tuple(label for label in labels if self.asked.named(label))
        item = Item(labels=telling or labels[:1], kinds=kinds, unseen=not_seen(keys))
        number = first(keys, ID_KEYS)
        label = first(keys, LABEL_KEYS)
        if number is None and not labels and isinstance(label, str):
            number = label if label.strip().isdecimal() else None
        given = _with_id(number, item)
        if given.id is None and isinstance(number, str) and not is_neutral(number):
            return replace(item, labels=item.labels or (number,))  # the phrase in its id's place
        if given.id is None and isinstance(number, float):
            return replace(given, id=-1)  # no id of anything
        return given

    def _absences(self, value: Any) -> Iterator[Item]:
        """The entries of a list of what is absent: ids, texts or objects with either."""
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                entry = self._owner(lowered(part))
                if entry.owned:
                    yield replace(entry, unseen=True, apart=True)
                else:
                    yield from map(self._absent, part)
            elif part is not None and not (isinstance(part, str) and is_empty(part)):
                yield self._absent(part)

    def _absent(self, entry: Any) -> Item:
        own = self._called(entry, _NOBODY) if isinstance(entry, str) else _with_id(entry, Item())
        return replace(own if own.owned else Item(id=-1), unseen=True, apart=True)

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
        item = replace(_item(scored), mute=not has_box(keys)).under(own)
        if isinstance(value, LossyObject):
            item = replace(item, unread=item.unread + 1, mute=False)
        if item.unseen and item.mute:
            item = replace(item, unread=0)
        yield _unless_seen(item, keys)

    def _are_objects(self, value: Any) -> bool:
        """Whether under a box's key stand whole entries."""
        if isinstance(value, dict):
            return isinstance(value, RepeatedObject) or describes(lowered(value))
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
            yield _item([reading]).under(_with_id(number, own))


def _unless_seen(item: Item, keys: Mapping[str, Any]) -> Item:
    """The item, unless what it says of being seen and its boxes contradict each other."""
    seen = [keys[name] for name in SEEN_KEYS if name in keys]
    if item.unseen and item.boxes:
        # A box from the corner on is a placeholder; another one contradicts.
        placeholder = all(box.numbers[:2] == (0, 0) for box, _ in item.boxes)
        return replace(item, boxes=(), unread=0 if placeholder else 1)
    if item.unseen and any(value is True for value in seen):
        return replace(item, unread=1)
    if any(box.numbers[:2] == (0, 0) and score == 0 for box, score in item.boxes):
        return replace(item, boxes=(), unread=1)
    return item


def _item(readings: list[tuple[Reading, float | None]]) -> Item:
    boxes = tuple(
        (reading, score if score is not None else reading.score)
        for reading, score in readings
        if isinstance(reading, RawBox)
    )
    kinds = [reading for reading, _ in readings]
    return Item(boxes=boxes, unseen=No.BOX in kinds, unread=kinds.count(No.SENSE))


def _with_id(value: Any, item: Item) -> Item:
    number = as_number(value)
    if isinstance(value, str) and not value.strip().isdecimal():
        return item
    if number is None or not number.is_integer():
        return item
    return replace(item, id=int(number))
