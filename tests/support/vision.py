# SPDX-License-Identifier: Apache-2.0
"""What the loopback model sees: flat regions of named colours in the picture it was sent."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from support.scenes import COLOURS

_FAR = 90.0
_BITS = 2
Box = tuple[int, int, int, int]


def _named() -> np.ndarray:
    """For each colour, without its last bits, the number of the named one that it is."""
    levels = np.arange(0, 256, 1 << _BITS) + (1 << _BITS) / 2
    every = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    distances = np.stack([np.abs(every - rgb).sum(axis=-1) for rgb in COLOURS.values()])
    return np.where(distances.min(axis=0) < _FAR, distances.argmin(axis=0), -1).astype(np.int8)


_NAMED = _named()


def decode(data: bytes) -> Image.Image:
    """The picture as a model's server decodes it: EXIF is not looked at."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


@dataclass(frozen=True)
class Sight:
    """What is to be seen in a picture.

    Attributes:
        size: in pixels as sent.
        boxes: for each colour those of its regions, in pixels as sent, from left to right.
        colour: the named one that the picture is of, as a whole.
    """

    size: tuple[int, int]
    boxes: Mapping[str, tuple[Box, ...]]
    colour: str


@lru_cache(maxsize=64)
def look(data: bytes) -> Sight:
    """Look at a picture as it was sent; at equal bytes once, as tests send the same again."""
    image = decode(data)
    named = _named_pixels(image)
    boxes = {colour: tuple(_boxes(named, colour)) for colour in COLOURS}
    return Sight(image.size, boxes, _mean_colour(image))


def regions(image: Image.Image, colour: str) -> list[Box]:
    """Boxes in pixels of the picture as sent, from left to right."""
    return _boxes(_named_pixels(image), colour)


def _named_pixels(image: Image.Image) -> np.ndarray:
    red, green, blue = (np.asarray(band) >> _BITS for band in image.split())
    return _NAMED[red, green, blue]


def _boxes(named: np.ndarray, colour: str) -> list[Box]:
    mask = named == list(COLOURS).index(colour)
    boxes = []
    for x1, x2 in _runs(mask.sum(axis=0)):
        for y1, y2 in _runs(mask[:, x1:x2].sum(axis=1)):
            boxes.append((x1, y1, x2, y2))
    return boxes


def _runs(profile: np.ndarray) -> list[tuple[int, int]]:
    """Stretches in which a projection is well above nothing."""
    if not profile.any():
        return []
    inside = profile > 0.4 * profile.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 2]


def _mean_colour(image: Image.Image) -> str:
    mean = np.asarray(image, dtype=np.float32).mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
