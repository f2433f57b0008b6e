# SPDX-License-Identifier: Apache-2.0
"""Pictures of flat rectangles in named colours on light grey, with their true boxes."""

import io
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 30),
}
GREY = (225, 225, 225)
Box = tuple[int, int, int, int]

# What undoes each EXIF orientation when a picture is stored so that it needs turning.
_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Scene:
    """An upright size and the true box of each rectangle, by colour."""

    size: tuple[int, int]
    boxes: tuple[tuple[str, Box], ...]

    @property
    def caption(self) -> str:
        return "We can see " + " and ".join(f"a {name} rectangle" for name, _ in self.boxes)

    def draw(self) -> Image.Image:
        image = Image.new("RGB", self.size, GREY)
        pen = ImageDraw.Draw(image)
        for name, (x1, y1, x2, y2) in self.boxes:
            pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLOURS[name])
        return image

    def save(self, path: Path, orientation: int = 1) -> Path:
        path.write_bytes(_encoded(self, path.suffix.lower(), orientation))
        return path


@lru_cache(maxsize=64)
def _encoded(scene: Scene, suffix: str, orientation: int) -> bytes:
    """The file of a picture: hundreds of tests want the same few."""
    image = scene.draw()
    exif = Image.Exif()
    if orientation != 1:
        image = image.transpose(_STORED_AS[orientation])
        exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if suffix in (".jpg", ".jpeg") else {}
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[suffix], exif=exif, **options)
    return file.getvalue()


def make_scene(size: tuple[int, int], seed: int = 0, colours: int = 3) -> Scene:
    """Rectangles at asymmetric places, each in a cell of a grid of its own."""
    rng = random.Random(f"{size}/{seed}")
    width, height = size
    names = rng.sample(sorted(COLOURS), colours)
    cells = rng.sample([(column, row) for column in range(3) for row in range(3)], colours)
    boxes = []
    for name, (column, row) in zip(names, cells, strict=True):
        left, top = width * column // 3, height * row // 3
        cell_width, cell_height = width // 3, height // 3
        x1 = left + int(cell_width * rng.uniform(0.05, 0.25))
        y1 = top + int(cell_height * rng.uniform(0.05, 0.25))
        x2 = left + int(cell_width * rng.uniform(0.6, 0.95))
        y2 = top + int(cell_height * rng.uniform(0.6, 0.95))
        boxes.append((name, (x1, y1, x2, y2)))
    return Scene(size, tuple(boxes))
