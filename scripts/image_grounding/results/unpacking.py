# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as files, one a sample."""

from collections.abc import Set
from pathlib import Path

from image_grounding.errors import InputError, OutputError
from image_grounding.files import write_atomic
from image_grounding.results.folder import ResultsFolder
from image_grounding.steps.table import all_steps


def unpack(results: Path, output: Path, sample_ids: Set[str] = frozenset()) -> dict[str, int]:
    """Write each checkpoint to ``output/<folder of its step>/<sample_id>.json``.

    Args:
        results: a results folder.
        output: a folder that is new or empty.
        sample_ids: of the samples that are wanted; empty for all.

    Returns:
        How many there are of each step, by its number.

    Raises:
        InputError: no such checkpoints are kept in ``results``.
        OutputError: ``output`` holds something, or cannot be written.
    """
    folder = ResultsFolder(results)
    counts: dict[str, int] = {}
    try:
        if output.is_dir() and any(output.iterdir()):
            raise OutputError(f"{output} is not empty")
        for step in all_steps():
            for sample_id, text in folder.checkpoints(step).texts():
                if not sample_ids or sample_id in sample_ids:
                    place = output / step.folder_name
                    place.mkdir(parents=True, exist_ok=True)
                    write_atomic(place / f"{sample_id}.json", text)
                    counts[step.number] = counts.get(step.number, 0) + 1
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {error.strerror or error}") from None
    if not counts:
        raise InputError(f"no such checkpoints are kept in {results}")
    return counts
