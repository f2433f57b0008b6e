# SPDX-License-Identifier: Apache-2.0
"""ODVG, visual grounding: TAO Grounding DINO, Open-GroundingDINO and MMDetection.

Keys as ``datasets/odvg.py`` of Open-GroundingDINO and ``ODVGDataset`` of MMDetection read them
(``filename``; the second fails on a region without ``tokens_positive``), and TAO's reader
(``file_name``).
"""

from typing import Any

from image_grounding.exports.base import (
    Example,
    JsonLinesExporter,
    box_exclusions,
    register,
    span_of,
)
from image_grounding.results.reading import Record


@register
class Odvg(JsonLinesExporter):
    """A record a line, a region a box."""

    name = "odvg"
    summary = "JSON lines of caption and regions for Grounding DINO"
    reader = (
        "Open-GroundingDINO, TAO Grounding DINO and MMDetection's ODVGDataset read the lines; "
        "boxes are x1, y1, x2, y2 in pixels, tokens_positive counts code points of the caption."
    )

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """Readers fail on a line without regions, and on a region that is not in the caption."""
        return [
            exclusion or (None if span_of(expression, record) else "expressions_without_span")
            for expression, exclusion in zip(
                record.expressions, box_exclusions(record), strict=True
            )
        ]

    def row(self, example: Example) -> dict[str, Any]:
        """The line of a record."""
        record = example.record
        # MMDetection strips and lowers the caption itself, and spans would no longer fit: in lower
        # case U+0130 is two characters, the only letter whose number changes.
        caption = record.cleaned_caption.strip().replace("\u0130", "I")
        moved = len(record.cleaned_caption) - len(record.cleaned_caption.lstrip())
        regions = []
        for expression in record.expressions:
            start, end = span_of(expression, record) or (0, 0)  # never none, see exclusions
            place = [max(start - moved, 0), min(end - moved, len(caption))]
            phrase = caption[slice(*place)]
            regions += [
                {"bbox": instance.bbox, "phrase": phrase, "tokens_positive": [place]}
                for instance in expression.instances
            ]
        return {
            "filename": example.image,
            "file_name": example.image,
            "height": record.size[1],
            "width": record.size[0],
            "grounding": {"caption": caption, "regions": regions},
        }
