# SPDX-License-Identifier: Apache-2.0
"""What earlier runs have left in a results folder."""

from dataclasses import dataclass
from pathlib import Path

from image_grounding.results.folder import ResultsFolder
from image_grounding.steps.table import AnyStep, all_steps


@dataclass(frozen=True)
class ExistingWork:
    """A step's samples: ``finished`` cost nothing when the run resumes."""

    step: AnyStep
    finished: int
    failed: int


def count_existing(results_dir: Path) -> tuple[ExistingWork, ...]:
    """The steps that have been at work in ``results_dir``, with their counts."""
    folder = ResultsFolder(results_dir)
    found = (
        ExistingWork(step, folder.checkpoints(step).count(), _lines(folder.failures(step)))
        for step in all_steps()
    )
    return tuple(work for work in found if work.finished or work.failed)


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return 0
