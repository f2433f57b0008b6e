# SPDX-License-Identifier: Apache-2.0
"""One run from a spec: read, annotate, write, summarize."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from image_grounding.errors import (
    BudgetError,
    Exit,
    ImageGroundingError,
    InputChangedError,
    InputError,
    SpecError,
)
from image_grounding.input.samples import SampleReader
from image_grounding.input.selection import Pilot, Selection
from image_grounding.input.shard import Shard
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.failures import INPUT_REASONS, FailureLog
from image_grounding.results.finished import FinishedIndex, load_index
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import Written, write_annotations
from image_grounding.results.standing import made_from, mark_outputs, standing_outputs
from image_grounding.run.engine import ONLINE, Engine
from image_grounding.run.pipeline import Pipeline
from image_grounding.run.progress import Reporter
from image_grounding.run.remote import folder_of
from image_grounding.run.shard_folder import require_shard
from image_grounding.run.state_keeper import StateKeeper
from image_grounding.run.summary import make_summary
from image_grounding.spec import Spec
from image_grounding.steps.table import AnyStep, chosen_steps, given_steps
from image_grounding.storage.address import is_address, problem_with, problem_with_lines_at
from image_grounding.teachers import Teacher

_STATUS = {
    Exit.DONE: "done",
    Exit.BUG: "internal errors",
    Exit.USAGE: "stopped",
    Exit.SOME_FAILED: "some samples failed",
    Exit.ENDPOINT: "endpoint unusable",
    Exit.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True)
class RunResult:
    """How a run ended; ``error`` is what ended it before its time."""

    exit_code: Exit
    summary: dict[str, Any]
    error: ImageGroundingError | None = None


def run(
    spec: Spec,
    reporter: Reporter,
    pilot: Pilot | None = None,
    shard: Shard | None = None,
    engine: Engine = ONLINE,
) -> RunResult:
    """Do what a spec says, from wherever an earlier run came to.

    A pilot asks for its own samples alone. Its outputs still hold all that is finished of the
    input, so that it takes nothing away from a results folder. To a run of a shard, the shard is
    all that there is of the input.

    Raises:
        InputError: the input cannot be read, no line of it can be used, or the results folder
            holds another shard.
        OutputError: results_dir cannot be written, or another run is at work in it.
        SpecError: the backend's packages are missing.
    """
    steps = chosen_steps(spec.workflow.steps)
    folder = folder_of(spec)
    source = input_of(spec, steps, shard)
    with source.file.held(spec.results_dir), folder.lock():
        require_shard(folder, shard, spec.results)
        selection = Selection(source, pilot)
        if selection.total == 0:
            reporter.say(f"shard {shard} holds no line of {source.path}")
        if found := folder.foreign_records():
            reporter.say(f"{found} was not written by this tool; it is replaced at the end")
        stores = {step: folder.checkpoints(step) for step in steps}
        for store in stores.values():
            store.create()
        failures = folder.open_failures(steps)
        keeper = StateKeeper(folder, reporter, selection, steps)
        try:
            with keeper.kept():
                return _run(spec, keeper, selection, folder, stores, failures, engine)
        finally:
            for log in failures.values():
                log.close()


def input_of(spec: Spec, steps: Sequence[AnyStep], shard: Shard | None = None) -> SampleReader:
    """What a run reads: the input, or the records of the step that its first one builds on.

    Raises:
        InputError: that step has no records yet.
        SpecError: nothing can be read at an address that the spec names.
    """
    given = given_steps(steps)
    if not given:
        return _reader(spec, _input(spec), shard=shard)
    path = ResultsFolder(spec.results_dir).records(given[-1])
    if not path.is_file():
        first, before = steps[0].number, given[-1].number
        raise InputError(f"step {first} alone needs the output of step {before} at {path}")
    return _reader(spec, path, identity=given[-1].identity, shard=shard)


def _input(spec: Spec) -> Path | str:
    source = spec.data.input_jsonl
    if not is_address(source):
        return Path(source)
    if problem := problem_with_lines_at(source):
        raise SpecError(f"data.input_jsonl: {problem}")
    return source


def _reader(spec: Spec, path: Path | str, **more: Any) -> SampleReader:
    data = spec.data
    if is_address(data.image_root) and (problem := problem_with(data.image_root)):
        raise SpecError(f"data.image_root: {problem}")
    return SampleReader(
        path, data.root, outside=data.allow_outside_root, addresses=data.allow_urls, **more
    )


def _run(
    spec: Spec,
    reporter: StateKeeper,
    selection: Selection,
    folder: ResultsFolder,
    stores: Mapping[AnyStep, CheckpointStore[Any]],
    failures: dict[AnyStep, FailureLog],
    engine: Engine,
) -> RunResult:
    started, working_folder = time.monotonic(), os.getcwd()
    teacher = reporter.teacher = engine.make_teacher(spec, reporter.say)
    index = load_index(folder, stores)
    pipeline = asyncio.run(
        _work(spec, reporter, selection, stores, failures, index, teacher, engine)
    )
    stopped = pipeline.interrupted or pipeline.stopped_by is not None
    whole = not (stopped or selection.pilot or pipeline.tally.waiting)
    # Looked at before the outputs are written, of which the input may be one.
    pipeline.stopped_by = pipeline.stopped_by or selection.source.file.change()
    written = _write(folder, reporter, selection, failures, whole=whole)
    for log in failures.values():
        log.settle(whole=whole)
    first = next(iter(failures.values()))
    nothing_usable = pipeline.findings.usable_inputs == 0 and not stopped
    nothing_usable &= selection.source.shard is None  # a small one may hold bad lines alone
    if nothing_usable and first.by_reason.keys() <= INPUT_REASONS:
        source = selection.source.path
        raise InputError(f"no line of {source} can be used: {first.by_reason_text()}")
    code = _exit_code(pipeline, failures)
    summary = make_summary(
        spec, teacher, pipeline, written, failures,
        previous=folder.read_summary(),
        unreported=reporter.unreported,
        working_folder=working_folder,
        unusable_checkpoints=sum(store.unusable for store in stores.values()),
        selection=selection,
        status=_status(code, pipeline, engine), seconds=time.monotonic() - started,
    )  # fmt: skip
    summary |= engine.facts()
    folder.write_summary(summary)
    reporter.end(summary["status"], pipeline.stopped_by, in_summary=True)
    _say_what_matters(reporter, summary)
    for log in failures.values():
        if log.by_reason:
            reporter.say(f"failed: {log.by_reason_text()}; all of them in {spec.place(log.path)}")
    return RunResult(code, summary, pipeline.stopped_by)


def _write(
    folder: ResultsFolder,
    reporter: StateKeeper,
    selection: Selection,
    failures: dict[AnyStep, FailureLog],
    *,
    whole: bool,
) -> Written:
    """Write the outputs where they are not what would be written now."""
    steps = list(failures)
    settled = not any(log.by_reason for log in failures.values())
    source = made_from(folder, selection.source.file.digest, steps) if settled else None
    if whole and (written := standing_outputs(folder, source, steps)):
        return written
    pilot = selection.pilot is not None
    lines = reporter.writing(selection.source)
    written = write_annotations(folder, lines, steps, failures, whole=whole, pilot=pilot)
    if whole and not any(log.by_reason for log in failures.values()):
        mark_outputs(folder, source, steps, written)
    return written


async def _work(
    spec: Spec,
    reporter: Reporter,
    selection: Selection,
    stores: Mapping[AnyStep, CheckpointStore[Any]],
    failures: dict[AnyStep, FailureLog],
    index: FinishedIndex | None,
    teacher: Teacher,
    engine: Engine,
) -> Pipeline:
    await engine.begin()
    pipeline = Pipeline(
        iter(selection),
        teacher,
        stores,
        failures,
        say=reporter.say,
        workers=spec.workflow.first_workers,
        index=index,
        force=spec.workflow.force_reprocess,
        reread=spec.workflow.reread,
        total=selection.total,
    )
    with _interruptible(pipeline, reporter):
        await pipeline.run(reporter)
        await engine.finish(pipeline)
    return pipeline


@contextlib.contextmanager
def _interruptible(pipeline: Pipeline, reporter: Reporter) -> Iterator[None]:
    """SIGINT, SIGTERM and a closed terminal stop the run softly, a second signal at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if pipeline.interrupted:
            os._exit(Exit.INTERRUPTED)
        pipeline.interrupted = True
        with contextlib.suppress(RuntimeError):  # the loop is over: the outputs are being written
            loop.call_soon_threadsafe(pipeline.interrupt)
        reporter.say("stopping: writing what is done; once more to stop at once")

    # Not put back afterwards: the outputs are still to be written.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What nohup, or a shell's "&", had us ignore stays ignored.
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    yield


