# SPDX-License-Identifier: Apache-2.0
"""Where the boxes of all records lie: what the signatures of wrong conventions are seen in."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from image_grounding.boxes import PixelBox
from image_grounding.frames import Size
from image_grounding.results import Record

_BINS = 1000
_FIRST_PIXELS = 2  # or this share of the side in thousandths: fractions read as 0-1000
_THOUSAND = 1000 + 1  # boxes are rounded outwards
# Images whose longer side is well over a thousand pixels, so that the corner is a corner.
_LARGE_SIDE = 1500
_SMALL_AREA = 0.25  # a box larger than this has its shape from the image
_FEWEST_SIDE_WORDS = 8
_SIDE = re.compile(
    r"\b(?:on|to|at|in|from) the (?:far |very )?(left|right|top|bottom)\b"
    r"|\b(left|right|top|bottom)most\b"
    r"|\b(left|right|top|bottom)[ -](?:hand )?(?:side|corner)\b",
    re.IGNORECASE,
)

# What the caption need not say the place of.
_PLACED = re.compile(
    r"(?:[\w'-]+ ){0,3}?(?:(sky|clouds?|ceiling)"
    r"|(grass|ground|floor|lawn|road|street|sidewalk|pavement|sand|snow|carpet))",
    re.IGNORECASE,
)
_JOINS = re.compile(r"\b(?:of|on|in|at|with|and|under|over|by|near|from)\b", re.IGNORECASE)


@dataclass
class Placement:
    """Counters over boxes that lie inside their images; of constant size.

    Attributes:
        boxes: how many there are.
        outside: how many do not, and are in no other figure.
        first_pixel: boxes in the top-left pixels of their image.
        large, in_thousand: boxes in large images, and those in the first 1000x1000 pixels.
        quadrants: boxes that lie in one quadrant, by its name.
        touching: boxes that touch a border, by its name.
        edges: where boxes begin and end; ``outermost``: where those of each record do.
        sides, sides_transposed: of ``side_words`` expressions that say a side, those with a box
            there and not if x and y were exchanged, and the other way round.
    """

    boxes: int = 0
    outside: int = 0
    first_pixel: int = 0
    large: int = 0
    in_thousand: int = 0
    quadrants: Counter[str] = field(default_factory=Counter)
    touching: Counter[str] = field(default_factory=Counter)
    side_words: int = 0
    sides: int = 0
    sides_transposed: int = 0
    edges: "Edges" = field(default_factory=lambda: Edges())
    outermost: "Edges" = field(default_factory=lambda: Edges())
    _shapes: "Regression" = field(default_factory=lambda: Regression())

    def add(self, record: Record) -> None:
        """Count a record's boxes."""
        inside: list[PixelBox] = []
        for expression in record.expressions:
            boxes = [instance.bbox for instance in expression.instances]
            good = [box for box in boxes if _inside(box, record.size)]
            self.outside += len(boxes) - len(good)
            for box in good:
                self._add_box(box, record.size)
            if good and (side := _side_of(expression.text)):
                self._add_side(side, good[0], record.size)
            inside += good
        if inside:
            x1, y1, x2, y2 = zip(*inside, strict=True)
            self.outermost.add((min(x1), min(y1), max(x2), max(y2)), record.size)

    def tells_axes(self) -> bool:
        """Whether exchanged axes would show: in words for sides, or in the shapes of boxes."""
        return self.side_words >= _FEWEST_SIDE_WORDS or self.shape_slope() is not None

    def shape_slope(self) -> tuple[float, float] | None:
        """Log aspect of small boxes against that of their images: 95 % bounds of the slope.

        An object keeps its shape whatever the picture's: the slope is near 0, at most 1. With x
        and y exchanged in a normalized convention, b becomes 2 - b. None where all pictures
        have about the same shape.
        """
        return self._shapes.slope_bounds()

    def _add_box(self, box: PixelBox, size: Size) -> None:
        (x1, y1, x2, y2), (width, height) = box, size
        self.boxes += 1
        self.edges.add(box, size)
        self.first_pixel += all(
            side <= max(_FIRST_PIXELS, 2 * length / _BINS)
            for side, length in ((x2, width), (y2, height))
        )
        if max(size) >= _LARGE_SIDE:
            self.large += 1
            self.in_thousand += max(x2, y2) <= _THOUSAND
        self.quadrants.update(_quadrant(box, size))
        borders = {"left": x1 == 0, "top": y1 == 0, "right": x2 == width, "bottom": y2 == height}
        self.touching.update(name for name, touched in borders.items() if touched)
        if (x2 - x1) * (y2 - y1) <= _SMALL_AREA * width * height:
            self._shapes.add(math.log(width / height), math.log((x2 - x1) / (y2 - y1)))

    def _add_side(self, side: str, box: PixelBox, size: Size) -> None:
        x, y = (box[0] + box[2]) / (2 * size[0]), (box[1] + box[3]) / (2 * size[1])
        seen, transposed = (x, y) if side in ("left", "right") else (y, x)
        first = side in ("left", "top")
        there, there_transposed = (seen < 0.5) == first, (transposed < 0.5) == first
        self.side_words += 1
        self.sides += there and not there_transposed
        self.sides_transposed += there_transposed and not there


