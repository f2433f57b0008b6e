# SPDX-License-Identifier: Apache-2.0
"""Checks of the whole data set, from running counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from image_grounding.boxes.geometry import GOOD_IOU
from image_grounding.inspection.checks.convention import CONVENTION_CHECKS, convention_findings
from image_grounding.inspection.checks.placement import Placement
from image_grounding.inspection.checks.registry import RECORD
from image_grounding.inspection.model import Check, Finding, Flag, Level
from image_grounding.inspection.wilson import wilson_interval
from image_grounding.results.reading import Record
from image_grounding.spec import Limits

NO_RECORDS = Check(
    "no_records",
    "There is no record to judge.",
    "Look at failures.jsonl; check_endpoint.py says whether the endpoint can do the work.",
    dataset=True,
)
FAILED_SHARE = Check(
    "failed_share",
    "Many samples failed.",
    "Look at the reasons in failures.jsonl, mend the most frequent one and run again: only what "
    "is missing is asked for.",
    dataset=True,
)
UNGROUNDED_SHARE = Check(
    "ungrounded_share",
    "Many expressions have no box.",
    "See whether the things are in the pictures. If they are: a stronger model, a higher "
    "resolution (vlm.image.max_pixels). check_endpoint.py tells whether the model sees at all.",
    dataset=True,
)
ONE_SCORE = Check(
    "one_score",
    "Nearly all boxes have the same score, so that scores tell nothing.",
    "Do not filter by score (export's --min-score); precision comes from a review.",
    dataset=True,
)
WIDESPREAD_FLAG = Check(
    "widespread_flag",
    "One and the same flag is on a large share of the records.",
    "Look at some with --only FLAG; the flag's own remedy says more.",
    dataset=True,
)
EMBEDDED_ANNOTATOR = Check(
    "embedded_annotator",
    "The embedded annotator made these boxes: they show the workflow, and train nothing.",
    "Run with a vision-language model: setup_wizard.py writes the spec.",
    dataset=True,
)
UNMEASURED_CONVENTION = Check(
    "unmeasured_convention",
    "The spec names the box convention, so that nobody has measured it: where it is wrong, every "
    "box is.",
    "Set vlm.coordinates to auto, or see what check_endpoint.py measures.",
    dataset=True,
)
COARSE_BOXES = Check(
    "coarse_boxes",
    "The convention was measured, but boxes of flat rectangles fit it badly.",
    "The model boxes coarsely, or writes a convention that is not known here: look at the "
    "pictures of check_endpoint.py --save-probe, and take a stronger model.",
    dataset=True,
)
CHECKS_NOT_MADE = Check(
    "checks_not_made",
    "There are too few boxes to prove a wrong convention.",
    "Look at the boxes on their pictures, or take a larger pilot.",
    dataset=True,
)
DATASET_CHECKS = (
    NO_RECORDS,
    FAILED_SHARE,
    UNGROUNDED_SHARE,
    ONE_SCORE,
    *CONVENTION_CHECKS,
    EMBEDDED_ANNOTATOR,
    UNMEASURED_CONVENTION,
    COARSE_BOXES,
    WIDESPREAD_FLAG,
    CHECKS_NOT_MADE,
)
COUNTS = (
    "records", "flagged_records", "grounded_records", "expressions", "ungrounded_expressions",
    "boxes", "failed",
)  # fmt: skip
# Flags with a dataset-level check of their own.
_OWN_CHECK = {"ungrounded_expression"}
_FEW_RECORDS = 10  # fewer cannot tell how frequent a flag is
_ALL_BOXES_OUTSIDE = "reply_unusable"  # the reason of a failure


@dataclass
class DatasetCounts:
    """Running counts over records and failures; of constant size.

    Attributes:
        counts: see ``Inspection``.
        flags: number of records with each flag.
        failures: number of failed samples by step and reason.
        scores: number of boxes by score, rounded to 0.01.
        placement: where the boxes are.
    """

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTS, 0)))
    flags: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Counter[str]] = field(default_factory=dict)
    scores: Counter[float] = field(default_factory=Counter)
    placement: Placement = field(default_factory=Placement)

    def add(self, record: Record, flags: Sequence[Flag]) -> None:
        """Count a record and its flags."""
        boxes = [box for expression in record.expressions for box in expression.instances]
        ungrounded = sum(not expression.instances for expression in record.expressions)
        self.counts["records"] += 1
        self.counts["flagged_records"] += bool(flags)
        self.counts["expressions"] += len(record.expressions)
        self.counts["boxes"] += len(boxes)
        if record.grounded:
            self.counts["grounded_records"] += 1
            self.counts["ungrounded_expressions"] += ungrounded
        self.flags.update({flag.check for flag in flags})
        self.scores.update(round(box.score, 2) for box in boxes if box.score is not None)
        self.placement.add(record)

    def add_failure(self, step: str, reason: str) -> None:
        """Count a failed sample."""
        self.failures.setdefault(step, Counter())[reason] += 1
        self.counts["failed"] += 1

    def findings(self, summary: Mapping[str, Any], limits: Limits) -> list[Finding]:
        """The findings of the dataset-level checks, worst first.

        Args:
            summary: the ``run_summary.json`` of the run.
            limits: from the spec.
        """
        dropped = _int(summary, "counts", "dropped_boxes", "outside")
        clipped = _int(summary, "counts", "clipped_boxes")
        unusable = sum(reasons[_ALL_BOXES_OUTSIDE] for reasons in self.failures.values())
        found = [
            *convention_findings(self.placement, dropped + unusable, clipped, limits),
            *self._shares(limits),
            *self._teacher(summary.get("teacher")),
            *self._widespread(limits),
            *self._checks_not_made(limits),
        ]
        order = (Level.FAIL, Level.WARN, Level.INFO)
        return sorted(found, key=lambda finding: order.index(finding.level))

    def _shares(self, limits: Limits) -> Iterator[Finding]:
        counts, failed = self.counts, self.counts["failed"]
        reasons: Counter[str] = sum(self.failures.values(), Counter())
        named = ", ".join(f"{count} x {name}" for name, count in reasons.most_common(3))
        if not counts["records"]:
            detail = f"All {failed} samples failed: {named}." if failed else ""
            yield _finding(NO_RECORDS, detail, Level.FAIL, None, None)
        elif failed / (failed + counts["records"]) > limits.failed:
            share = failed / (failed + counts["records"])
            detail = f"{share:.0%} of them: {named}."
            level = _level(failed, failed + counts["records"], limits.failed)
            yield _finding(FAILED_SHARE, detail, level, share, limits.failed)
        if counts["grounded_records"] and counts["expressions"]:
            ungrounded, expressions = counts["ungrounded_expressions"], counts["expressions"]
            share = ungrounded / expressions
            if share > limits.ungrounded:
                detail = f"{share:.0%} of {expressions} have none."
                level = _level(ungrounded, expressions, limits.ungrounded)
                yield _finding(UNGROUNDED_SHARE, detail, level, share, limits.ungrounded)
        scored = self.scores.total()
        if scored >= limits.min_boxes:
            score, count = self.scores.most_common(1)[0]
            if count / scored > limits.same_score:
                detail = f"{count / scored:.0%} have {score:.2f}."
                yield _finding(ONE_SCORE, detail, Level.WARN, count / scored, limits.same_score)

    def _teacher(self, teacher: Any) -> Iterator[Finding]:
        """Findings about the model that made the boxes."""
        known: Mapping[str, Any] = teacher if isinstance(teacher, Mapping) else {}
        iou = known.get("convention_iou")
        if not self.counts["grounded_records"]:
            return
        if known.get("backend") == "local":
            yield _finding(EMBEDDED_ANNOTATOR, "", Level.WARN, None, None)
        elif isinstance(iou, int | float):
            if iou < GOOD_IOU:
                yield _finding(COARSE_BOXES, f"Mean IoU {iou:.2f}.", Level.WARN, iou, GOOD_IOU)
        elif convention := known.get("convention"):
            yield _finding(UNMEASURED_CONVENTION, f"It is {convention}.", Level.WARN, None, None)

    def _checks_not_made(self, limits: Limits) -> Iterator[Finding]:
        boxes = self.counts["boxes"]
        if self.counts["grounded_records"] and boxes < limits.min_boxes:
            detail = f"{boxes} of {limits.min_boxes}."
            yield _finding(CHECKS_NOT_MADE, detail, Level.INFO, None, None)

    def _widespread(self, limits: Limits) -> Iterator[Finding]:
        checks = {check.name: check for check in RECORD.checks}
        records = self.counts["records"]
        for name, count in self.flags.most_common():
            often = records >= _FEW_RECORDS and count / records > limits.same_flag
            if often and name not in _OWN_CHECK:
                sentence = (
                    f"{name} in {count / records:.0%} of the records: {checks[name].sentence}"
                )
                yield Finding(
                    WIDESPREAD_FLAG.name, Level.WARN, sentence, checks[name].remedy,
                    round(count / records, 4), limits.same_flag,
                )  # fmt: skip


def _level(count: int, total: int, limit: float) -> Level:
    """The level of a share above its limit: a failure only where chance cannot explain it."""
    return Level.FAIL if wilson_interval(count, total)[0] > limit else Level.WARN


def _finding(
    check: Check, detail: str, level: Level, value: float | None, limit: float | None
) -> Finding:
    sentence = f"{check.sentence} {detail}".strip()
    shown = None if value is None else round(value, 4)
    return Finding(check.name, level, sentence, check.remedy, shown, limit)


def _int(values: Mapping[str, Any], *path: str) -> int:
    """A count in a summary; 0 where it is missing."""
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) else 0
