# SPDX-License-Identifier: Apache-2.0
"""``run_summary.json`` and ``run_state.json`` of a merge, in the form of a run's."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from image_grounding.input.samples import SampleReader
from image_grounding.results.failures import FailureLog
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import Written
from image_grounding.results.run_state import Process, RunState, now_text
from image_grounding.run.merging.parts import Part
from image_grounding.run.merging.source import data_of
from image_grounding.run.summary import versions
from image_grounding.steps.table import AnyStep
from image_grounding.storage.address import is_address

if TYPE_CHECKING:
    from image_grounding.run.merging.merge import Tally

_MERGING, _MERGED = "merging", "merged"
# What tells teachers apart, of the facts of a summary.
_FACTS = ("backend", "model", "prompt_version")


def begun_summary(parts: Sequence[Part]) -> dict[str, Any]:
    """What stands in the folder until the merge is done."""
    return {
        "status": _MERGING,
        "merged_from": [str(part.path.resolve()) for part in parts],
        "counts": {},
    }


def merged_summary(
    parts: Sequence[Part],
    folder: ResultsFolder,
    source: SampleReader,
    tally: "Tally",
    written: Written,
    failures: Mapping[AnyStep, FailureLog],
    *,
    missing: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """The summary of a merge."""
    last = list(written.records)[-1]
    counts = [_section(part.summary, "counts") for part in parts]
    measured = [part.summary["teacher"] for part in parts if part.summary.get("teacher")]
    teacher: dict[str, Any] = min(measured, key=_trust, default={})
    out = os.path.abspath(folder.path)
    there = next((name for part in parts if (name := part.summary.get("working_folder"))), None)
    return {
        **begun_summary(parts),
        "status": _MERGED,
        "stopped_by": None,
        "missing": {
            "shards": list(missing),
            "samples": tally.left.total,
            "first": tally.left.first,
        },
        "results_dir": out,
        "working_folder": there or os.getcwd(),
        "annotations": os.path.join(out, folder.records().name),
        "failures": [str(log.path) for log in failures.values() if log.by_reason],
        "selection": None,
        "shard": None,
        "counts": {
            "lines": tally.lines,
            "annotated": written.records[last],
            "annotated_by_step": {step.number: n for step, n in written.records.items()},
            "failed": sum(sum(log.by_reason.values()) for log in failures.values()),
            "failed_by_step": {step.number: dict(log.by_reason) for step, log in failures.items()},
            "from_checkpoints": tally.finished,
            "unusable_checkpoints": 0,
            "repeated_lines": tally.repeated,
            "not_attempted": tally.left.total,
            "failed_earlier": 0,
            "wrong_sizes": sum(_number(count, "wrong_sizes") for count in counts),
            "dropped_boxes": _dropped(counts, written),
            "clipped_boxes": written.clipped_boxes,
        },
        "teacher": teacher,
        "checkpoints_of_another_teacher": _foreign(parts, teacher),
        "usage": _sum(_section(part.summary, "usage") for part in parts),
        "usage_of_all_runs": _sum(_all_usage(parts)),
        "seconds": round(seconds, 2),
        "versions": versions(),
        "spec": _spec(parts, out, source),
    }


def merged_state(summary: Mapping[str, Any], steps: Sequence[AnyStep], tally: "Tally") -> RunState:
    """What status.py says of a merge."""
    now = now_text()
    return RunState(
        _MERGED,
        Process.this(),
        since=now,
        updated=now,
        steps=tuple(step.number for step in steps),
        selection=None,
        lines=tally.lines,
        finished=tally.finished,
        failed=tally.failed,
        repeated=tally.repeated,
        from_checkpoints=tally.finished,
        usage=summary["usage_of_all_runs"],
    )


def _section(summary: Any, name: str) -> dict[str, Any]:
    found = summary.get(name) if isinstance(summary, Mapping) else None
    return found if isinstance(found, dict) else {}


def _number(section: Mapping[str, Any], name: str) -> int:
    found = section.get(name)
    return found if isinstance(found, int) else 0


def _trust(teacher: Mapping[str, Any]) -> float:
    """So that what is to be doubted of one part is doubted of the whole."""
    iou = teacher.get("convention_iou")
    return iou if isinstance(iou, int | float) else -1.0


def _dropped(counts: Iterable[Mapping[str, Any]], written: Written) -> dict[str, int]:
    """Boxes that could not be used, those of samples that failed for them, too.

    A part that was killed has not counted its own.
    """
    counted: Counter[str] = Counter()
    for count in counts:
        counted.update(_section(count, "dropped_boxes"))
    return dict(counted | written.dropped_boxes)


def _foreign(parts: Sequence[Part], teacher: Mapping[str, Any]) -> dict[str, int]:
    """Samples of another teacher than ``teacher``, by what differs."""
    found: Counter[str] = Counter()
    for part in parts:
        mine = _section(part.summary, "teacher")
        annotated = _number(_section(part.summary, "counts"), "annotated")
        found.update(_section(part.summary, "checkpoints_of_another_teacher"))
        for name in _FACTS if mine else ():
            if mine.get(name) != teacher.get(name):
                found[name] += annotated
        both = [facts.get("measured_convention") for facts in (mine, teacher)]
        conventions = {facts.get("convention") for facts in (mine, teacher)} - {None}
        if len(conventions) > 1 and not all(both):
            found["convention"] += annotated  # where both were measured, both are right
    return dict(found)


def _all_usage(parts: Iterable[Part]) -> Iterable[Mapping[str, Any]]:
    for part in parts:
        yield _section(part.summary, "usage_of_all_runs")
        if part.was_killed and part.state.usage:
            yield {"runs": 1, **part.state.usage}


def _sum(sections: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures added up; a cost is None where one is. Latencies and limits have no sum."""
    total: dict[str, Any] = {}
    costs: list[Any] = []
    for section in sections:
        if section.get("requests"):
            costs.append(section.get("cost"))
        for name, value in section.items():
            if name == "cost" or name in ("latency", "concurrency"):
                continue
            if isinstance(value, int | float):
                total[name] = total.get(name, 0) + value
            elif isinstance(value, dict):
                total[name] = dict(Counter(total.get(name, {})) + Counter(value))
    total["cost"] = None if None in costs else round(sum(costs), 6)
    return total


def _spec(parts: Sequence[Part], out: str, source: SampleReader) -> dict[str, Any]:
    """That of the first part that has one, with the paths of the whole."""
    part = next((part for part in parts if _section(part.summary, "spec")), parts[0])
    found = _section(part.summary, "spec")
    data = data_of(part)
    if not source.is_of_records:
        data["input_jsonl"] = _whole(str(source.path))
        data["image_root"] = _whole(source.image_root) if source.image_root else ""
    own = {**_section(found, "image_grounding"), "data": data}
    return {**found, "results_dir": out, "image_grounding": own}


def _whole(path: str) -> str:
    return path if is_address(path) else os.path.abspath(path)
