# SPDX-License-Identifier: Apache-2.0
"""Inspect a run: its results read once, into an ``Inspection``."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from image_grounding.images.pixels import read_header
from image_grounding.inspection.charts import Charts
from image_grounding.inspection.checks import CHECKS, RECORD_CHECKS, Subject, check_record
from image_grounding.inspection.checks.dataset import DatasetCounts
from image_grounding.inspection.kept_replies import kept_replies
from image_grounding.inspection.model import Card, Finding, Inspection, Level
from image_grounding.inspection.sampling import Sampler
from image_grounding.results.reading import Results
from image_grounding.spec import Limits
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.table import AnyStep, all_steps

# Captions of one image are mostly adjacent.
_HEADERS_KEPT = 256
# One name for the findings of all signatures.
_WRONG_CONVENTION = "wrong box convention"


def inspect_run(
    results: Results,
    limits: Limits,
    *,
    step: AnyStep | None = None,
    sample: int = 100,
    seed: int = 0,
    only: str | None = None,
) -> Inspection:
    """Check each record and the whole data set, and pick the records to look at.

    Args:
        results: the results of a run.
        limits: thresholds of the dataset-level checks.
        step: the step to inspect; None for the last step of the run.
        sample: how many cards to pick.
        seed: seed of the random sample.
        only: name of a check; only records that it flags are sampled.

    Raises:
        InputError: a line of the results is no record.
    """
    totals, charts = DatasetCounts(), Charts()
    sampler = Sampler(sample, seed, {check.name: check.weight for check in RECORD_CHECKS}, only)
    header_of = lru_cache(_HEADERS_KEPT)(read_header)
    for index, record in enumerate(results.records()):
        image = results.image_of(record)
        flags = check_record(Subject(record, header_of(image)))
        totals.add(record, flags, image)
        charts.add(record)
        if only is None or any(flag.check == only for flag in flags):
            sampler.add(Card(index, record, flags, image))
    step = step or _last_step(results, totals.grounding_ran)
    for failed_step, fields in results.failures():
        if failed_step.number <= step.number:
            totals.add_failure(failed_step.number, str(fields.get("reason", "unknown")))
    findings = totals.findings(results.summary, limits, results.unfinished())
    verdict = findings[0].level if findings else Level.INFO
    return Inspection(
        verdict=_VERDICTS[verdict],
        headline=_headline(findings, totals),
        facts=_facts(results, totals),
        counts=dict(totals.counts),
        flags=dict(totals.flags.most_common()),
        failures={step: dict(reasons) for step, reasons in totals.failures.items()},
        findings=tuple(findings),
        charts=charts.charts(),
        cards=_with_replies(sampler.cards(), results),
        step=step.number,
        sampled_from=sampler.seen,
        summary=results.summary,
        checks={check.name: check for check in CHECKS},
        limits=asdict(limits),
    )


def _with_replies(cards: tuple[Card, ...], results: Results) -> tuple[Card, ...]:
    found = kept_replies(results.path, [card.record.sample_id for card in cards])
    return tuple(replace(card, replies=replies) for card, replies in zip(cards, found, strict=True))


def _last_step(results: Results, grounded: bool) -> AnyStep:
    """The last step of the run, even where it made no record."""
    for step in all_steps():
        if step.folder_name in (results.path.name, results.path.parent.name):
            return step
    steps = results.spec_section("workflow").get("steps")
    if isinstance(steps, list) and steps:
        return GROUNDING if GROUNDING.number in map(str, steps) else EXTRACTION
    failed = any(step is GROUNDING for step, _ in results.failures())
    return GROUNDING if grounded or failed else EXTRACTION


_VERDICTS = {Level.FAIL: "fail", Level.WARN: "warn", Level.INFO: "pass"}


def _headline(findings: list[Finding], totals: DatasetCounts) -> str:
    """The verdict in one sentence; the findings give the reasons."""
    records = totals.counts["records"]
    names = {level: _named(findings, level) for level in (Level.FAIL, Level.WARN)}
    if names[Level.FAIL]:
        return f"Do not scale this yet: {names[Level.FAIL]}."
    if _WRONG_CONVENTION in names[Level.WARN]:
        return f"Doubtful so far, look at the boxes first: {names[Level.WARN]}."
    if names[Level.WARN]:
        return f"Usable so far, but look first: {names[Level.WARN]}."
    if totals.doubtful:
        return (
            f"No check over all records failed; {totals.doubtful} of {records} carry a flag: "
            "review some."
        )
    return "Nothing looks wrong to the checks. Review some records before scaling."


def _named(findings: list[Finding], level: Level) -> str:
    """The names of the findings of a level, without repetition."""
    names = [finding.check for finding in findings if finding.level is level]
    readable = (_WRONG_CONVENTION if n.startswith("convention_") else n for n in names)
    return ", ".join(dict.fromkeys(name.replace("_", " ") for name in readable))


def _facts(results: Results, totals: DatasetCounts) -> tuple[tuple[str, str], ...]:
    summary, counts = results.summary, totals.counts
    teacher = _section(summary, "teacher")
    usage = _section(summary, "usage_of_all_runs") or _section(summary, "usage")
    iou = teacher.get("convention_iou")
    reasons = [
        f"{count} x {reason} (step {step})"
        for step, counted in totals.failures.items()
        for reason, count in counted.most_common()
    ]
    facts = [
        ("Model", teacher.get("model")),
        ("Backend", teacher.get("backend")),
        ("Convention", teacher.get("convention")),
        ("Convention's measured IoU", f"{iou:.3f}" if isinstance(iou, int | float) else None),
        ("Prompt version", teacher.get("prompt_version")),
        ("Samples", f"{counts['records']} annotated, {counts['failed']} failed"),
        ("Failures", "; ".join(reasons)),
        ("Spans looked for anew", results.wrong_spans or None),
        ("Tokens", _tokens(usage)),
        ("Cost", _cost(usage.get("cost"))),
        ("Date", _date(results)),
    ]
    return tuple((name, str(value)) for name, value in facts if value not in (None, ""))


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name)
    return section if isinstance(section, Mapping) else {}


def _tokens(usage: Mapping[str, Any]) -> str | None:
    sent, received = usage.get("input_tokens"), usage.get("output_tokens")
    if not isinstance(sent, int) or not isinstance(received, int):
        return None
    cached = usage.get("cached_tokens")
    share = ""
    if isinstance(cached, int) and 0 < cached <= sent:
        share = f" ({cached / sent:.0%} cached)"
    return f"{sent:,} in{share}, {received:,} out"


def _cost(cost: object) -> str | None:
    return f"{cost:.4f}" if isinstance(cost, int | float) else None


def _date(results: Results) -> str | None:
    try:
        changed = results.file.stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(changed, UTC).strftime("%Y-%m-%d %H:%M UTC")
