# SPDX-License-Identifier: Apache-2.0
"""Inspections made by hand, of real picture files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.inspection.model import (
    Card,
    Chart,
    Check,
    Finding,
    Flag,
    Inspection,
    Level,
)
from image_grounding.results.reading import GroundedExpression, Record
from image_grounding.steps.annotations import Instance

CHECKS = {
    "ungrounded": Check("ungrounded", "Nothing was seen of it.", "Ask a larger model."),
    "tiny_box": Check("tiny_box", "The box is tiny.", "Send larger images."),
}


@dataclass(frozen=True)
class Phrase:
    """An expression: its text, its boxes with scores, and where it stands in the caption."""

    text: str
    boxes: Sequence[tuple[tuple[int, int, int, int], float | None]] = ()
    span: tuple[int, int] | None = None


def make_card(
    index: int,
    image: Path,
    size: tuple[int, int],
    cleaned: str,
    phrases: Sequence[Phrase],
    flags: Sequence[Flag] = (),
    caption: str | None = None,
    image_path: str | None = None,
) -> Card:
    expressions, raw = [], []
    for number, phrase in enumerate(phrases):
        start = cleaned.find(phrase.text)
        found = (start, start + len(phrase.text)) if start >= 0 else None
        own_id = f"s{index}-e{number}"
        instances = tuple(Instance(box, score) for box, score in phrase.boxes)
        expressions.append(
            GroundedExpression(own_id, phrase.text, phrase.span or found, phrase.text, instances)
        )
        boxes = [{"bbox_id": f"{own_id}-b{place}"} for place in range(len(instances))]
        raw.append({"expression_id": own_id, "instances": boxes})
    record = Record(
        sample_id=f"s{index}",
        image_id=image.stem,
        image_path=image_path or image.name,
        size=size,
        caption=cleaned if caption is None else caption,
        cleaned_caption=cleaned,
        expressions=tuple(expressions),
        grounded=True,
        fields={"expressions": raw},
    )
    return Card(index, record, tuple(flags), image)


def make_inspection(cards: Sequence[Card], **more: Any) -> Inspection:
    flags = Counter(flag.check for card in cards for flag in card.flags)
    values: dict[str, Any] = {
        "verdict": "warn",
        "headline": "Look at the phrases without a box before scaling.",
        "facts": (("model", "test-vlm"), ("convention", "norm1000_xyxy")),
        "counts": {"records": 9412, "boxes": 3},
        "flags": dict(flags),
        "failures": {"0": {}, "1": {"truncated_reply": 2}},
        "findings": (
            Finding("share", Level.WARN, "Many phrases have no box.", "Look at them.", 0.1234, 0.1),
        ),
        "charts": (Chart("Score", (("0-0.5", 1), ("0.5-1", 3))), Chart("Empty", ())),
        "cards": tuple(cards),
        "step": "1",
        "sampled_from": 9412,
        "summary": {"results_dir": "/data/run", "teacher": {"model": "test-vlm"}},
        "checks": CHECKS,
    }
    return Inspection(**{**values, **more})
