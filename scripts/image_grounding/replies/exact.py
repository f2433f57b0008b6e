# SPDX-License-Identifier: Apache-2.0
"""Replies to step 1 that are exactly what was asked for, which most are: read at a glance.

The reader of everything else finds the same in them (a test compares), in thirty times the time.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from image_grounding.boxes.frames import Box

_KEYS = ({"instances"}, {"instances", "absent"})
_BOX_KEYS = frozenset({"bbox_2d", "box_2d", "bbox"})
_ITEM_KEYS = frozenset({"id", "label", "score"}) | _BOX_KEYS
# Numbers that no picture is as large as are left to those who look closer.
_MOST = 100_000

Boxes = dict[int, tuple[Box, float | None]]


def read_exact(text: str, expressions: Sequence[str]) -> tuple[Boxes, frozenset[int]] | None:
    """The box of each expression with its score, and the absent expressions.

    Args:
        text: the reply.
        expressions: the texts that were asked for; their position is their id.

    Returns:
        None unless the reply is one object of the requested form and nothing else, with every
        expression once, in a box's ``id``, under its own label if any, or in ``absent``.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_repetitions)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.keys() not in _KEYS:
        return None
    instances, absent = value["instances"], value.get("absent", [])
    if not isinstance(instances, list) or not isinstance(absent, list):
        return None
    boxes: Boxes = {}
    for item in instances:
        if (read := _instance(item, expressions)) is None:
            return None
        if read[0] in boxes:  # a second box counts for a plural alone
            return None
        boxes[read[0]] = read[1:]
    if not all(type(id_) is int for id_ in absent):
        return None
    answered = [*boxes, *absent]
    if len(answered) != len(expressions) or set(answered) != set(range(len(expressions))):
        return None
    return boxes, frozenset(absent)


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


def _instance(item: Any, expressions: Sequence[str]) -> tuple[int, Box, float | None] | None:
    if not isinstance(item, dict) or not item.keys() <= _ITEM_KEYS:
        return None
    names, id_ = item.keys() & _BOX_KEYS, item.get("id")
    if len(names) != 1 or type(id_) is not int or not 0 <= id_ < len(expressions):
        return None
    label = expressions[id_]
    if item.get("label", label) != label or expressions.count(label) > 1:
        return None
    numbers, score = item[next(iter(names))], item.get("score")
    if not isinstance(numbers, list) or len(numbers) != 4 or not _are_plain(numbers):
        return None
    if score is not None and not (type(score) in (int, float) and 0 < score <= 1):
        return None
    x1, y1, x2, y2 = map(float, numbers)
    return id_, (x1, y1, x2, y2), None if score is None else float(score)


def _are_plain(numbers: Iterable[Any]) -> bool:
    """Whether all are numbers of a picture, and not the four that stand for no box."""
    return (
        all(type(n) in (int, float) and 0 <= n < _MOST for n in numbers) and len(set(numbers)) > 1
    )
