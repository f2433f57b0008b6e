# SPDX-License-Identifier: Apache-2.0
"""``run_summary.json``: what a run did and what it cost."""

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Any

from image_grounding import __version__
from image_grounding.input.selection import Selection
from image_grounding.results.failures import FailureLog
from image_grounding.results.outputs import Written
from image_grounding.run.pipeline import Pipeline
from image_grounding.spec import Spec
from image_grounding.steps.table import AnyStep
from image_grounding.teachers import Teacher

_ADDED = ("requests", "retries", "input_tokens", "output_tokens", "cached_tokens", "image_bytes")
_PACKAGES = ("openai", "google-genai", "pillow", "onnxruntime")


def make_summary(
    spec: Spec,
    teacher: Teacher,
    pipeline: Pipeline,
    written: Written,
    failures: Mapping[AnyStep, FailureLog],
    *,
    previous: Mapping[str, Any],
    unreported: Sequence[Mapping[str, Any]],
    working_folder: str,
    unusable_checkpoints: int,
    selection: Selection,
    status: str,
    seconds: float,
) -> dict[str, Any]:
    """The summary of one run; holds no secrets."""
    last = list(written.records)[-1]
    tally, findings = pipeline.tally, pipeline.findings
    lines = max(tally.total, tally.lines)
    pilot, shard = selection.pilot, selection.source.shard
    usage = teacher.usage() or {**dict.fromkeys(_ADDED, 0), "cost": None}
    return {
        "status": status,
        # What ended the run before its time: a budget, an outage, another error; else None.
        "stopped_by": getattr(pipeline.stopped_by, "reason", None),
        "results_dir": spec.results,
        # Relative paths in here and in the spec start from it.
        "working_folder": working_folder,
        "annotations": spec.place(spec.results_dir / "annotations.jsonl"),
        "failures": [spec.place(log.path) for log in failures.values() if log.by_reason],
        # None for the whole input, or shard; else what a pilot takes of it.
        "selection": pilot.plain() if pilot else None,
        # None for the whole input.
        "shard": shard.plain() if shard else None,
        "counts": {
            "lines": lines,
            "annotated": written.records[last],
            "annotated_by_step": {step.number: n for step, n in written.records.items()},
            "failed": sum(sum(log.by_reason.values()) for log in failures.values()),
            "failed_by_step": {step.number: dict(log.by_reason) for step, log in failures.items()},
            "from_checkpoints": tally.resumed,
            # Of earlier runs, damaged or edited; asked for again.
            "unusable_checkpoints": unusable_checkpoints,
            "repeated_lines": tally.repeated,
            # Of those not attempted to their end: a batch job holds a question of theirs.
            "waiting": tally.waiting,
            "not_attempted": lines - tally.done - tally.failed - tally.repeated,
            # Of earlier runs, of samples that this one did not attempt.
            "failed_earlier": sum(log.carried_over for log in failures.values()),
            "wrong_sizes": findings.wrong_sizes,
            "dropped_boxes": dict(findings.dropped_boxes + written.dropped_boxes),
            "clipped_boxes": written.clipped_boxes,
        },
        "teacher": teacher.facts(),
        "checkpoints_of_another_teacher": findings.foreign(teacher.provenance()),
        "usage": usage,
        "usage_of_all_runs": _added_up(previous, [*unreported, usage]),
        "seconds": round(seconds, 2),
        "versions": versions(),
        "spec": spec.redacted,
    }


def _added_up(previous: Mapping[str, Any], usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs into one folder took; of killed ones, up to their last word."""
    before = previous.get("usage_of_all_runs")
    before = before if isinstance(before, dict) else {}
    parts = [before, *usages]
    priced = usages if not _number(before, "requests") else parts
    unknown = any(part.get("cost") is None for part in priced)
    return {
        "runs": _number(before, "runs") + len(usages),
        **{name: sum(_number(part, name) for part in parts) for name in _ADDED},
        "cost": None if unknown else round(sum(_number(part, "cost") for part in parts), 6),
    }


def _number(part: Mapping[str, Any], name: str) -> float:
    value = part.get(name)
    return value if isinstance(value, int | float) else 0


@cache
def versions() -> Mapping[str, str]:
    """Of what has a hand in the results, by package."""
    found = {"image-grounding": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
