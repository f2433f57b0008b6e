# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to the files that users read, in input order, as a stream."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from image_grounding.checkpoints import (
    Checkpoint,
    CheckpointStore,
    basis_of,
    extraction_from_plain,
    grounding_from_plain,
)
from image_grounding.errors import SampleError
from image_grounding.failures import FailureLog
from image_grounding.files import atomic_writer, to_json
from image_grounding.records import extraction_of_record, make_record
from image_grounding.samples import BadLine, Sample
from image_grounding.steps import EXTRACTION, GROUNDING, Step


@dataclass(frozen=True)
class Finished:
    """The finished steps of a sample."""

    extraction: Checkpoint | None
    grounding: Checkpoint | None


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
    repeated_failures: FailureLog | None,
    *,
    pilot: bool = False,
) -> dict[Step, int]:
    """Write every step's ``annotations.jsonl``, and the last one's at the top.

    Args:
        results_dir: where to.
        items: the input, from its start.
        stores: the checkpoints of the steps that ran.
        repeated_failures: takes the repetitions of a pair that failed; None for a run that
            was stopped or a pilot, where no checkpoint only means "not yet".
        pilot: read no further than the last finished sample, though pairs may repeat there.

    Returns:
        How many records each step has.
    """
    written = dict.fromkeys(stores, 0)
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
            for step, line in lines.items():
                written[step] += 1
                matched += sample.occurrence == 1
                for file in files[step]:
                    file.write(line)
            if repeated_failures and last not in lines and sample.occurrence > 1:
                repeated_failures.add(
                    line=sample.line,
                    reason="repeated_failure",
                    message="the same image and caption failed on an earlier line",
                    sample_id=sample.sample_id,
                    image_path=sample.fields["image_path"],
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
