# SPDX-License-Identifier: Apache-2.0
"""Pictures at display size as ``data:`` URLs, all of them within a budget of bytes."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from image_grounding.boxes.frames import Transport
from image_grounding.errors import SampleError
from image_grounding.images.pixels import open_upright

# (longest side of a 4:3 picture in pixels, WebP quality), best first.
_RUNGS = (
    (720, 76), (640, 70), (560, 66), (480, 62), (400, 58), (320, 55), (256, 50), (192, 45),
    (128, 40),
)  # fmt: skip
# Pictures differ less than rungs do: each starts at the rung of the one before, or one above where
# that one took less than this part of its share; most are encoded once.
_ROOM = 0.6
_MAX_SIDE = 2048  # of a strip; WebP itself ends at 16,383
_PREFIX = "data:image/webp;base64,"


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a ``data:`` URL, or why there is none."""

    url: str | None
    problem: str = ""


def make_thumbnails(paths: Iterable[Path], budget: int) -> dict[Path, Thumbnail]:
    """A thumbnail for each different path.

    Every picture may take an equal share of what is left of the budget, so that what small ones
    leave over goes to the others.

    Args:
        paths: image files; a path that comes again costs nothing.
        budget: bytes that all the URLs together may take.
    """
    wanted = list(dict.fromkeys(paths))
    made: dict[Path, Thumbnail] = {}
    rung = 0
    for index, path in enumerate(wanted):
        share = budget // (len(wanted) - index)
        try:
            made[path], rung = _fitted(path, share, rung)
        except SampleError as error:
            made[path] = Thumbnail(None, str(error))
        size = len(made[path].url or "")
        budget -= size
        if size < share * _ROOM:
            rung = max(rung - 1, 0)
    return made


def _fitted(path: Path, share: int, rung: int) -> tuple[Thumbnail, int]:
    image: Image.Image | None = None
    while rung < len(_RUNGS):
        side, quality = _RUNGS[rung]
        pixels = side * side * 3 // 4
        if image is None:
            image = open_upright(path, Transport(pixels))
            image.thumbnail((_MAX_SIDE, _MAX_SIDE))
        elif image.width * image.height > pixels:
            scale = (pixels / (image.width * image.height)) ** 0.5
            size = (max(int(image.width * scale), 1), max(int(image.height * scale), 1))
            image = image.resize(size, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=3)
        url = _PREFIX + base64.b64encode(buffer.getvalue()).decode()
        if len(url) <= share:
            return Thumbnail(url), rung
        rung += 1
    return Thumbnail(None, "left out to keep the page small"), rung - 1
