# SPDX-License-Identifier: Apache-2.0
"""The four numbers of a box, in whichever of the many ways a model writes them.

Every value under a box's key is one of three things: a box, the word that there is none, or
unreadable. None of them is ever taken for another.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any

from image_grounding.boxes.frames import Box
from image_grounding.replies.lenient import CutList, CutObject, read_values
from image_grounding.replies.text import MAX_LEVELS, lowered

BOX_KEYS = (
    "bbox_2d", "box_2d", "bbox", "box", "bboxes", "boxes", "bboxes_2d", "boxes_2d", "bbox2d",
    "box2d", "bounding_box", "bounding_boxes", "boundingbox", "boundingboxes", "bounding_box_2d",
    "bndbox", "coordinates", "coords", "bbox_coordinates", "box_coordinates", "bbox_xyxy", "xyxy",
    "box_xyxy", "bbox_xywh", "box_xywh", "xywh", "rect", "rectangle", "region", "location",
    "position", "bbox_list", "b_box", "b_boxes", "bounds",
)  # fmt: skip
_CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("min_x", "min_y", "max_x", "max_y"),
    ("x_1", "y_1", "x_2", "y_2"),
    ("left", "top", "right", "bottom"),
)
_SIDE_KEYS = tuple(
    (*corner, *sides)
    for corner in (("x", "y"), ("left", "top"), ("x1", "y1"), ("xmin", "ymin"), ("x_min", "y_min"))
    for sides in (("width", "height"), ("w", "h"))
)
_CENTRE_KEYS = tuple(
    (*centre, *sides)
    for centre in (
        ("cx", "cy"),
        ("x_center", "y_center"),
        ("center_x", "center_y"),
        ("x_centre", "y_centre"),
        ("xc", "yc"),
    )
    for sides in (("width", "height"), ("w", "h"))
)
_POINT_KEYS = (
    ("top_left", "bottom_right"),
    ("topleft", "bottomright"),
    ("upper_left", "lower_right"),
    ("left_top", "right_bottom"),
    ("tl", "br"),
    ("min", "max"),
    ("start", "end"),
    ("p1", "p2"),
    ("point1", "point2"),
    ("pt1", "pt2"),
)
_CORNERS = tuple(
    frozenset(names) for names in (*_CORNER_KEYS, *_SIDE_KEYS, *_CENTRE_KEYS, *_POINT_KEYS)
)
FORMAT_KEYS = ("format", "bbox_format", "box_format", "bbox_mode", "box_mode", "bbox_type")
NUMBER = r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?+"
_NUMBER_ONLY = re.compile(NUMBER)
# "x1=10, y1=20, x2=30, y2=40", with or without quotes, in any bracket
_NAMED = re.compile(rf"[\"']?([a-zA-Z]\w*)[\"']?\s*[:=]\s*({NUMBER})(?![\w.%])")
_NAMED_ONLY = re.compile(rf"[\s\[({{<]*{_NAMED.pattern}(?:[\s,;]+{_NAMED.pattern})*[\s\])}}>]*")
_TAGGED = re.compile(
    r"<\|?(?:bbox|box|box_start|det)\|?>(.*?)<\|?/?(?:bbox|box|box_end|det)\|?>", re.S
)
# "<10><20><30><40>", and what may stand between two corners
_ANGLED = re.compile(rf"\s*(?:<\s*{NUMBER}\s*>\s*){{4}}")
_BETWEEN = re.compile(r"\)\s*(?:-+>?|\u2013|\u2014|\u2192|to|and)\s*\(")
_ASIDE = re.compile(r"\s?\(\w{1,9}\)(?=\s*[:=])")
# What is written in the place of a box for what is not there.
_UNSEEN = re.compile(
    r"[\s(\[\"']*(?:none|null|nil|n/?a|no|-+|\u2014|\u2013|absent|missing|invisible|"
    r"unseen|not[ _-]?found|undetected|does ?n[o']t (?:exist|appear)|"
    r"(?:is |are )?not (?:\w+ ){0,2}?(?:visible|found|present|detected|shown|seen|there|available|"
    r"applicable|in (?:the |this )?(?:image|picture|photo|scene|view))(?: in (?:the |this )?"
    r"(?:image|picture|photo|scene|view))?|"
    r"no (?:such |visible |matching )?(?:box|bbox|bounding box|object|instance|match|detection)"
    r"(?:e?s)?(?: found| visible| detected)?)[\s.)\]\"']*",
    re.IGNORECASE,
)


class No(Enum):
    """What stands in the place of a box."""

    BOX = "it says that there is none"
    SENSE = "it cannot be read"


@dataclass(frozen=True)
class RawBox:
    """Four numbers; (x1, y1, x2, y2) where each came under its ``name``, else as a list.

    ``score`` is one that stands with them, ``written`` are the numbers as the text has them.
    """

    numbers: Box
    named: bool = False
    score: float | None = None
    written: Box | None = field(default=None, compare=False)


Reading = RawBox | No


def as_number(value: Any) -> float | None:
    """A finite number, or a text that is one; None for anything else, booleans too."""
    if isinstance(value, str):
        value = float(value) if _NUMBER_ONLY.fullmatch(value := value.strip()) else None
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


def says_none(text: str) -> bool:
    """Whether a text in the place of a box says that there is nothing to box."""
    return _UNSEEN.fullmatch(text) is not None


def _says_none(value: Any) -> bool:
    return isinstance(value, str) and says_none(value)


def has_box(keys: Mapping[str, Any]) -> bool:
    """Whether an object, by its keys as ``lowered`` gives them, holds a box itself."""
    names = keys.keys()
    return not names.isdisjoint(BOX_KEYS) or any(map(names.__ge__, _CORNERS))


def box_of_members(keys: Mapping[str, Any], level: int = 0) -> list[Reading]:
    """The boxes of an object, by its keys as ``lowered`` gives them."""
    for names, corners in _MEMBERS:
        if keys.keys() >= names.keys():
            return [_of_members([keys[name] for name in names], corners)]
    for first, last in _POINT_KEYS:
        if first in keys and last in keys:
            if keys[first] is None and keys[last] is None:
                return [No.BOX]
            return [box_of_points([keys[first], keys[last]]) or No.SENSE]
    found = next((name for name in BOX_KEYS if name in keys), None)
    if found is None:
        return [No.SENSE]
    style = " ".join(str(keys[name]).lower() for name in FORMAT_KEYS if name in keys)
    readings = boxes_in(keys[found], level + 1)
    return [_in_style(reading, f"{found} {style}") for reading in readings]


def _of_members(values: Sequence[Any], corners: Callable[..., Box]) -> Reading:
    if all(value is None or _says_none(value) for value in values):
        return No.BOX
    numbers = [as_number(value) for value in values]
    if _is_nothing(numbers):
        return No.BOX
    match numbers:
        case [float(a), float(b), float(c), float(d)]:
            return RawBox(corners(a, b, c, d), named=True)
    return No.SENSE


def _from_corners(x1: float, y1: float, x2: float, y2: float) -> Box:
    return (x1, y1, x2, y2)


def _from_sides(x: float, y: float, width: float, height: float) -> Box:
    return (x, y, x + width, y + height)


def _from_centre(x: float, y: float, width: float, height: float) -> Box:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


# The names of four members, in order, and how they make a box.
_MEMBERS = tuple(
    (dict.fromkeys(names), corners)
    for family, corners in (
        (_CORNER_KEYS, _from_corners),
        (_SIDE_KEYS, _from_sides),
        (_CENTRE_KEYS, _from_centre),
    )
    for names in family
)


def _in_style(reading: Reading, style: str) -> Reading:
    """A list of numbers, by what the key or a format beside it says of their order."""
    if not isinstance(reading, RawBox) or reading.named:
        return reading
    if re.search(r"cxcywh|yolo|cent(?:er|re)", style):
        return RawBox(_from_centre(*reading.numbers), True, reading.score, reading.numbers)
    if re.search(r"xywh|ltwh|coco", style):
        return RawBox(_from_sides(*reading.numbers), True, reading.score, reading.numbers)
    if re.search(r"yxyx|y_?min,? ?x_?min", style):
        y1, x1, y2, x2 = reading.numbers
        return RawBox((x1, y1, x2, y2), named=True, score=reading.score)
    return reading


def boxes_in(value: Any, level: int = 0) -> list[Reading]:
    """The boxes in a (nested) value that stands in the place of a box; never an empty list.

    Four zeros, or four times -1, are how some models say that there is nothing.
    """
    if isinstance(value, dict):
        return [No.SENSE] if isinstance(value, CutObject) else box_of_members(lowered(value), level)
    if isinstance(value, str):
        return boxes_in_text(value, level)
    if value is None or value is False or value == []:
        return [No.BOX]
    if not isinstance(value, list) or isinstance(value, CutList) or level > MAX_LEVELS:
        return [No.SENSE]
    if box := box_of_points(value):
        return [box]
    if any(isinstance(part, list | dict) for part in value):
        return [box for part in value for box in boxes_in(part, level + 1)]
    if all(part is None for part in value):
        return [No.BOX] if len(value) in (1, 4) else [No.SENSE]
    numbers = [as_number(part) for part in value]
    if all(number is not None for number in numbers):
        return [_from_numbers([number for number in numbers if number is not None])]
    if all(isinstance(part, str) for part in value):
        readings = [reading for part in value for reading in boxes_in_text(part, level)]
        return readings if No.SENSE not in readings else [No.SENSE]
    return [No.SENSE]


def _from_numbers(numbers: Sequence[float]) -> Reading:
    if _is_nothing(numbers):
        return No.BOX
    match numbers:
        case [x1, y1, x2, y2]:
            return RawBox((x1, y1, x2, y2))
        case [x1, y1, x2, y2, score] if 0 < score < 1 < max(x1, y1, x2, y2):
            return RawBox((x1, y1, x2, y2), score=score)
        case [_, _, _, _, _, _, _, _]:
            points = zip(numbers[::2], numbers[1::2], strict=True)
            return box_of_points([list(point) for point in points]) or No.SENSE
    return No.SENSE


def _is_nothing(numbers: Sequence[float | None]) -> bool:
    return len(numbers) == 4 and set(numbers) in ({0}, {-1})


def box_of_points(points: Sequence[Any]) -> RawBox | None:
    """The box of two corners, or of the four of an upright rectangle; None for anything else."""
    found = [_point(point) for point in points] if len(points) in (2, 4) else [None]
    known = [point for point in found if point is not None]
    if not known or len(known) != len(points):
        return None
    named = isinstance(points[0], dict)
    if len(known) == 2:
        return RawBox((*known[0], *known[1]), named)
    xs, ys = {x for x, _ in known}, {y for _, y in known}
    turns = all((x1 == x2) != (y1 == y2) for (x1, y1), (x2, y2) in pairwise([*known, known[0]]))
    if len(xs) != 2 or len(ys) != 2 or not turns:
        return None
    return RawBox((min(xs), min(ys), max(xs), max(ys)), named)


def _point(value: Any) -> tuple[float, float] | None:
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip("[](){} \t\n"))
    if isinstance(value, dict):
        keys = lowered(value)
        value = [keys.get("x"), keys.get("y")] if len(keys) == 2 else None
    if not isinstance(value, list) or len(value) != 2 or isinstance(value, CutList):
        return None
    match [as_number(value[0]), as_number(value[1])]:
        case [float(x), float(y)]:
            return (x, y)
    return None


def boxes_in_text(text: str, level: int = 0) -> list[Reading]:
    """The boxes that a text is; ``No.SENSE`` for one that says more, or something else."""
    if not text.strip() or says_none(text):
        return [No.BOX]
    if tagged := _TAGGED.findall(text):
        rest = re.sub(r"<[^<>]*>|[\s,;\[\]]", "", _TAGGED.sub("", text))
        found = [reading for inside in tagged for reading in boxes_in_text(inside, level)]
        return found if not rest else [No.SENSE]
    if _ANGLED.fullmatch(text):
        return [_from_numbers([float(number) for number in _NUMBER_ONLY.findall(text)])]
    text = _ASIDE.sub("", _BETWEEN.sub("),(", text))
    if _NAMED_ONLY.fullmatch(text):
        return box_of_members({name.lower(): number for name, number in _NAMED.findall(text)})
    if (
        re.fullmatch(rf"(?:[\s,;\[\]()]|(?<![\d.]){NUMBER}(?![\w.%]))+", text)
        and len(text) < 10_000
    ):
        opened = text.strip()
        values = read_values(f"[{opened}]")
        if values and values[0].end == len(opened) + 2:
            return _grouped(values[0].value, opened, level + 1)
    return [No.SENSE]


def _grouped(value: list[Any], text: str, level: int) -> list[Reading]:
    """The boxes of numbers in brackets, or of lines or parts of four numbers without."""
    if not any(isinstance(part, list) for part in value):
        parts = [part for part in re.split(r"[;\n]", text) if part.strip()]
        numbers = [[float(n) for n in _NUMBER_ONLY.findall(part)] for part in parts]
        if len(parts) > 1 and {len(four) for four in numbers} == {4}:
            return [_from_numbers(four) for four in numbers]
    return boxes_in(value, level)  # what is no box may be the same text once more: "1;2"