def _exit_code(pipeline: Pipeline, failures: dict[AnyStep, FailureLog]) -> Exit:
    if pipeline.interrupted:
        return Exit.INTERRUPTED
    if pipeline.tally.internal_errors:
        return Exit.BUG
    if pipeline.stopped_by:
        return pipeline.stopped_by.exit_code
    if pipeline.tally.waiting:
        return Exit.WAITING
    failed = any(log.by_reason for log in failures.values())
    return Exit.SOME_FAILED if failed else Exit.DONE


def _status(code: Exit, pipeline: Pipeline, engine: Engine) -> str:
    if code is Exit.WAITING:
        return engine.waiting_text()
    if isinstance(pipeline.stopped_by, BudgetError) and not pipeline.interrupted:
        return "budget reached"
    changed = isinstance(pipeline.stopped_by, InputChangedError) and not pipeline.interrupted
    return "input changed" if changed else _STATUS[code]


def _say_what_matters(reporter: Reporter, summary: dict[str, Any]) -> None:
    counts = summary["counts"]
    for name, count in summary["checkpoints_of_another_teacher"].items():
        if name == "convention":
            reporter.say(
                f"warning: the boxes of {count} finished samples were read in another convention; "
                "workflow.reread=true derives them anew from the kept replies"
            )
            continue
        reporter.say(
            f"{count} finished steps were made with another {name}; they are kept. "
            "workflow.force_reprocess=true asks for them again"
        )
    if unusable := counts["unusable_checkpoints"]:
        reporter.say(f"finished steps that could not be used, and were asked for again: {unusable}")
    if counts["wrong_sizes"] > 1:
        reporter.say(f"{counts['wrong_sizes']} lines give a width or height that is not the file's")
    reporter.say(
        f"{summary['status']}: {counts['annotated']} annotated "
        f"({counts['from_checkpoints']} from checkpoints), {counts['failed']} failed; "
        f"results in {summary['results_dir']}"
    )
