# SPDX-License-Identifier: Apache-2.0
"""Where the boxes of all records are: the evidence for signatures of wrong conventions."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from image_grounding.boxes.frames import Size
from image_grounding.boxes.geometry import PixelBox
from image_grounding.results.reading import Record

_BINS = 1000
_FIRST_PIXELS = 2  # or this share of the side in thousandths: fractions read as 0-1000
_THOUSAND = 1000 + 1  # boxes are rounded outwards
# In images with a longer side well over a thousand pixels the first thousand are a corner.
_LARGE_SIDE = 1500
_SMALL_AREA = 0.25  # the shape of a larger box depends on the image
_SIDE = re.compile(
    r"\b(?:on|to|at|in|from) the (?:far |very )?(left|right|top|bottom)\b"
    r"|\b(left|right|top|bottom)most\b"
    r"|\b(left|right|top|bottom)[ -](?:hand )?(?:side|corner)\b",
    re.IGNORECASE,
)


@dataclass
class Placement:
    """Counters over boxes that lie inside their images; of constant size.

    Attributes:
        boxes: number of boxes inside their images.
        outside: number of boxes that are not; no other figure counts them.
        first_pixel: boxes in the top-left pixels of their image.
        large, in_thousand: boxes in large images, and among them boxes in the first 1000x1000
            pixels.
        quadrants: boxes inside one quadrant, by its name.
        touching: boxes that touch a border, by its name.
        sides, sides_transposed: of ``side_words`` expressions that name a side, those with a box
            there, and those whose box would be there if x and y were exchanged.
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
    _edges: tuple[list[int], ...] = field(
        default_factory=lambda: tuple([0] * (_BINS + 1) for _ in range(4))
    )
    _shapes: "Regression" = field(default_factory=lambda: Regression())

    def add(self, record: Record) -> None:
        """Count a record's boxes."""
        for expression in record.expressions:
            boxes = [instance.bbox for instance in expression.instances]
            good = [box for box in boxes if _inside(box, record.size)]
            self.outside += len(boxes) - len(good)
            for box in good:
                self._add_box(box, record.size)
            if good and (side := _side_of(expression.text)):
                self._add_side(side, good[0], record.size)

    def reach(self, share: float) -> dict[str, tuple[float, float]]:
        """Where along the longer and the shorter side of the images boxes begin and end.

        For each side two places, 0..1 from the left or top: ``1 - share`` of the boxes begin
        before the first, ``share`` of them end before the second. A wrong scale depends on the
        length of a side, so images of both orientations are counted together.
        """
        long1, short1, long2, short2 = self._edges
        return {
            "longer": (_quantile(long1, 1 - share), _quantile(long2, share)),
            "shorter": (_quantile(short1, 1 - share), _quantile(short2, share)),
        }

    def shape_slope(self) -> tuple[float, float] | None:
        """Log aspect of small boxes against that of their images: 95 % bounds of the slope.

        Objects keep their shape whatever the shape of the image: the slope b is near 0, rarely
        above 1. With x and y exchanged in a normalized convention, b becomes 2 - b. None where
        all images have about the same shape.
        """
        return self._shapes.slope_bounds()

    def _add_box(self, box: PixelBox, size: Size) -> None:
        (x1, y1, x2, y2), (width, height) = box, size
        self.boxes += 1
        along = (0, 1, 2, 3) if width >= height else (1, 0, 3, 2)
        for counts, axis in zip(self._edges, along, strict=True):
            counts[box[axis] * _BINS // size[axis % 2]] += 1
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
        self.side_words += 1
        self.sides += (seen < 0.5) == first
        self.sides_transposed += (transposed < 0.5) == first


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
        if self.n < 3:
            return None
        sxx = self.xx - self.x**2 / self.n
        sxy = self.xy - self.x * self.y / self.n
        syy = self.yy - self.y**2 / self.n
        if sxx / self.n < 0.01:
            return None
        slope = sxy / sxx
        error = math.sqrt(max(syy - slope * sxy, 0) / (self.n - 2) / sxx)
        return slope - 1.96 * error, slope + 1.96 * error


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
    """The side that a phrase places its thing on; None where it names none or several."""
    found = {next(filter(None, match.groups())).lower() for match in _SIDE.finditer(text)}
    return found.pop() if len(found) == 1 else None
