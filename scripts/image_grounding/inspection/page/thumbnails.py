# SPDX-License-Identifier: Apache-2.0
"""Pictures at display size as ``data:`` URLs, together within a budget of bytes."""

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
# Similar pictures fit the same rung: each starts at the rung of the previous picture, or one rung
# better where that took less than this part of its share. So most pictures are encoded once.
_ROOM = 0.6
_MAX_SIDE = 2048  # of a panorama; WebP allows at most 16,383
_PREFIX = "data:image/webp;base64,"


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a ``data:`` URL, or None with the problem."""

    url: str | None
    problem: str = ""


def make_thumbnails(paths: Iterable[Path | str], budget: int) -> dict[Path | str, Thumbnail]:
    """A thumbnail for each different path.

    Each picture gets an equal share of the remaining budget, so that later pictures use what small
    ones leave.

    Args:
        paths: image files and addresses; repeated paths cost nothing.
        budget: bytes for all URLs together.
    """
    wanted = list(dict.fromkeys(paths))
    made: dict[Path | str, Thumbnail] = {}
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


def _fitted(path: Path | str, share: int, rung: int) -> tuple[Thumbnail, int]:
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
