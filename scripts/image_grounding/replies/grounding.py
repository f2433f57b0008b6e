# SPDX-License-Identifier: Apache-2.0
"""Replies to step 1: boxes for the referring expressions that were asked for."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from image_grounding.frames import Box
from image_grounding.replies.extraction import first, lowered
from image_grounding.replies.matching import Matcher
from image_grounding.replies.text import CUT, ReplyStatus, Shape, find_json

_LIST_KEYS = ("instances", "objects", "detections", "results", "annotations", "groundings")
_BOX_KEYS = (
    "bbox_2d", "box_2d", "bbox", "box", "bboxes", "boxes", "bboxes_2d", "boxes_2d", "bbox2d",
    "box2d", "bounding_box", "bounding_boxes", "coordinates",
)  # fmt: skip
_SCORE_KEYS = ("score", "scores", "confidence", "confidences", "conf", "bbox_score")
_LABEL_KEYS = ("label", "text", "phrase", "expression", "name", "referring_expression")
_ID_KEYS = ("id", "expression_id", "index", "expression_index")
_CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class RawInstance:
    """A box as a model wrote it, in its own convention, and the expression it is for."""

    expression: int
    numbers: Box
    score: float | None


@dataclass(frozen=True)
class GroundingReply:
    """What a reply to step 1 says. ``dropped`` counts, by reason, what could not be used."""

    status: ReplyStatus
    instances: tuple[RawInstance, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Item:
    """Boxes with one label or id; ``boxes`` holds None for one that is not four numbers."""

    id: int | None
    label: str | None
    boxes: list[tuple[Box | None, float | None]]


def read_grounding(text: str, expressions: Sequence[str]) -> GroundingReply:
    """Read a reply to step 1. Never raises, never returns a number that is not in ``text``.

    Args:
        text: the reply.
        expressions: the texts that were asked for; their position is their id.
    """
    found = find_json(text, _shape)
    if not found:
        return GroundingReply(ReplyStatus.UNPARSEABLE)
    dropped: Counter[str] = Counter()
    best = found[0]
    values = [best.value]
    if best.shape is Shape.WEAK:  # one object a line: all of them are the answer
        values = [item.value for item in found if item.shape is Shape.WEAK][::-1]
    status = (
        ReplyStatus.TRUNCATED
        if any(item.status is ReplyStatus.TRUNCATED for item in found if item.shape is best.shape)
        and best.shape is Shape.WEAK
        else best.status
    )
    items = [item for value in values for item in _items(value)]
    written = {float(match.group()) for match in _NUMBER.finditer(text)}
    matcher = Matcher(expressions, [item.id for item in items])
    instances = []
    for item in items:
        target = matcher.match(item.id, item.label)
        for numbers, score in item.boxes:
            if numbers is None:
                dropped["malformed"] += 1
            elif target is None:
                dropped["unmatched"] += 1
            elif not written.issuperset(numbers):
                dropped["not_in_reply"] += 1
            else:
                instances.append(RawInstance(target, numbers, score))
    return GroundingReply(status, tuple(instances), dropped)


def _shape(value: Any) -> Shape:
    if isinstance(value, dict):
        if isinstance(first(lowered(value), _LIST_KEYS), list):
            return Shape.STRONG
        return Shape.WEAK if any(item.boxes for item in _items(value)) else Shape.NONE
    if isinstance(value, list):
        if not value or any(
            isinstance(item, dict) and _box_value(item) is not None for item in value
        ):
            return Shape.STRONG if value else Shape.WEAK
        return Shape.WEAK if any(item.boxes for item in _items(value)) else Shape.NONE
    return Shape.NONE


def _items(value: Any) -> Iterator[_Item]:
    """All that a value says: a list of objects, an object of lists, or boxes alone."""
    if isinstance(value, dict):
        listed = first(lowered(value), _LIST_KEYS)
        if isinstance(listed, list):
            yield from _items(listed)
        elif _box_value(value) is not None:
            yield from _object(value, None)
        else:
            for key, inner in value.items():
                yield from _keyed(str(key), inner)
    elif isinstance(value, list):
        if any(isinstance(item, dict) for item in value):
            for item in value:
                if isinstance(item, dict):
                    yield from _items(item)
        elif boxes := _boxes(value):
            yield _Item(None, None, [(box, None) for box in boxes if box is not None])


def _keyed(key: str, inner: Any) -> Iterator[_Item]:
    """``"a red car": ...`` with an object, a list of objects, boxes or one flat box."""
    if isinstance(inner, dict) and CUT not in inner and _box_value(inner) is not None:
        yield from _object(inner, key)
    elif isinstance(inner, dict) and isinstance(listed := first(lowered(inner), _LIST_KEYS), list):
        yield from _keyed(key, listed)
    elif isinstance(inner, list) and any(isinstance(item, dict) for item in inner):
        for item in inner:
            if isinstance(item, dict):
                yield from _object(item, key)
    elif isinstance(inner, list):
        boxes = [(box, None) for box in _boxes(inner)]
        if boxes and any(box is not None for box, _ in boxes):
            yield _Item(None, key, list(boxes))


def _object(value: Mapping[Any, Any], key: str | None) -> Iterator[_Item]:
    if CUT in value:
        return
    keys = lowered(value)
    boxes = _boxes(_box_value(value))
    scores = first(keys, _SCORE_KEYS)
    scores = scores if isinstance(scores, list) else [scores] * len(boxes)
    scores = [*scores, *[None] * len(boxes)][: len(boxes)]
    given = as_number(first(keys, _ID_KEYS))
    label = first(keys, _LABEL_KEYS)
    label = label if isinstance(label, str) else key
    number = int(given) if given is not None and given == given // 1 else None
    yield _Item(
        number, label, [(box, as_score(score)) for box, score in zip(boxes, scores, strict=True)]
    )


def _box_value(value: Mapping[Any, Any]) -> Any:
    keys = lowered(value)
    if (listed := first(keys, _BOX_KEYS)) is not None:
        return listed
    for names in _CORNER_KEYS:
        if all(name in keys for name in names):
            return [keys[name] for name in names]
    return None


def _boxes(value: Any, depth: int = 0) -> list[Box | None]:
    """The boxes in a (nested) value; None for one that is not four numbers."""
    if isinstance(value, str):
        value = [match.group() for match in _NUMBER.finditer(value)]
    if isinstance(value, dict):
        inner = _box_value(value)
        return _boxes(inner, depth + 1) if inner is not None and CUT not in value else [None]
    if not isinstance(value, list) or depth > 4:
        return [None]
    if any(isinstance(item, list | dict) for item in value):
        return [
            box
            for item in value
            if isinstance(item, list | dict | str)
            for box in _boxes(item, depth + 1)
        ]
    if not value:
        return []
    numbers = [as_number(item) for item in value]
    if len(numbers) == 4 and all(number is not None for number in numbers):
        x1, y1, x2, y2 = (number for number in numbers if number is not None)
        return [(x1, y1, x2, y2)]
    return [None]


def as_number(value: Any) -> float | None:
    """A finite number, or a text that is one; None for anything else, booleans too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        value = float(value) if _NUMBER.fullmatch(value) else None
    try:
        number = float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def as_score(value: Any) -> float | None:
    """A score in 0..1; a percentage is divided by 100; None for anything else."""
    number = as_number(value)
    if number is None or not 0 <= number <= 100:
        return None
    if number <= 1:
        return number
    return number / 100 if number >= 2 else None
