# SPDX-License-Identifier: Apache-2.0
"""RefCOCO: one referring expression to one box, as the ``refer`` API reads it."""

import pickle
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_grounding.exports.base import (
    CategoryList,
    Example,
    Exporter,
    Setting,
    box_exclusions,
    register,
)
from image_grounding.exports.coco import CATEGORY_IDS, CocoFile, Ids
from image_grounding.files import clean_json
from image_grounding.results.reading import GroundedExpression, Record


@register
class RefCoco(Exporter):
    """``instances.json``, and the refs as JSON and as the pickle that ``refer`` opens."""

    name = "refcoco"
    summary = "RefCOCO: refs and instances; only expressions with exactly one box"
    reader = (
        "REFER(data_root, dataset, splitBy='unc') reads refs(unc).p and instances.json from a "
        "folder data_root/dataset; refs.json holds the same refs for other readers. Each ref "
        f"names its split (train where there are no parts). {CATEGORY_IDS}"
    )
    options = ("categories", "category_ids")
    single_box = True

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        ids = Ids(CategoryList(setting))
        self._instances = CocoFile(folder / "instances.json", stack, ids)
        self._json = self.open("refs.json")
        self._pickle = stack.enter_context((folder / "refs(unc).p").open("wb"))
        self._pickle.write(pickle.PROTO + b"\x02" + pickle.EMPTY_LIST)
        self._begun = False

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """An expression refers to one object."""
        return box_exclusions(record)

    def add(self, example: Example) -> None:
        """Write a ref and its box for each expression."""
        boxes = self._instances.add(example)
        for expression, box in zip(example.record.expressions, boxes, strict=True):
            number = box["id"]
            ref = {
                "ref_id": number, "ann_id": number, "category_id": box["category_id"],
                "image_id": box["image_id"], "file_name": example.image,
                "split": example.part or "train",
                "sentences": [_sentence(number, expression)], "sent_ids": [number],
            }  # fmt: skip
            self._json.write((",\n" if self._begun else "[\n") + clean_json(ref))
            self._begun = True
            # A pickled list grows by its items one by one: no need to hold it.
            item = pickle.dumps(ref, protocol=2)
            self._pickle.write(item[2:-1] + pickle.APPEND)

    def tables(self) -> dict[str, str]:
        """The refs of all parts, in no part: they name their split."""
        return {"refs": "refs.json"}

    def finish(self) -> None:
        """Close the lists and write the instances."""
        self._json.write("\n]\n" if self._begun else "[]\n")
        self._pickle.write(pickle.STOP)
        self._instances.finish()


def _sentence(number: int, expression: GroundedExpression) -> dict[str, Any]:
    lower = expression.text.lower()
    tokens = re.findall(r"[\w'-]+", lower) or lower.split()
    return {
        "raw": expression.text, "sent": " ".join(tokens), "tokens": tokens, "sent_id": number,
    }  # fmt: skip
