# SPDX-License-Identifier: Apache-2.0
"""Coordinate frames: the upright original, the image as sent, the model's own numbers.

A *convention* says how a model writes a box. Each is a pair of small functions, one from the
model's four numbers to pixels of the image as sent, one back; ``CONVENTIONS`` is the one place
to add another. Boxes are ``(x1, y1, x2, y2)`` unless a name says otherwise.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Box = tuple[float, float, float, float]
Size = tuple[int, int]


@dataclass(frozen=True)
class Transport:
    """What size an image is sent at.

    Attributes:
        max_pixels: most pixels (width x height) of an image as sent.
        multiple: both sides are multiples of this many pixels; 1 for any size.
        min_pixels: fewest pixels; smaller images are enlarged to it.
        max_bytes: what the file as sent should not pass. Base64 makes four bytes of three:
            what travels of one image stays under 0.6 MB.
        min_side: a shorter side is stretched to so many pixels: servers refuse images that are
            thinner than one of their patches.
    """

    max_pixels: int
    multiple: int = 1
    min_pixels: int = 1
    max_bytes: int = 440_000
    min_side: int = 1

    @property
    def resize_multiple(self) -> int:
        """What a server of the ``pixel_resized`` kind would round sides to."""
        return self.multiple if self.multiple > 1 else 28

    def frame(self, original: Size) -> "Frame":
        """The frame of an upright image of ``original`` size that is sent so."""
        return Frame(original, fit_size(original, self), self.resize_multiple)


@dataclass(frozen=True)
class Frame:
    """Sizes ``(width, height)`` in pixels of the upright original and of the image as sent.

    ``resize_multiple`` is the patch size that a server of the ``pixel_resized`` kind rounds
    sides to.
    """

    original: Size
    sent: Size
    resize_multiple: int = 28

    def sent_to_original(self, box: Box) -> Box:
        """A box in pixels as sent, in upright original pixels."""
        sx = self.original[0] / self.sent[0]
        sy = self.original[1] / self.sent[1]
        return (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)

    def original_to_sent(self, box: Box) -> Box:
        """A box in upright original pixels, in pixels as sent."""
        return Frame(self.sent, self.original).sent_to_original(box)


def fit_size(size: Size, transport: Transport) -> Size:
    """The size to send an image of ``size`` at: as it is where it fits, else resized.

    The aspect ratio is kept up to the rounding to ``transport.multiple``, but in strips thinner
    than ``transport.min_side``.
    """
    step = transport.multiple
    size = (max(size[0], transport.min_side), max(size[1], transport.min_side))
    if step == 1 and size[0] * size[1] <= transport.max_pixels:
        return size
    return round_size(size, step, max(transport.min_pixels, 1), transport.max_pixels)


def round_size(size: Size, multiple: int, min_pixels: int, max_pixels: int) -> Size:
    """Sides rounded to a multiple, with the area between two bounds.

    This is what servers of the Qwen-VL family do to every image before the model sees it
    ("smart resize"), so that a size which already fits comes back unchanged.
    """
    # A strip of more multiples would pass ``max_pixels`` however thin it is.
    longest = max(max_pixels // multiple**2, 1)

    def rounded(sides: tuple[float, float], towards: Callable[[float], float]) -> Size:
        width, height = (
            min(max(int(towards(side / multiple)), 1), longest) * multiple for side in sides
        )
        return width, height

    width, height = size
    result = rounded(size, round)
    # The order of operations is that of the servers: another one can differ by a multiple.
    if result[0] * result[1] > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        result = rounded((width / shrink, height / shrink), math.floor)
    elif result[0] * result[1] < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        result = rounded((width * grow, height * grow), math.ceil)
    return result


def _norm1000_xyxy_to_sent(box: Box, frame: Frame) -> Box:
    """0..1000 of the whole image -> pixels as sent."""
    width, height = frame.sent
    x1, y1, x2, y2 = box
    return (x1 * width / 1000, y1 * height / 1000, x2 * width / 1000, y2 * height / 1000)


def _norm1000_yxyx_to_sent(box: Box, frame: Frame) -> Box:
    """[ymin, xmin, ymax, xmax] in 0..1000 of the whole image -> pixels as sent."""
    return _norm1000_xyxy_to_sent(swap_axes(box), frame)


def _norm1_xyxy_to_sent(box: Box, frame: Frame) -> Box:
    """0..1 of the whole image -> pixels as sent."""
    width, height = frame.sent
    return (box[0] * width, box[1] * height, box[2] * width, box[3] * height)


def _pixel_sent_to_sent(box: Box, frame: Frame) -> Box:
    """Pixels as sent already."""
    return box


def _pixel_resized_to_sent(box: Box, frame: Frame) -> Box:
    """Pixels of the image after the server's own resize -> pixels as sent."""
    return Frame(frame.sent, _server_size(frame)).sent_to_original(box)


