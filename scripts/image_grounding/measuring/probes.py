# SPDX-License-Identifier: Apache-2.0
"""Probe pictures: flat rectangles in plain colours, whose true boxes are known."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from PIL import Image, ImageDraw

from image_grounding.boxes.frames import Box, Frame, Size, Transport, fit_size
from image_grounding.images.encoding import EncodedImage

GREY = (225, 225, 225)
COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220), "yellow": (240, 220, 30)}
)

# Size, then (x1, y1, x2, y2) of each colour as fractions of it. No side is near 1000 pixels,
# no picture is square and no place looks the same with x and y exchanged: whatever the
# convention, the others put the boxes elsewhere. The last one is drawn as large as images travel:
# what a server does to large images shows there alone.
_LAYOUTS: tuple[tuple[Size, Mapping[str, Box]], ...] = (
    (
        (644, 420),
        {
            "red": (0.06, 0.55, 0.30, 0.90),
            "blue": (0.42, 0.10, 0.72, 0.38),
            "green": (0.66, 0.60, 0.95, 0.94),
        },
    ),
    (
        (420, 700),
        {
            "yellow": (0.10, 0.05, 0.52, 0.22),
            "red": (0.50, 0.45, 0.93, 0.66),
            "blue": (0.08, 0.74, 0.40, 0.95),
        },
    ),
    (
        (784, 532),
        {
            "green": (0.05, 0.08, 0.27, 0.36),
            "yellow": (0.55, 0.32, 0.90, 0.58),
        },
    ),
)


@dataclass(frozen=True)
class Probe:
    """A picture to ask about.

    Attributes:
        image: as it is sent; its original size is the size as sent.
        truth: the true box of each referring expression, in pixels as sent.
    """

    image: EncodedImage
    truth: Mapping[str, Box]


@lru_cache(maxsize=4)
def make_probes(transport: Transport) -> tuple[Probe, ...]:
    """Three probes of different shapes, drawn at sizes that ``transport`` leaves alone."""
    sizes = [size for size, _ in _LAYOUTS]
    width, height = sizes[-1]
    grown = math.sqrt(transport.max_pixels / (width * height))
    sizes[-1] = (int(width * grown), int(height * grown))
    return tuple(
        _draw(fit_size(size, transport), layout, transport)
        for size, (_, layout) in zip(sizes, _LAYOUTS, strict=True)
    )


def plain_square(colour: str, transport: Transport) -> EncodedImage:
    """A picture of nothing but one colour, for asking whether a model sees at all."""
    size = fit_size((448, 448), transport)
    return _encoded(Image.new("RGB", size, COLOURS[colour]), transport)


def _draw(size: Size, layout: Mapping[str, Box], transport: Transport) -> Probe:
    picture = Image.new("RGB", size, GREY)
    pen = ImageDraw.Draw(picture)
    truth = {}
    for colour, (left, top, right, bottom) in layout.items():
        x1, x2 = round(left * size[0]), round(right * size[0])
        y1, y2 = round(top * size[1]), round(bottom * size[1])
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLOURS[colour])
        truth[f"the {colour} rectangle"] = (x1, y1, x2, y2)
    return Probe(_encoded(picture, transport), truth)


def _encoded(picture: Image.Image, transport: Transport) -> EncodedImage:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    frame = Frame(picture.size, picture.size, transport.resize_multiple)
    return EncodedImage(buffer.getvalue(), "image/png", frame, {})


def open_probe(probe: Probe) -> Image.Image:
    """The picture itself."""
    return Image.open(io.BytesIO(probe.image.data)).convert("RGB")
