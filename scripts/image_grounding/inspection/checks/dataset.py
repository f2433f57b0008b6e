# SPDX-License-Identifier: Apache-2.0
"""Checks of the whole data set, from running counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image_grounding.boxes.geometry import GOOD_IOU, MIN_IOU
from image_grounding.inspection.checks.convention import as_measured, convention_findings
from image_grounding.inspection.checks.dataset_checks import (
    CHECKS_NOT_MADE,
    COARSE_BOXES,
    EMBEDDED_ANNOTATOR,
    FAILED_SHARE,
    INCOMPLETE,
    MIXED_CONVENTIONS,
    NO_BOXES,
    NO_EXPRESSIONS,
    NO_RECORDS,
    ONE_SCORE,
    UNGROUNDED_SHARE,
    UNMEASURED_CONVENTION,
    WIDESPREAD_FLAG,
)
from image_grounding.inspection.checks.edges import PictureSample
from image_grounding.inspection.checks.placement import Placement
from image_grounding.inspection.checks.registry import RECORD
from image_grounding.inspection.model import Check, Finding, Flag, Level
from image_grounding.inspection.wilson import wilson_interval
from image_grounding.results.reading import Record, Unfinished, count_in
from image_grounding.spec import Limits
from image_grounding.spec.capabilities import capabilities_of

COUNTS = (
    "records", "flagged_records", "grounded_records", "expressions", "ungrounded_expressions",
    "boxes", "failed",
)  # fmt: skip
# Flags with a dataset-level check of their own.
_OWN_CHECK = {"ungrounded_expression"}
_FEW_RECORDS = 10  # fewer cannot tell how frequent a flag is
_EMPTY = "no_expressions"  # a flag that counts however few records there are
_ALL_BOXES_OUTSIDE = "reply_unusable"  # the reason of a failure


@dataclass
class DatasetCounts:
    """Running counts over records and failures; of constant size.

    Attributes:
        counts: see ``Inspection``.
        doubtful: number of records with a flag that does more than inform.
        grounding_ran: whether step 1 has run over any record.
        flags: number of records with each flag.
        failures: number of failed samples by step and reason.
        scores: number of boxes by score, rounded to 0.01.
        placement: where the boxes are.
        pictures: a sample of the pictures, to compare boxes with.
    """

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTS, 0)))
    doubtful: int = 0
    grounding_ran: bool = False
    flags: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Counter[str]] = field(default_factory=dict)
    scores: Counter[float] = field(default_factory=Counter)
    placement: Placement = field(default_factory=Placement)
    pictures: PictureSample = field(default_factory=PictureSample)
    _informing: frozenset[str] = field(
        default_factory=lambda: frozenset(c.name for c in RECORD.checks if not c.weight)
    )

    def add(self, record: Record, flags: Sequence[Flag], image: Path | str) -> None:
        """Count a record, its flags, and how its boxes fit its image."""
        boxes = [box for expression in record.expressions for box in expression.instances]
        ungrounded = sum(not expression.instances for expression in record.expressions)
        self.counts["records"] += 1
        self.counts["flagged_records"] += bool(flags)
        self.counts["expressions"] += len(record.expressions)
        self.counts["boxes"] += len(boxes)
        self.counts["grounded_records"] += bool(boxes)
        if record.grounded:
            self.grounding_ran = True
            self.counts["ungrounded_expressions"] += ungrounded
        names = {flag.check for flag in flags}
        self.doubtful += bool(names - self._informing)
        self.flags.update(names)
        self.scores.update(round(box.score, 2) for box in boxes if box.score is not None)
        self.placement.add(record)
        self.pictures.add(record, image)

    def add_failure(self, step: str, reason: str) -> None:
        """Count a failed sample."""
        self.failures.setdefault(step, Counter())[reason] += 1
        self.counts["failed"] += 1

    def findings(
        self, summary: Mapping[str, Any], limits: Limits, unfinished: Unfinished | None = None
    ) -> list[Finding]:
        """The findings of the dataset-level checks, worst first.

        Args:
            summary: the ``run_summary.json`` of the run.
            limits: from the spec.
            unfinished: the part of the input that the run did not come to.
        """
        dropped = count_in(summary, "counts", "dropped_boxes", "outside")
        clipped = count_in(summary, "counts", "clipped_boxes")
        dropped += sum(reasons[_ALL_BOXES_OUTSIDE] for reasons in self.failures.values())
        placed = convention_findings(self.placement, self.pictures, dropped, clipped, limits)
        found = [
            *(_with_measurement(finding, summary) for finding in placed),
            *self._shares(limits),
            *self._unfinished(unfinished),
            *self._teacher(summary),
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
        if counts["records"] and not counts["expressions"]:
            yield _finding(NO_EXPRESSIONS, "", Level.FAIL, None, None)
        elif self.grounding_ran and not counts["boxes"]:
            detail = f"There are {counts['expressions']}."
            yield _finding(NO_BOXES, detail, Level.FAIL, None, None)
        elif self.grounding_ran:
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

    def _unfinished(self, unfinished: Unfinished | None) -> Iterator[Finding]:
        if unfinished:
            yield _finding(INCOMPLETE, f"{unfinished}.", Level.WARN, None, None)

    def _teacher(self, summary: Mapping[str, Any]) -> Iterator[Finding]:
        """Findings about the model that made the boxes."""
        teacher = _section(summary, "teacher")
        convention, iou = teacher.get("convention"), teacher.get("convention_iou")
        if not self.grounding_ran:
            return
        if mixed := count_in(summary, "checkpoints_of_another_teacher", "convention"):
            yield _finding(MIXED_CONVENTIONS, f"It is {mixed} samples.", Level.FAIL, mixed, 0)
        if capabilities_of(str(teacher.get("backend"))).is_demonstration:
            yield _finding(EMBEDDED_ANNOTATOR, "", Level.WARN, None, None)
        elif not isinstance(iou, int | float):
            if convention:
                detail = f"It is {convention}."
                yield _finding(UNMEASURED_CONVENTION, detail, Level.WARN, None, None)
        elif iou < GOOD_IOU:
            coordinates = _section(summary, "spec", "image_grounding", "vlm").get("coordinates")
            # Measuring refuses a convention below the minimum, so the spec must have named it.
            if iou < MIN_IOU or coordinates not in (None, "auto"):
                detail = f"It is {convention}; on a probe the mean IoU was {iou:.2f}."
                poor = iou < MIN_IOU
                level, limit = (Level.FAIL, MIN_IOU) if poor else (Level.WARN, GOOD_IOU)
                yield _finding(UNMEASURED_CONVENTION, detail, level, iou, limit)
            else:
                yield _finding(COARSE_BOXES, f"Mean IoU {iou:.2f}.", Level.WARN, iou, GOOD_IOU)

    def _checks_not_made(self, limits: Limits) -> Iterator[Finding]:
        boxes = self.counts["boxes"]
        if self.grounding_ran and boxes < limits.min_boxes:
            detail = f"{boxes} of {limits.min_boxes}."
            yield _finding(CHECKS_NOT_MADE, detail, Level.INFO, None, None)

    def _widespread(self, limits: Limits) -> Iterator[Finding]:
        checks = {check.name: check for check in RECORD.checks}
        records = self.counts["records"]
        for name, count in self.flags.most_common():
            enough = records >= _FEW_RECORDS or name == _EMPTY
            if enough and count / records > limits.same_flag and name not in _OWN_CHECK:
                sentence = (
                    f"{name} in {count / records:.0%} of the records: {checks[name].sentence}"
                )
                yield Finding(
                    WIDESPREAD_FLAG.name,
                    Level.INFO if name in self._informing else Level.WARN,
                    sentence,
                    checks[name].remedy,
                    round(count / records, 4),
                    limits.same_flag,
                )


def _with_measurement(finding: Finding, summary: Mapping[str, Any]) -> Finding:
    """A finding about places, in the light of what the run measured of all its boxes."""
    teacher = _section(summary, "teacher")
    measured, iou = teacher.get("measured_convention"), teacher.get("convention_iou")
    mixed = count_in(summary, "checkpoints_of_another_teacher", "convention")
    mixed += count_in(summary, "checkpoints_of_another_teacher", "measured_convention")
    if isinstance(measured, str) and isinstance(iou, int | float) and iou >= GOOD_IOU and not mixed:
        return as_measured(finding, measured, iou)
    return finding


def _level(count: int, total: int, limit: float) -> Level:
    """The level of a share above its limit: a failure only where chance cannot explain it."""
    return Level.FAIL if wilson_interval(count, total)[0] > limit else Level.WARN


def _finding(
    check: Check, detail: str, level: Level, value: float | None, limit: float | None
) -> Finding:
    sentence = f"{check.sentence} {detail}".strip()
    shown = None if value is None else round(value, 4)
    return Finding(check.name, level, sentence, check.remedy, shown, limit)


def _section(summary: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A section of a summary; empty where it is missing."""
    found: Any = summary
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