def _sent_to_norm1000_xyxy(box: Box, frame: Frame) -> Box:
    """Pixels as sent -> 0..1000 of the whole image."""
    width, height = frame.sent
    x1, y1, x2, y2 = box
    return (x1 * 1000 / width, y1 * 1000 / height, x2 * 1000 / width, y2 * 1000 / height)


def _sent_to_norm1000_yxyx(box: Box, frame: Frame) -> Box:
    """Pixels as sent -> [ymin, xmin, ymax, xmax] in 0..1000 of the whole image."""
    return swap_axes(_sent_to_norm1000_xyxy(box, frame))


def _sent_to_norm1_xyxy(box: Box, frame: Frame) -> Box:
    """Pixels as sent -> 0..1 of the whole image."""
    width, height = frame.sent
    return (box[0] / width, box[1] / height, box[2] / width, box[3] / height)


def _sent_to_pixel_resized(box: Box, frame: Frame) -> Box:
    """Pixels as sent -> pixels of the image after the server's own resize."""
    return Frame(frame.sent, _server_size(frame)).original_to_sent(box)


def swap_axes(box: Box) -> Box:
    """``box`` with x and y exchanged."""
    return (box[1], box[0], box[3], box[2])


def server_max_pixels(multiple: int) -> int:
    """Most pixels that a server of the ``pixel_resized`` kind shows to its model."""
    return 1280 * multiple**2


def _server_size(frame: Frame) -> Size:
    step = frame.resize_multiple
    return round_size(frame.sent, step, 4 * step**2, server_max_pixels(step))


@dataclass(frozen=True)
class Convention:
    """How a model writes a box.

    Attributes:
        to_sent: the model's four numbers -> pixels as sent.
        from_sent: pixels as sent -> the model's four numbers.
        wording: how a prompt asks for it.
        order: the four numbers' names.
    """

    to_sent: Callable[[Box, Frame], Box]
    from_sent: Callable[[Box, Frame], Box]
    order: str
    wording: str


_XYXY = "[x1, y1, x2, y2]"
CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "norm1000_yxyx": Convention(
            _norm1000_yxyx_to_sent,
            _sent_to_norm1000_yxyx,
            "[ymin, xmin, ymax, xmax]",
            "normalized to 0-1000 of the image's height and width",
        ),
        "norm1000_xyxy": Convention(
            _norm1000_xyxy_to_sent,
            _sent_to_norm1000_xyxy,
            _XYXY,
            "normalized to 0-1000 of the image's width and height",
        ),
        "pixel_resized": Convention(
            _pixel_resized_to_sent, _sent_to_pixel_resized, _XYXY, "in absolute pixels"
        ),
        "pixel_sent": Convention(
            _pixel_sent_to_sent, _pixel_sent_to_sent, _XYXY, "in absolute pixels of this image"
        ),
        "norm1_xyxy": Convention(
            _norm1_xyxy_to_sent,
            _sent_to_norm1_xyxy,
            _XYXY,
            "as fractions from 0 to 1 of the image's width and height",
        ),
    }
)


def y_first(convention: str) -> bool:
    """Whether a convention writes y before x."""
    return CONVENTIONS[convention].order.startswith("[y")


# Conventions whose numbers depend on the size of the image that the model sees.
PIXEL_CONVENTIONS = frozenset({"pixel_sent", "pixel_resized"})
