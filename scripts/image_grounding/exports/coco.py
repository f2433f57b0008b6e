# SPDX-License-Identifier: Apache-2.0
"""COCO detection JSON: an annotation a box, with its phrase."""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_grounding.annotations import Instance
from image_grounding.exports.base import (
    CategoryList,
    Example,
    Exporter,
    Numbering,
    Setting,
    file_stem,
    register,
    without_boxes,
    xywh,
)
from image_grounding.files import to_json
from image_grounding.results import GroundedExpression, Record


class CocoFile:
    """One JSON file of images, annotations and categories, written as a stream.

    Args:
        path: the file.
        stack: closes what is open.
    """

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self._arrays = {
            name: stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent)  # noqa: SIM115
            )
            for name in ("images", "annotations")
        }
        self._counts = dict.fromkeys(self._arrays, 0)

    def add_image(self, number: int, example: Example) -> None:
        """Add an image."""
        width, height = example.record.size
        self._add("images", {
            "id": number, "file_name": example.image, "width": width, "height": height,
            "caption": example.record.cleaned_caption,
        })  # fmt: skip

    def add_box(
        self,
        number: int,
        image: int,
        category: int,
        expression: GroundedExpression,
        instance: Instance,
    ) -> None:
        """Add an annotation."""
        box = xywh(instance.bbox)
        self._add("annotations", {
            "id": number, "image_id": image, "category_id": category,
            "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "segmentation": [],
            "phrase": expression.text, "expression_id": expression.expression_id,
            "score": instance.score,
        })  # fmt: skip

    def finish(self, categories: Mapping[str, int]) -> None:
        """Write the file."""
        listed = [{"id": number, "name": name} for name, number in categories.items()]
        with self._path.open("w", encoding="utf-8", newline="\n") as file:
            file.write('{"info": {"description": "image-grounding"}, "licenses": [],\n')
            for name, rows in self._arrays.items():
                file.write(f'"{name}": [\n')
                rows.seek(0)
                shutil.copyfileobj(rows, file)
                file.write("\n],\n")
            file.write(f'"categories": {to_json(listed)}}}\n')

    def _add(self, name: str, row: dict[str, Any]) -> None:
        self._arrays[name].write((",\n" if self._counts[name] else "") + to_json(row))
        self._counts[name] += 1


@register
class Coco(Exporter):
    """A file a part; ids run through all parts."""

    name = "coco"
    summary = "COCO JSON, each annotation with its phrase"
    reader = (
        "pycocotools reads the files; bbox is x, y, width, height in pixels. An image with "
        "several captions has the boxes of all of them, so that an object can be there twice."
    )

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        self._files = {
            part: CocoFile(folder / f"{file_stem(part)}.json", stack) for part in setting.parts
        }
        self._images = Numbering()
        self._boxes = 0
        self._categories = CategoryList(setting.categories)

    @classmethod
    def refusals(cls, record: Record) -> list[str | None]:
        """An annotation is a box."""
        return without_boxes(record)

    def add(self, example: Example) -> None:
        """Write the image, where it is new, and the boxes."""
        file = self._files[example.part]
        image, new = self._images.number(example.image_key)
        if new:
            file.add_image(image, example)
        for expression in example.record.expressions:
            category = self._categories.number(expression)
            for instance in expression.instances:
                self._boxes += 1
                file.add_box(self._boxes, image, category, expression, instance)

    def finish(self) -> None:
        """Write the files, each with the categories of all parts."""
        for file in self._files.values():
            file.finish(self._categories.numbers)
