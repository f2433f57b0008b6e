# SPDX-License-Identifier: Apache-2.0
"""What an export counts: what was read, what was left out and why, what each part holds."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from image_grounding.exports.base import stable_hash
from image_grounding.results.reading import Record


@dataclass
class PartCounts:
    """Counts a part, and the hashes of the images in it: 64 bits an image."""

    counts: Counter[str] = field(default_factory=Counter)
    images: set[int] = field(default_factory=set)

    def add(self, record: Record, key: str) -> bool:
        """Count a record; whether its image is new."""
        _add(self.counts, record)
        known = len(self.images)
        self.images.add(stable_hash(key))
        return len(self.images) > known

    def plain(self) -> dict[str, int]:
        """The counts for JSON."""
        counts = {name: self.counts[name] for name in ("records", "expressions", "boxes")}
        return {"records": counts.pop("records"), "images": len(self.images), **counts}


@dataclass
class ReadCounts:
    """What was read.

    Attributes:
        read: records, expressions and boxes.
        left_out: how many of them were left out, by reason.
        turned_images: images that are exported as files which EXIF turns.
        scored_boxes: boxes with a score.
        scores: their scores, two different ones at most.
    """

    read: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    turned_images: int = 0
    scored_boxes: int = 0
    scores: set[float] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count a record."""
        _add(self.read, record)
        boxes = (box for expression in record.expressions for box in expression.instances)
        for score in (box.score for box in boxes if box.score is not None):
            self.scored_boxes += 1
            if len(self.scores) < 2:
                self.scores.add(score)


def count_report(by_part: dict[str, PartCounts], counts: ReadCounts) -> dict[str, Any]:
    """The counts for JSON."""
    parts = {part or "all": found.plain() for part, found in by_part.items()}
    return {
        **{name: sum(part[name] for part in parts.values()) for name in next(iter(parts.values()))},
        "read": dict(counts.read),
        "left_out": dict(+counts.left_out),
        "parts": parts,
    }


def count_row(kind: str, report: dict[str, Any]) -> tuple[int, int, int]:
    """In the results, left out, exported: the first is the sum of the others."""
    left = sum(n for name, n in report["left_out"].items() if name.startswith(f"{kind}_"))
    return report["read"][kind], left, report[kind]


def _add(counts: Counter[str], record: Record) -> None:
    counts["records"] += 1
    counts["expressions"] += len(record.expressions)
    counts["boxes"] += box_count(record)


def box_count(record: Record) -> int:
    """How many boxes a record has."""
    return sum(len(expression.instances) for expression in record.expressions)