@dataclass
class Edges:
    """Where boxes begin and end along the sides of their images.

    A wrong scale depends on the length of a side, so that the longer sides of pictures of both
    orientations agree. But things stand low in pictures, and to the left as often as to the right:
    widths are counted by themselves too.
    """

    _counts: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    def add(self, box: PixelBox, size: Size) -> None:
        """Count a box that lies inside its image of ``size``."""
        wide = size[0] >= size[1]
        sides = {
            "longer side": 0 if wide else 1,
            "shorter side": 1 if wide else 0,
            f"width of {'wide' if wide else 'high'} pictures": 0,
        }
        for side, axis in sides.items():
            begins, ends = self._counts.setdefault(side, ([0] * (_BINS + 1), [0] * (_BINS + 1)))
            begins[box[axis] * _BINS // size[axis]] += 1
            ends[box[axis + 2] * _BINS // size[axis]] += 1

    def reach(self, share: float) -> dict[str, tuple[float, float]]:
        """The place, 0..1, before which all but ``share`` begin and that before which it ends."""
        return {
            side: (_quantile(begins, 1 - share), _quantile(ends, share))
            for side, (begins, ends) in self._counts.items()
        }

    def beside(self, side: str, gap: float) -> tuple[int, int]:
        """How many begin less than ``gap`` after the one border, and end so before the other."""
        begins, ends = self._counts[side]
        bins = round(gap * _BINS)
        return sum(begins[:bins]), sum(ends[_BINS + 1 - bins :])

    def at_borders(self) -> dict[str, tuple[int, int, int]]:
        """For each width: boxes that touch the left border, the right one, and all."""
        return {
            side: (begins[0], sum(ends[_BINS - 1 :]), sum(ends))
            for side, (begins, ends) in self._counts.items()
            if side.startswith("width")
        }


@dataclass
class Regression:
    """Least squares of y on x, as running sums."""

    n: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Count a point."""
        self.n += 1
        self.x += x
        self.y += y
        self.xx += x * x
        self.xy += x * y
        self.yy += y * y

    def slope_bounds(self) -> tuple[float, float] | None:
        """95 % bounds of the slope; None where x hardly varies."""
        if self.n < 10:
            return None
        sxx = self.xx - self.x**2 / self.n
        sxy = self.xy - self.x * self.y / self.n
        syy = self.yy - self.y**2 / self.n
        if sxx / self.n < 0.01:
            return None
        slope = sxy / sxx
        error = math.sqrt(max(syy - slope * sxy, 0) / (self.n - 2) / sxx)
        quantile = 1.96 + 2.5 / (self.n - 2)  # near enough to Student's
        return slope - quantile * error, slope + quantile * error


def _inside(box: PixelBox, size: Size) -> bool:
    return 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]


def _quadrant(box: PixelBox, size: Size) -> Iterator[str]:
    (x1, y1, x2, y2), (width, height) = box, size
    column = "left" if 2 * x2 <= width else "right" if 2 * x1 >= width else None
    row = "top" if 2 * y2 <= height else "bottom" if 2 * y1 >= height else None
    if column and row:
        yield f"{row} {column}"


def _quantile(counts: list[int], share: float) -> float:
    wanted = share * sum(counts)
    reached = accumulate(counts)
    return next((bin_ / _BINS for bin_, count in enumerate(reached) if count >= wanted), 1.0)


def _side_of(text: str) -> str | None:
    """The one side that a phrase says its thing is on; None where it says none, or several."""
    placed = _PLACED.fullmatch(text.strip())
    if placed and not _JOINS.search(text):
        return "top" if placed[1] else "bottom"
    found = {next(filter(None, match.groups())).lower() for match in _SIDE.finditer(text)}
    return found.pop() if len(found) == 1 else None
