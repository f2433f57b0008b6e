# SPDX-License-Identifier: Apache-2.0
"""COCO detection JSON: an annotation a box, with its phrase.

An image has an entry for each of its captions, as in MDETR's files (ashkamath/mdetr): readers of
phrases (MDETR, ``GroundingDataset`` of Ultralytics) cut ``tokens_positive`` out of the ``caption``
of the entry. Annotations repeat it for ``CocoCaptions`` of torchvision.
"""

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.exports.base import (
    CategoryList,
    Example,
    Exporter,
    Setting,
    box_exclusions,
    file_stem,
    register,
    span_of,
)
from image_grounding.files import clean_json
from image_grounding.results.reading import Record


@dataclass
class Ids:
    """Ids of a dataset, through all its files; those of images and annotations start at 1."""

    categories: CategoryList
    images: int = 0
    annotations: int = 0


class CocoFile:
    """One JSON file of images, annotations and categories, written as a stream.

    Args:
        path: the file.
        stack: closes what is open.
        ids: of the dataset that the file belongs to.
    """

    def __init__(self, path: Path, stack: ExitStack, ids: Ids) -> None:
        self._path = path
        self._ids = ids
        self._arrays = {
            name: stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent)  # noqa: SIM115
            )
            for name in ("images", "annotations")
        }
        self._counts = dict.fromkeys(self._arrays, 0)

    def add(self, example: Example) -> list[dict[str, Any]]:
        """Add a record's image with its caption, and its boxes; these are returned."""
        record, ids = example.record, self._ids
        ids.images += 1
        self._write("images", {
            "id": ids.images, "file_name": example.image,
            "width": record.size[0], "height": record.size[1],
            "caption": record.cleaned_caption, "original_caption": record.caption,
            "original_img_id": record.image_id,
        })  # fmt: skip
        rows = []
        for expression in record.expressions:
            span = span_of(expression, record)
            for instance in expression.instances:
                ids.annotations += 1
                x1, y1, x2, y2 = instance.bbox
                width, height = x2 - x1, y2 - y1
                row = {
                    "id": ids.annotations, "image_id": ids.images,
                    "category_id": ids.categories.number(expression),
                    "bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0,
                    # The box itself: readers of masks fail on none.
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                    "phrase": expression.text, "expression_id": expression.expression_id,
                    "caption": record.cleaned_caption,
                    "tokens_positive": [span] if span else [], "score": instance.score,
                }  # fmt: skip
                self._write("annotations", row)
                rows.append(row)
        return rows

    def finish(self) -> None:
        """Write the file, with the categories of all files."""
        categories = self._ids.categories.numbers.items()
        listed = [{"id": number, "name": name} for name, number in categories]
        with self._path.open("w", encoding="utf-8", newline="\n") as file:
            file.write('{"info": {"description": "image-grounding"}, "licenses": [],\n')
            for name, rows in self._arrays.items():
                file.write(f'"{name}": [\n')
                rows.seek(0)
                shutil.copyfileobj(rows, file)
                file.write("\n],\n")
            file.write(f'"categories": {clean_json(listed)}}}\n')

    def _write(self, name: str, row: dict[str, Any]) -> None:
        self._arrays[name].write((",\n" if self._counts[name] else "") + clean_json(row))
        self._counts[name] += 1


# Both camps exist: the first use an id as the index of a name, the others have 0 for "nothing".
CATEGORY_IDS = (
    "Ids of categories start at the number of --category-ids: 0 for readers that index names by "
    "them (TAO Grounding DINO's validation set, Hugging Face's GroundingDINO), 1 for readers that "
    "keep 0 for the background or subtract 1 (detectors of torchvision, Ultralytics' convert_coco)."
)


@register
class Coco(Exporter):
    """A file a part; ids run through all parts."""

    name = "coco"
    summary = "COCO JSON, each annotation with its phrase"
    reader = (
        "pycocotools reads the files; bbox is x, y, width, height in pixels, segmentation the "
        "same box. An image with several captions has an entry for each, as in MDETR's files, with "
        "one original_img_id; tokens_positive is where in the caption of its entry a phrase "
        f"stands. {CATEGORY_IDS}"
    )
    options = ("categories", "category_ids")
    table_field = "annotations"

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        ids = Ids(CategoryList(setting))
        self._files = {
            part: CocoFile(folder / f"{file_stem(part)}.json", stack, ids) for part in setting.parts
        }

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """An annotation is a box."""
        return box_exclusions(record)

    def add(self, example: Example) -> None:
        """Write the image, where it is new, the caption and the boxes."""
        self._files[example.part].add(example)

    def tables(self) -> dict[str, str]:
        """The annotations, of each file."""
        return {part: f"{file_stem(part)}.json" for part in self.setting.parts}

    def finish(self) -> None:
        """Write the files."""
        for file in self._files.values():
            file.finish()
