# SPDX-License-Identifier: Apache-2.0
"""Outputs that stand: they are what a run over the same input and checkpoints would write."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from image_grounding import __version__
from image_grounding.files import temporary_of
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import Written
from image_grounding.steps.table import AnyStep

_NAME = ".outputs.json"


@dataclass(frozen=True)
class OutputsMark:
    """What outputs were made from, and what they were then.

    Attributes:
        made_from: see ``made_from``.
        files: size in bytes and time of the last write, in ns, of each file.
        records: how many each step has, by its number.
        dropped_boxes: as in ``Written``.
        clipped_boxes: as in ``Written``.
    """

    made_from: str
    files: Mapping[str, tuple[int, int]]
    records: Mapping[str, int]
    dropped_boxes: Mapping[str, int]
    clipped_boxes: int


def made_from(folder: ResultsFolder, input_digest: str, steps: Sequence[AnyStep]) -> str | None:
    """Hash of all that outputs are made from; None where that cannot be seen at a glance.

    Args:
        folder: the results.
        input_digest: hash of the bytes of the input.
        steps: those of the run, in order.
    """
    states = {step.number: folder.checkpoints(step).state() for step in steps}
    if None in states.values():
        return None
    facts = json.dumps([__version__, input_digest, states])
    return hashlib.sha256(facts.encode()).hexdigest()


def standing_outputs(
    folder: ResultsFolder, source: str | None, steps: Sequence[AnyStep]
) -> Written | None:
    """What is in the outputs if they need not be written again, else None.

    Args:
        folder: the results.
        source: of ``made_from``.
        steps: those of the run, in order.
    """
    mark = folder.read_value(_NAME, OutputsMark)
    if mark is None or source is None or mark.made_from != source:
        return None
    if mark.files != _files(folder, steps) or set(mark.records) != {s.number for s in steps}:
        return None
    records = {step: mark.records[step.number] for step in steps}
    return Written(records, Counter(mark.dropped_boxes), mark.clipped_boxes)


def mark_outputs(
    folder: ResultsFolder, source: str | None, steps: Sequence[AnyStep], written: Written
) -> None:
    """Keep what outputs of all of the input were made from; raises OutputError."""
    files = _files(folder, steps)
    if source is None or files is None:
        return
    records = {step.number: count for step, count in written.records.items()}
    mark = OutputsMark(source, files, records, dict(written.dropped_boxes), written.clipped_boxes)
    folder.write_value(_NAME, OutputsMark, mark)


def _files(folder: ResultsFolder, steps: Sequence[AnyStep]) -> dict[str, tuple[int, int]] | None:
    """Of ``OutputsMark``; None where they are not all there, or a killed run left more."""
    found = {}
    for path in (folder.records(), *map(folder.records, steps)):
        try:
            status = path.stat()
        except OSError:
            return None
        if temporary_of(path).exists():  # writing anew removes it
            return None
        found[path.relative_to(folder.path).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found
