# SPDX-License-Identifier: Apache-2.0
"""An entry of a grounding reply: what it is called, its boxes, and whether it is to be seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.replies.lenient import read_values
from image_grounding.replies.numbers import (
    No,
    RawBox,
    Reading,
    as_number,
    box_of_members,
    says_none,
)
from image_grounding.replies.text import PLACEHOLDERS, first, lowered

LIST_KEYS = (
    "instances", "objects", "detections", "results", "annotations", "groundings", "predictions",
    "detected_objects", "regions",
)  # fmt: skip
SCORE_KEYS = ("score", "scores", "confidence", "confidences", "conf", "bbox_score", "prob")
# What names the phrase, what names its kind, and what describes the thing at length.
LABEL_KEYS = (
    "label", "labels", "text", "phrase", "expression", "name", "names", "referring_expression",
    "query", "ref", "target", "text_content",
)  # fmt: skip
KIND_KEYS = (
    "category", "class", "class_name", "category_name", "object", "object_name", "entity",
    "sub_label", "sublabel", "noun", "noun_chunk",
)  # fmt: skip
# These may say anything; what they say counts where it is a phrase, or where nothing else does.
LOOSE_KEYS = ("type", "tag", "title", "kind", "thing", "what")
LONG_KEYS = ("description", "desc", "caption")
ID_KEYS = (
    "id", "expression_id", "index", "expression_index", "ids", "phrase_id", "idx", "query_id",
)  # fmt: skip
ABSENT_KEYS = (
    "absent", "absent_ids", "not_visible", "not_found", "not_present", "missing", "unseen",
    "invisible", "absent_expressions", "not_in_image",
)  # fmt: skip
UNSURE_KEYS = (
    "uncertain", "unsure", "ambiguous", "unclear", "unknown", "skipped", "not_sure",
)  # fmt: skip
_SEEN_KEYS = (
    "visible", "is_visible", "found", "present", "is_present", "exists", "detected", "in_image",
    "visibility", "status", "seen", "presence",
)  # fmt: skip
_NOT_SEEN = frozenset({"false", "no", "none", "0", "not_detected", "hidden"})


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
        lossy: what was lost near it may have been another item's.
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
    lossy: bool = False
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


def item_of(readings: Iterable[tuple[Reading, float | None]]) -> Item:
    """An item of what stands in the place of boxes, each with its score."""
    readings = list(readings)
    boxes = tuple(
        (reading, score if score is not None else reading.score)
        for reading, score in readings
        if isinstance(reading, RawBox)
    )
    kinds = [reading for reading, _ in readings]
    return Item(boxes=boxes, unseen=No.BOX in kinds, unread=kinds.count(No.SENSE))


def with_id(value: Any, item: Item) -> Item:
    """The item with an id, where ``value`` is a whole number."""
    number = as_number(value)
    if isinstance(value, str) and not value.strip().isdecimal():
        return item
    if number is None or not number.is_integer():
        return item
    return replace(item, id=int(number))


def not_seen(keys: Mapping[str, Any]) -> bool:
    """Whether an object says that its phrase is not to be seen."""
    if any(keys.get(name) is True for name in ABSENT_KEYS):
        return True
    for name in _SEEN_KEYS:
        value = keys.get(name)
        if value is False or (value == 0 and not isinstance(value, str) and value is not None):
            return True
        if isinstance(value, str):
            text = value.strip().lower().replace(" ", "_")
            if text in _NOT_SEEN or says_none(value):
                return True
    return False


def unless_seen(item: Item, keys: Mapping[str, Any]) -> Item:
    """The item, unless what it says of being seen and its boxes contradict each other."""
    seen = [keys[name] for name in _SEEN_KEYS if name in keys]
    if item.unseen and item.boxes:
        # A box from the corner on is a placeholder; another one contradicts.
        placeholder = all(box.numbers[:2] == (0, 0) for box, _ in item.boxes)
        return replace(item, boxes=(), unread=0 if placeholder else 1)
    if item.unseen and any(value is True for value in seen):
        return replace(item, unread=1)
    if any(box.numbers[:2] == (0, 0) and score == 0 for box, score in item.boxes):
        return replace(item, boxes=(), unread=1)
    return item


def describes(keys: Mapping[str, Any]) -> bool:
    """Whether an object has an id or a name, or lists of them."""
    for name in (*LABEL_KEYS, *KIND_KEYS, *ID_KEYS):
        value = keys.get(name)
        if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
            return True
        if name in keys and not isinstance(value, dict | list):
            return True
    return False


def listed_in(keys: Mapping[str, Any]) -> Any:
    """The list of an answer; a text may hold it."""
    listed = first(keys, LIST_KEYS)
    if isinstance(listed, str) and listed.lstrip()[:1] in ("[", "{"):
        return json_in(listed)
    return listed


def json_in(text: str) -> Any:
    """The value of a text that is JSON from its begin to its end; None for another one."""
    values = read_values(text)
    return values[0].value if values and values[0].end >= len(text.rstrip()) else None


def is_example(item: Any) -> bool:
    """Whether an item is the prompt's own, echoed."""
    if not isinstance(item, dict):
        return False
    keys = lowered(item)
    label = first(keys, LABEL_KEYS)
    if not isinstance(label, str) or label not in PLACEHOLDERS:
        return False
    return not any(isinstance(reading, RawBox) for reading in box_of_members(keys))
