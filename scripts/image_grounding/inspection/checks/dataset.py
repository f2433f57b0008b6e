# SPDX-License-Identifier: Apache-2.0
"""Checks of all records together, from running counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from image_grounding.inspection.checks.convention import CONVENTION_CHECKS, convention_findings
from image_grounding.inspection.checks.placement import Placement
from image_grounding.inspection.checks.registry import RECORD
from image_grounding.inspection.model import Check, Finding, Flag, Level
from image_grounding.inspection.wilson import wilson_interval
from image_grounding.results import Record
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
UNMEASURED_CONVENTION = Check(
    "unmeasured_convention",
    "Nobody measured the convention that the boxes were read in.",
    "Set vlm.coordinates to auto for the next run, or let check_endpoint.py measure it: a wrong "
    "one puts every box in a wrong place.",
    dataset=True,
)
EMBEDDED_ANNOTATOR = Check(
    "embedded_annotator",
    "These are the embedded annotator's boxes: it knows 80 nouns and is there to try things with.",
    "Take them for a demonstration, not for training data: run with vlm.backend gemini or openai.",
    dataset=True,
)
CHECKS_NOT_MADE = Check(
    "checks_not_made",
    "There is too little here for some checks.",
    "Do not take their silence for a pass: annotate a larger pilot (--sample), and look at the "
    "boxes.",
    dataset=True,
)
DATASET_CHECKS = (
    NO_RECORDS,
    FAILED_SHARE,
    UNGROUNDED_SHARE,
    ONE_SCORE,
    *CONVENTION_CHECKS,
    WIDESPREAD_FLAG,
    UNMEASURED_CONVENTION,
    EMBEDDED_ANNOTATOR,
    CHECKS_NOT_MADE,
)
COUNTS = (
    "records", "flagged_records", "grounded_records", "expressions", "ungrounded_expressions",
    "boxes", "failed",
)  # fmt: skip
# Flags that the dataset has a check of its own for.
_JUDGED_ELSEWHERE = {"ungrounded_expression"}
_FEW_RECORDS = 10  # fewer say nothing of how frequent a flag is
_FEW = 100  # of so many a share counts as it is; of fewer, the lower bound of its interval
_ALL_BOXES_OUTSIDE = "reply_unusable"  # reason of a failure


@dataclass
class Tally:
    """Running counts over records and failures; of constant size.

    ``counts`` are those of ``Inspection``, ``flags`` the records with each flag, ``failures``
    the failed samples by step and reason.
    """

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTS, 0)))
    flags: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Counter[str]] = field(default_factory=dict)
    scores: Counter[float] = field(default_factory=Counter)
    placement: Placement = field(default_factory=Placement)

    def add(self, record: Record, flags: Sequence[Flag]) -> None:
        """Count a record and what was found in it."""
        instances = [one for item in record.expressions for one in item.instances]
        ungrounded = sum(not item.instances for item in record.expressions)
        self.counts["records"] += 1
        self.counts["flagged_records"] += bool(flags)
        self.counts["expressions"] += len(record.expressions)
        self.counts["boxes"] += len(instances)
        if record.grounded:
            self.counts["grounded_records"] += 1
            self.counts["ungrounded_expressions"] += ungrounded
        self.flags.update({flag.check for flag in flags})
        self.scores.update(round(one.score, 2) for one in instances if one.score is not None)
        self.placement.add(record)

    def add_failure(self, step: str, reason: str) -> None:
        """Count a failed sample."""
        self.failures.setdefault(step, Counter())[reason] += 1
        self.counts["failed"] += 1

    def findings(self, summary: Mapping[str, Any], limits: Limits) -> list[Finding]:
        """What the dataset-level checks find, worst first.

        Args:
            summary: of the run; says how many boxes it dropped.
            limits: from the spec.
        """
        dropped = _int(summary, "counts", "dropped_boxes", "outside")
        unusable = sum(reasons[_ALL_BOXES_OUTSIDE] for reasons in self.failures.values())
        found = [
            *convention_findings(self.placement, dropped + unusable, limits),
            *self._shares(limits),
            *self._widespread(limits),
            *self._teacher(summary),
            *self._not_made(limits),
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
            total = failed + counts["records"]
            detail = f"{failed} of {total}: {named}."
            level = _level_of(failed, total, limits.failed)
            yield _finding(FAILED_SHARE, detail, level, failed / total, limits.failed)
        if counts["grounded_records"] and counts["expressions"]:
            missing, total = counts["ungrounded_expressions"], counts["expressions"]
            if missing / total > limits.ungrounded:
                detail = f"{missing} of {total} have none."
                level = _level_of(missing, total, limits.ungrounded)
                yield _finding(UNGROUNDED_SHARE, detail, level, missing / total, limits.ungrounded)
        scored = self.scores.total()
        if scored >= limits.min_boxes:
            score, count = self.scores.most_common(1)[0]
            if count / scored > limits.same_score:
                detail = f"{count / scored:.0%} have {score:.2f}."
                yield _finding(ONE_SCORE, detail, Level.WARN, count / scored, limits.same_score)

    def _widespread(self, limits: Limits) -> Iterator[Finding]:
        checks = {check.name: check for check in RECORD.checks}
        records = self.counts["records"]
        for name, count in self.flags.most_common():
            often = records >= _FEW_RECORDS and count / records > limits.same_flag
            if often and name not in _JUDGED_ELSEWHERE:
                sentence = (
                    f"{name} in {count / records:.0%} of the records: {checks[name].sentence}"
                )
                yield Finding(
                    WIDESPREAD_FLAG.name, Level.WARN, sentence, checks[name].remedy,
                    round(count / records, 4), limits.same_flag,
                )  # fmt: skip

    def _teacher(self, summary: Mapping[str, Any]) -> Iterator[Finding]:
        teacher = summary.get("teacher")
        teacher = teacher if isinstance(teacher, Mapping) else {}
        if teacher.get("backend") == "local":
            yield _finding(EMBEDDED_ANNOTATOR, "", Level.WARN, None, None)
        elif self.counts["grounded_records"] and teacher.get("convention_iou") is None:
            given = teacher.get("convention")
            detail = f"The spec gave {given}." if given else "It is not known which it was."
            yield _finding(UNMEASURED_CONVENTION, detail, Level.WARN, None, None)

    def _not_made(self, limits: Limits) -> Iterator[Finding]:
        records, boxes = self.counts["records"], self.counts["boxes"]
        silent = []
        if records < _FEW_RECORDS:
            silent.append(f"widespread_flag ({records} records, {_FEW_RECORDS} are needed)")
        if self.counts["grounded_records"]:
            if self.scores.total() < limits.min_boxes:
                wanted = f"{self.scores.total()} scores, {limits.min_boxes} are needed"
                silent.append(f"one_score ({wanted})")
            if boxes < limits.min_boxes:
                wanted = f"{boxes} boxes; with fewer than {limits.min_boxes} they warn at most"
                silent.append(f"those of a wrong convention ({wanted})")
            if not self.placement.tells_axes():
                silent.append(
                    "convention_axes (pictures of one shape, and hardly an expression says a side)"
                )
        if records and silent:
            yield _finding(CHECKS_NOT_MADE, "; ".join(silent) + ".", Level.INFO, None, None)


def _level_of(count: int, total: int, limit: float) -> Level:
    """Fails where a share is above its limit for certain, or of many; else it warns."""
    certain = wilson_interval(count, total)[0] > limit
    return Level.FAIL if certain or total >= _FEW else Level.WARN


def _finding(
    check: Check, detail: str, level: Level, value: float | None, limit: float | None
) -> Finding:
    sentence = f"{check.sentence} {detail}".strip()
    shown = None if value is None else round(value, 4)
    return Finding(check.name, level, sentence, check.remedy, shown, limit)


def _int(values: Mapping[str, Any], *path: str) -> int:
    """A count somewhere in a summary; 0 where it is not."""
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) else 0
