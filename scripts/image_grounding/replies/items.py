# SPDX-License-Identifier: Apache-2.0
"""What the JSON value of a grounding reply says, whichever of the many shapes it has."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.boxes.frames import Box
from image_grounding.replies.lenient import CutList, CutObject
from image_grounding.replies.matching import normalized
from image_grounding.replies.text import MAX_LEVELS, PLACEHOLDERS, Shape, first, lowered

_LIST_KEYS = ("instances", "objects", "detections", "results", "annotations", "groundings")
_BOX_KEYS = (
    "bbox_2d", "box_2d", "bbox", "box", "bboxes", "boxes", "bboxes_2d", "boxes_2d", "bbox2d",
    "box2d", "bounding_box", "bounding_boxes", "coordinates",
)  # fmt: skip
_SCORE_KEYS = ("score", "scores", "confidence", "confidences", "conf", "bbox_score")
_LABEL_KEYS = ("label", "labels", "text", "phrase", "expression", "name", "referring_expression")
_ID_KEYS = ("id", "expression_id", "index", "expression_index")
_CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class RawBox:
    """Four numbers; (x1, y1, x2, y2) where each came under its ``name``, else as a list."""

    numbers: Box
    named: bool = False


@dataclass(frozen=True)
class Item:
    """Boxes, each with its score, under one id or label.

    A box is None where what stands in its place is not four finite numbers. Without any box,
    the item says that its expression was not seen, or is ``cut`` by the end of the reply.
    """

    id: int | None
    label: str | None
    boxes: tuple[tuple[RawBox | None, float | None], ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class Reader:
    """Reads values; ``asked`` are the expressions asked for, normalized."""

    asked: frozenset[str]

    def shape(self, value: Any) -> Shape:
        """How much ``value`` looks like an answer; see ``Shape``."""
        if isinstance(value, dict) and isinstance(
            listed := first(lowered(value), _LIST_KEYS), list
        ):
            return Shape.NONE if listed and all(map(_is_example, listed)) else Shape.STRONG
        if isinstance(value, CutList) and any(self.shape(one) is Shape.STRONG for one in value):
            return Shape.NONE  # a stray bracket before the answer
        if value == []:
            return Shape.NONE if isinstance(value, CutList) else Shape.WEAK
        if isinstance(value, dict | list) and any(map(self._tells, self._read(value, None, 0))):
            return Shape.WEAK
        return Shape.NONE

    def _tells(self, item: Item) -> bool:
        if item.cut or any(box is not None for box, _ in item.boxes):
            return True
        return item.label is not None and normalized(item.label) in self.asked

    def items(self, value: Any) -> list[Item]:
        """All that ``value`` says."""
        return list(self._read(value, None, 0))

    def _read(self, value: Any, key: str | None, level: int) -> Iterator[Item]:
        """Items of a value that stands under ``key``, the nearest one that may be a label."""
        if level > MAX_LEVELS:
            return
        if isinstance(value, dict):
            yield from self._read_object(value, key, level)
        elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
            for one in value:
                yield from self._read(one, key, level + 1)
        elif isinstance(value, list) or (key and value is None) or _is_box_text(value):
            boxes = [] if isinstance(value, CutList) else _boxes(value)
            yield _item(key, [(box, None) for box in boxes])

    def _read_object(self, value: Mapping[str, Any], key: str | None, level: int) -> Iterator[Item]:
        keys = lowered(value)
        listed = first(keys, _LIST_KEYS)
        described = any(name in keys for name in (*_LABEL_KEYS, *_ID_KEYS))
        keyed = not described and any(normalized(name) in self.asked for name in value)
        if isinstance(listed, list | dict) and not keyed:
            yield from self._read(listed, key, level + 1)
        elif not keyed and (described or has_box(keys)):
            whole = not isinstance(value, CutObject)
            yield from _described(keys, key) if whole else (Item(None, key, cut=True),)
        else:
            for name, one in value.items():
                yield from self._read(one, name, level + 1)


def _is_example(item: Any) -> bool:
    """Whether an item is the prompt's own, echoed."""
    label = first(lowered(item), _LABEL_KEYS) if isinstance(item, dict) else None
    return isinstance(label, str) and label in PLACEHOLDERS


def _described(keys: Mapping[str, Any], key: str | None) -> Iterator[Item]:
    """An object with boxes, and with scores, a label or an id or several of them."""
    boxes = _boxes_of(keys)
    scores = first(keys, _SCORE_KEYS)
    scores = scores if isinstance(scores, list) else [scores] * len(boxes)
    scores = [as_score(score) for score in scores[: len(boxes)]]
    scored = list(zip(boxes, scores + [None] * (len(boxes) - len(scores)), strict=True))
    label = first(keys, _LABEL_KEYS)
    number = as_number(first(keys, _ID_KEYS))
    index = int(number) if number is not None and number.is_integer() else None
    if isinstance(label, list) and len(label) == len(boxes):
        for name, one in zip(label, scored, strict=True):
            yield Item(None, name if isinstance(name, str) else None, (one,))
    elif isinstance(label, str) or index is not None:
        yield Item(index, label if isinstance(label, str) else key, tuple(scored))
    else:
        yield _item(key, scored)


def _item(key: str | None, boxes: list[tuple[RawBox | None, float | None]]) -> Item:
    """An item under a key of an object, which may be an id in quotes."""
    number = as_number(key) if key and key.strip().isdecimal() else None
    return Item(int(number) if number is not None else None, key, tuple(boxes))


def has_box(keys: Mapping[str, Any]) -> bool:
    """Whether an object, by its keys as ``lowered`` gives them, holds a box itself."""
    return any(name in keys for name in _BOX_KEYS) or any(
        all(name in keys for name in names) for names in _CORNER_KEYS
    )


def _boxes_of(keys: Mapping[str, Any], level: int = 0) -> list[RawBox | None]:
    """The boxes of an object, by its keys as ``lowered`` gives them."""
    for names in _CORNER_KEYS:
        if all(name in keys for name in names):
            found = _boxes([keys[name] for name in names], level + 1)
            return [replace(box, named=True) if box else None for box in found]
    return _boxes(first(keys, _BOX_KEYS), level + 1) if has_box(keys) else [None]


def _boxes(value: Any, level: int = 0) -> list[RawBox | None]:
    """The boxes in a (nested) value; None for one that is not four finite numbers.

    Four zeros, or four times -1, are how some models say that there is nothing.
    """
    if isinstance(value, dict):
        return _boxes_of(lowered(value), level)
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip("[]() \t\n"))
    if value is None or value == []:
        return []
    if not isinstance(value, list) or level > MAX_LEVELS:
        return [None]
    if any(isinstance(one, list | dict) for one in value):
        return [box for one in value for box in _boxes(one, level + 1)]
    match [as_number(one) for one in value]:
        case [0 | -1 as nothing, *others] if others == [nothing] * 3:
            return []
        case [float(x1), float(y1), float(x2), float(y2)]:
            return [RawBox((x1, y1, x2, y2))]
    return [None]


def _is_box_text(value: Any) -> bool:
    return isinstance(value, str) and _boxes(value) != [None]


def as_number(value: Any) -> float | None:
    """A finite number, or a text that is one; None for anything else, booleans too."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value := value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_score(value: Any) -> float | None:
    """A score in 0..1; None for anything else: a score is never made up."""
    number = as_number(value)
    return number if number is not None and 0 <= number <= 1 else None
