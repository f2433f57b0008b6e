# SPDX-License-Identifier: Apache-2.0
"""What the loopback model sees: flat regions of named colours in the picture it was sent."""

import io

import numpy as np
from PIL import Image

from support.scenes import COLOURS

_FAR = 90.0


def decode(data: bytes) -> Image.Image:
    """The picture as a model's server decodes it: EXIF is not looked at."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


def regions(image: Image.Image, colour: str) -> list[tuple[int, int, int, int]]:
    """Boxes in pixels of the picture as sent, from left to right."""
    pixels = np.asarray(image, dtype=np.float32)
    distances = {name: np.abs(pixels - rgb).sum(axis=2) for name, rgb in COLOURS.items()}
    nearest = np.minimum.reduce(list(distances.values()))
    mask = (distances[colour] <= nearest) & (distances[colour] < _FAR)
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


def mean_colour(image: Image.Image) -> str:
    """The named colour that a picture is of, as a whole."""
    mean = np.asarray(image, dtype=np.float32).mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
