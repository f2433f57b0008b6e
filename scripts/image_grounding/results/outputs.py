# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to the files that users read, in input order, as a stream."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from image_grounding.errors import SampleError
from image_grounding.files import atomic_writer, clean_json
from image_grounding.input.samples import BadLine, Sample
from image_grounding.results.checkpoints import Finished, load_finished
from image_grounding.results.failures import FailureLog
from image_grounding.results.finished import IndexMaker
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.records import make_record
from image_grounding.steps.table import AnyStep

_MESSAGES = {
    "repeated_failure": "the same image and caption failed on an earlier line",
    "changed_meanwhile": "the image changed while the run was at work; run again",
}


@dataclass
class Written:
    """What is in the outputs.

    Attributes:
        records: how many each step has.
        dropped_boxes: boxes that could not be used in them, by reason.
        clipped_boxes: boxes that left their images and were cut off.
    """

    records: dict[AnyStep, int]
    dropped_boxes: Counter[str] = field(default_factory=Counter)
    clipped_boxes: int = 0


def write_annotations(
    folder: ResultsFolder,
    items: Iterable[Sample | BadLine],
    steps: Sequence[AnyStep],
    failures: Mapping[AnyStep, FailureLog],
    *,
    whole: bool,
    pilot: bool = False,
) -> Written:
    """Write every step's ``annotations.jsonl``, and the last one's at the top.

    Args:
        folder: where to.
        items: the input, from its start.
        steps: those of the run, in order.
        failures: what failed in this run. Takes the repetitions of a pair that failed, and
            samples whose image or given record changed while the run was at work.
        whole: the run went through all of the input; else no checkpoint may mean "not yet".
        pilot: read no further than the last finished sample, though pairs may repeat there.

    Returns:
        What was written.
    """
    written = Written(dict.fromkeys(steps, 0))
    stores = [folder.checkpoints(step) for step in steps]
    left = sum(store.count() for store in stores)
    index = IndexMaker(steps)
    with contextlib.ExitStack() as stack:
        files = _open(stack, folder, steps)
        for sample in items:
            if isinstance(sample, BadLine):
                continue
            mark = index.mark(sample)
            try:
                done = load_finished(sample, stores)
            except SampleError:
                continue
            failed = next((log for log in failures.values() if log.has(sample.sample_id)), None)
            kept = list(_before(failed, done, failures))
            for step in kept:
                if log := failures.get(step):
                    log.attempted(sample.sample_id, sample.line)
                line = _line(sample, done, step)
                for file in files[step]:
                    file.write(line)
            _count(written, sample, done, kept, steps[-1])
            if mark is not None and steps[-1] in kept:
                index.add(sample, mark, done)
            if whole and steps[-1] not in kept and not (failed and sample.occurrence == 1):
                _add_failure(failed or failures[steps[-1]], sample, repeated=failed is not None)
            left -= len(kept) if sample.occurrence == 1 else 0
            if pilot and left == 0:
                break
    index.save(folder, stores)
    return written


def _open(
    stack: contextlib.ExitStack, folder: ResultsFolder, steps: Sequence[AnyStep]
) -> dict[AnyStep, list[IO[str]]]:
    """The files that each step's lines go to."""
    files = {step: [stack.enter_context(atomic_writer(folder.records(step)))] for step in steps}
    files[steps[-1]].append(stack.enter_context(atomic_writer(folder.records())))
    return files


def _before(
    failed: FailureLog | None, done: Finished, failures: Mapping[AnyStep, FailureLog]
) -> Iterator[AnyStep]:
    """The finished steps before one that failed in this run, though an earlier run did more."""
    for step in done.checkpoints:
        if failed and failures.get(step) is failed:
            return
        yield step


def _line(sample: Sample, done: Finished, step: AnyStep) -> str:
    size = done.checkpoints[step].size
    return clean_json(make_record(sample, size, step, done.earlier)) + "\n"


def _count(
    written: Written, sample: Sample, done: Finished, kept: Sequence[AnyStep], last: AnyStep
) -> None:
    for step in kept:
        written.records[step] += 1
    if last in kept and sample.occurrence == 1:
        losses = last.losses(done.earlier[last])
        written.dropped_boxes.update(losses.dropped)
        written.clipped_boxes += losses.clipped


def _add_failure(log: FailureLog, sample: Sample, *, repeated: bool) -> None:
    reason = "repeated_failure" if repeated else "changed_meanwhile"
    log.add(
        line=sample.line,
        reason=reason,
        message=_MESSAGES[reason],
        sample_id=sample.sample_id,
        image_path=sample.image_path,
    )
