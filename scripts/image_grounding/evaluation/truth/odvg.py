# SPDX-License-Identifier: Apache-2.0
"""ODVG JSON Lines: ``grounding``, ``referring`` or ``detection`` of one image a line.

As Open-GroundingDino (longzw1997/Open-GroundingDino, data_format.md), TAO and MMDetection
(open-mmlab/mmdetection, mmdet/datasets/odvg.py and tools/dataset_converters) have it: a region's
``bbox`` is one box or a list of them, its ``phrase`` a string or, where it is in pieces, a list;
``tokens_positive`` are character spans in the caption. In ``referring`` lines (refcoco2odvg.py)
the list holds several expressions of one box.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import Box
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.truth.reading import corners, hull, size_of, usable
from image_grounding.files import json_lines
from image_grounding.spans import Span


def read_odvg(path: Path, left_out: Counter[str]) -> Iterator[Annotation]:
    """The lines of an ODVG file; of a line with several kinds the one with most language."""
    for number, fields in json_lines(path):
        try:
            yield _annotation(fields, left_out)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"line {number}: {type(error).__name__}: {error}") from None


def _annotation(fields: Mapping[str, Any], left_out: Counter[str]) -> Annotation:
    captions: tuple[str, ...] = ()
    boxes: dict[tuple[str, Span | None], list[Box]] = defaultdict(list)
    categories = False
    if grounding := fields.get("grounding"):
        caption = str(grounding["caption"])
        captions = (caption,)
        for region in grounding["regions"]:
            span = hull(region.get("tokens_positive"), caption)
            boxes[_joined(region["phrase"]), span] += _boxes(region)
    elif referring := fields.get("referring"):
        for region in referring:
            named = region["phrase"]
            for text in [named] if isinstance(named, str) else named:
                boxes[str(text), None] += _boxes(region)
    else:
        categories = True
        for region in fields["detection"]["instances"]:
            boxes[str(region["category"]), None] += _boxes(region)
    return Annotation(
        image_path=str(fields.get("filename") or fields["file_name"]),
        image_ids=(),
        size=size_of(fields),
        captions=captions,
        phrases=tuple(
            Phrase(text, span, usable(found, left_out)) for (text, span), found in boxes.items()
        ),
        categories=categories,
    )


def _joined(phrase: Any) -> str:
    return phrase if isinstance(phrase, str) else " ".join(phrase)


def _boxes(region: Mapping[str, Any]) -> list[Box]:
    boxes = region["bbox"]
    return [corners(box) for box in (boxes if isinstance(boxes[0], list) else [boxes])]
