# SPDX-License-Identifier: Apache-2.0
"""The merge: what the parts have finished, written as one run over the whole input writes it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image_grounding.errors import Exit, InputError, OutputError
from image_grounding.first_few import FirstFew
from image_grounding.input.samples import BadLine, Sample, SampleReader
from image_grounding.results.failures import FailureLog
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import write_annotations
from image_grounding.run.merging.copying import Choice, copy_finished, stores_of
from image_grounding.run.merging.parts import Failed, Part, missing_shards, open_parts
from image_grounding.run.merging.source import input_of, keep_given
from image_grounding.run.merging.summary import begun_summary, merged_state, merged_summary
from image_grounding.steps.table import AnyStep, all_steps

_SAY_EVERY = 100_000


@dataclass(frozen=True)
class Merged:
    """How a merge went; ``report`` is its JSON object."""

    exit_code: Exit
    report: dict[str, Any]


@dataclass
class Tally:
    """What is in a merge.

    Attributes:
        lines: of the input, blank ones left out.
        repeated: among them those whose pair stands in the input before.
        finished: samples through all steps.
        failed: samples and bad lines that did not get through.
        left: samples that no part has finished or given up.
    """

    lines: int = 0
    repeated: int = 0
    finished: int = 0
    failed: int = 0
    left: FirstFew = field(default_factory=FirstFew)


def merge(
    paths: Sequence[Path],
    out: Path,
    say: Callable[[str], None],
    *,
    source: Path | str | None = None,
    image_root: str | None = None,
    allow_missing: bool = False,
) -> Merged:
    """Merge results folders into one.

    A merge that was killed, or whose parts have gone on since, is done again by the same call.

    Args:
        paths: the results folders.
        out: the folder of the whole; new, or that of an earlier merge of these.
        say: takes messages.
        source: the input, where it is not where the parts say.
        image_root: the folder of the images, where it is another one.
        allow_missing: merge though there are shards that none of the parts holds.

    Raises:
        InputError: parts cannot be merged: one of them is no results folder, they contradict each
            other, or shards are missing.
        OutputError: ``out`` holds other results, or cannot be written.
    """
    started = time.monotonic()
    parts = open_parts(paths)
    missing = missing_shards(parts)
    if missing and not allow_missing:
        raise InputError(
            f"no results of shard {', '.join(missing)}: run them, or merge what there is with "
            "--allow-missing"
        )
    folder = ResultsFolder(out)
    _require_free(folder, parts)
    numbers = set().union(*(part.steps() for part in parts))
    steps = [step for step in all_steps() if step.number in numbers]
    reader = input_of(parts, steps, source, image_root)
    if reader.count_all() == 0:
        raise InputError(f"the input has no lines: {reader.path}")
    choice = Choice(parts, steps)
    choice.require_agreement(reader)
    with folder.lock():
        folder.write_summary(begun_summary(parts))
        keep_given(reader, folder, steps)
        for step in steps:
            folder.checkpoints(step).create()
        logs = folder.open_failures(steps)
        try:
            tally = _take(reader, choice, folder, logs, say)
            written = write_annotations(folder, reader, steps, logs, whole=False)
            for log in logs.values():
                log.settle(whole=True)
        finally:
            for log in logs.values():
                log.close()
        code = Exit.SOME_FAILED if tally.failed or tally.left.total or missing else Exit.DONE
        summary = merged_summary(
            parts, folder, reader, tally, written, logs,
            missing=missing, seconds=time.monotonic() - started,
        )  # fmt: skip
        folder.write_conventions(_conventions(parts))
        folder.write_summary(summary)
        folder.write_state(merged_state(summary, steps, tally))
    return Merged(code, summary)


def _conventions(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The measured box conventions of all parts, each once."""
    found: list[dict[str, Any]] = []
    for part in parts:
        found += [entry for entry in part.folder.read_conventions() if entry not in found]
    return found


def _require_free(folder: ResultsFolder, parts: Sequence[Part]) -> None:
    """See that there is nothing in the way of a merge."""
    mine = {str(part.path.resolve()) for part in parts}
    if str(folder.path.resolve()) in mine:
        raise OutputError(f"{folder.path} is one of the results to merge; choose another -o")
    summary = folder.read_summary()
    before = summary.get("merged_from")
    if isinstance(before, list) and {*map(str, before)} <= mine:
        return
    holds = [folder.records(), *(folder.step(step) for step in all_steps())]
    if summary or folder.read_state() or any(path.exists() for path in holds):
        raise OutputError(f"{folder.path} holds other results; choose another -o")


def _take(
    source: SampleReader,
    choice: Choice,
    folder: ResultsFolder,
    logs: Mapping[AnyStep, FailureLog],
    say: Callable[[str], None],
) -> Tally:
    """Copy what is finished, list what failed, count what is left."""
    tally, steps = Tally(), list(logs)
    target = stores_of(folder, steps)
    failures: dict[Path, dict[int, Failed]] = {}
    for item in source:
        tally.lines += 1
        if tally.lines % _SAY_EVERY == 0:
            say(f"{tally.lines} lines merged")
        if isinstance(item, BadLine):
            tally.failed += 1
            logs[steps[0]].add(
                line=item.line,
                reason=item.error.reason,
                message=str(item.error),
                image_path=item.image_path,
            )
            continue
        if item.occurrence > 1:
            tally.repeated += 1
        chosen = choice.of(item)
        if chosen is None:
            if item.occurrence == 1:
                tally.left.add({"line": item.line, "sample_id": item.sample_id})
            continue
        part, stores = chosen
        if part.path not in failures:
            failures[part.path] = part.failures(steps)
        failed = failures[part.path].get(item.line)
        if failed and failed[1].get("sample_id") != item.sample_id:
            failed = None  # the input was another one then
        if item.occurrence > 1:
            if failed and any(log.has(item.sample_id) for log in logs.values()):
                _list(logs, item, *failed)
            continue
        through = copy_finished(item, stores, target) == len(steps)
        # Of a run that was killed the entry may be older than the result.
        if failed and not (through and part.was_killed):
            tally.failed += 1
            _list(logs, item, *failed)
        elif through:
            tally.finished += 1
        else:
            tally.left.add({"line": item.line, "sample_id": item.sample_id})
    return tally


def _list(
    logs: Mapping[AnyStep, FailureLog], sample: Sample, step: AnyStep, entry: Mapping[str, Any]
) -> None:
    """Write a failure as the part has it."""
    excerpt, attempts = entry.get("reply_excerpt"), entry.get("attempts")
    logs[step].add(
        line=sample.line,
        reason=str(entry.get("reason")),
        message=str(entry.get("message")),
        sample_id=sample.sample_id,
        image_path=sample.image_path,
        attempts=attempts if isinstance(attempts, int) else 0,
        excerpt=excerpt if isinstance(excerpt, str) else None,
    )
