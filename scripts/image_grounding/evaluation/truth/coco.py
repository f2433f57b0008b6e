# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: phrases and captions on annotations, or category names as phrases.

An annotation's phrase is its ``phrase``; else its own ``caption``; else its category's name.
The caption that a ``phrase`` stands in is the annotation's, else the image's ``caption``.
Crowd regions (``iscrowd``) are not objects and are left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from image_grounding.evaluation.truth.base import (
    ImageKey,
    Place,
    TruthExample,
    as_phrases,
    load_json,
    xywh,
)
from image_grounding.frames import Box


def read_coco(path: Path) -> Iterator[TruthExample]:
    """Examples by image and caption."""
    document = load_json(path)
    images = coco_images(document)
    captions = {image["id"]: image.get("caption") for image in document["images"]}
    names = {one["id"]: str(one["name"]) for one in document.get("categories", ())}
    found: dict[tuple[Any, str | None], dict[Place, list[Box]]] = {}
    for one in document["annotations"]:
        if one.get("iscrowd"):
            continue
        phrase, caption = one.get("phrase"), one.get("caption")
        if phrase is not None:
            caption = caption or captions[one["image_id"]]
        else:
            phrase, caption = caption or names[one["category_id"]], None
        example = found.setdefault((one["image_id"], caption), {})
        example.setdefault((str(phrase), None), []).append(xywh(one["bbox"]))
    for (image, caption), phrases in found.items():
        yield TruthExample(images[image], caption, as_phrases(phrases))


def coco_images(document: Mapping[str, Any]) -> dict[Any, ImageKey]:
    """Images by id."""
    return {
        image["id"]: ImageKey(str(image["id"]), image.get("file_name"))
        for image in document["images"]
    }
