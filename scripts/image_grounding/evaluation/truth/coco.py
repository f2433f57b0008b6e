# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: boxes with phrases, with places in a caption, or with categories alone.

What names an annotation's phrase, in this order:

- ``tokens_positive``, character spans in its image's ``caption``, as in MDETR's files
  (ashkamath/mdetr, GoldG) and in our export, where an image has an entry for each of its captions;
- its own ``phrase``, with the ``caption`` that it is of where there is one;
- the name of its category: then each category of an image is a phrase with all its boxes.

Crowd regions (``iscrowd``) are left out, as they are no single box, and so are images without
annotations, of which the file does not state whether anyone looked.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import Box
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.truth.reading import (
    captions_of,
    from_xywh,
    hull,
    load_json,
    size_of,
    usable,
)
from image_grounding.spans import Span

Fields = Mapping[str, Any]


def read_coco(path: Path, left_out: Counter[str]) -> Iterator[Annotation]:
    """The annotations of a COCO file; memory grows with it."""
    content = load_json(path)
    categories = {
        category["id"]: str(category["name"]) for category in content.get("categories", ())
    }
    by_image: dict[Any, list[Fields]] = defaultdict(list)
    for fields in content["annotations"]:
        if fields.get("iscrowd"):
            left_out["crowd_regions"] += 1
        else:
            by_image[fields["image_id"]].append(fields)
    for image in content["images"]:
        annotations = by_image.pop(image["id"], [])
        left_out["images_without_annotations"] += not annotations
        yield from _of_image(image, annotations, categories, left_out)
    if by_image:
        left_out["annotations_without_image"] += sum(map(len, by_image.values()))


def _of_image(
    image: Fields,
    annotations: Sequence[Fields],
    categories: Mapping[Any, str],
    left_out: Counter[str],
) -> Iterator[Annotation]:
    by_caption: dict[tuple[str, ...], dict[Any, _Group]] = defaultdict(dict)
    by_category: dict[str, list[Box]] = defaultdict(list)
    for fields in annotations:
        box = from_xywh(fields["bbox"])
        own = fields.get("caption")
        captions = (str(own),) if own and own != image.get("caption") else captions_of(image)
        caption = captions[0] if captions else ""
        span = hull(fields.get("tokens_positive"), caption)
        if span or fields.get("phrase"):
            text = caption[slice(*span)] if span else str(fields["phrase"])
            key = (fields.get("expression_id"), text, span)
            by_caption[captions].setdefault(key, _Group(text, span)).boxes.append(box)
        else:
            by_category[categories[fields["category_id"]]].append(box)
    for captions, groups in by_caption.items():
        phrases = tuple(group.phrase(left_out) for group in groups.values())
        yield _annotation(image, captions, phrases)
    if by_category:
        named = by_category.items()
        phrases = tuple(Phrase(name, None, usable(boxes, left_out)) for name, boxes in named)
        yield _annotation(image, (), phrases, categories=True)


class _Group:
    """Boxes of one phrase."""

    def __init__(self, text: str, span: Span | None) -> None:
        self.text = text
        self.span = span
        self.boxes: list[Box] = []

    def phrase(self, left_out: Counter[str]) -> Phrase:
        return Phrase(self.text, self.span, usable(self.boxes, left_out))


def _annotation(
    image: Fields,
    captions: tuple[str, ...],
    phrases: tuple[Phrase, ...],
    *,
    categories: bool = False,
) -> Annotation:
    # MDETR's files number their entries; the image's own id is beside it.
    own = image.get("original_img_id", image["id"])
    path = str(image.get("file_name") or "")
    return Annotation(path, (str(own),), size_of(image), captions, phrases, categories)
