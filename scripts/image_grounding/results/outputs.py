# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to the files that users read, in input order, as a stream."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from image_grounding.errors import SampleError
from image_grounding.files import atomic_writer, to_json
from image_grounding.input.samples import BadLine, Sample
from image_grounding.results.checkpoints import (
    Checkpoint,
    CheckpointStore,
    basis_of,
    extraction_from_plain,
    grounding_from_plain,
)
from image_grounding.results.failures import FailureLog
from image_grounding.results.records import extraction_of_record, make_record
from image_grounding.steps.steps import EXTRACTION, GROUNDING, Step

_MESSAGES = {
    "repeated_failure": "the same image and caption failed on an earlier line",
    "changed_meanwhile": "the image changed while the run was at work; run again",
}


@dataclass(frozen=True)
class Finished:
    """The finished steps of a sample."""

    extraction: Checkpoint | None
    grounding: Checkpoint | None


@dataclass
class Written:
    """What is in the outputs.

    Attributes:
        records: how many each step has.
        dropped_boxes: boxes that could not be used in them, by reason.
        clipped_boxes: boxes that left their images and were cut off.
    """

    records: dict[Step, int]
    dropped_boxes: Counter[str] = field(default_factory=Counter)
    clipped_boxes: int = 0


def load_finished(sample: Sample, stores: Mapping[Step, CheckpointStore]) -> Finished:
    """What is done of a sample.

    Raises:
        SampleError: a given step-0 record cannot be used.
    """
    done = None
    if EXTRACTION in stores:
        done = stores[EXTRACTION].load(sample.sample_id, basis_of(sample.caption), sample.image)
        if done is None:
            return Finished(None, None)
        extraction = extraction_from_plain(done.result)
    else:
        extraction = extraction_of_record(sample)
    if GROUNDING not in stores:
        return Finished(done, None)
    basis = basis_of(extraction.cleaned_caption, extraction.expressions)
    return Finished(done, stores[GROUNDING].load(sample.sample_id, basis, sample.image))


def write_annotations(
    results_dir: Path,
    items: Iterable[Sample | BadLine],
    stores: Mapping[Step, CheckpointStore],
    failures: Mapping[Step, FailureLog],
    *,
    whole: bool,
    pilot: bool = False,
) -> Written:
    """Write every step's ``annotations.jsonl``, and the last one's at the top.

    Args:
        results_dir: where to.
        items: the input, from its start.
        stores: the checkpoints of the steps that ran.
        failures: what failed in this run. Takes the repetitions of a pair that failed, and
            samples whose image or step-0 record changed while the run was at work.
        whole: the run went through all of the input; else no checkpoint may mean "not yet".
        pilot: read no further than the last finished sample, though pairs may repeat there.

    Returns:
        What was written.
    """
    written = Written(dict.fromkeys(stores, 0))
    checkpoints = sum(store.count() for store in stores.values())
    matched = 0
    last = max(stores, key=lambda step: step.number)
    with contextlib.ExitStack() as stack:
        files: dict[Step, list[IO[str]]] = {
            step: [_open(stack, step.folder(results_dir))] for step in stores
        }
        files[last].append(_open(stack, results_dir))
        for sample in items:
            if isinstance(sample, BadLine):
                continue
            try:
                done = load_finished(sample, stores)
            except SampleError:
                continue
            lines = _lines(sample, done)
            failed = next((log for log in failures.values() if log.has(sample.sample_id)), None)
            if failed:  # what an earlier run finished is kept, but this one says it failed
                lines = {step: line for step, line in lines.items() if step is not last}
            if done.grounding and last in lines and sample.occurrence == 1:
                grounding = grounding_from_plain(done.grounding.result)
                written.dropped_boxes.update(grounding.dropped)
                written.clipped_boxes += grounding.clipped
            for step, line in lines.items():
                written.records[step] += 1
                matched += sample.occurrence == 1
                for file in files[step]:
                    file.write(line)
            if whole and last not in lines and not (failed and sample.occurrence == 1):
                reason = "repeated_failure" if failed else "changed_meanwhile"
                (failed or failures[last]).add(
                    line=sample.line,
                    reason=reason,
                    message=_MESSAGES[reason],
                    sample_id=sample.sample_id,
                    image_path=sample.image_path,
                )
            if pilot and matched == checkpoints:
                break
    return written


def _open(stack: contextlib.ExitStack, folder: Path) -> IO[str]:
    return stack.enter_context(atomic_writer(folder / "annotations.jsonl"))


def _lines(sample: Sample, done: Finished) -> dict[Step, str]:
    lines: dict[Step, str] = {}
    if done.extraction:
        extraction = extraction_from_plain(done.extraction.result)
        record = make_record(sample, done.extraction.size, extraction, None)
        lines[EXTRACTION] = to_json(record) + "\n"
    elif done.grounding:
        extraction = extraction_of_record(sample)
    if done.grounding:
        grounding = grounding_from_plain(done.grounding.result)
        record = make_record(sample, done.grounding.size, extraction, grounding)
        lines[GROUNDING] = to_json(record) + "\n"
    return lines
