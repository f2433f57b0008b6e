# SPDX-License-Identifier: Apache-2.0
"""What earlier runs have left in a results folder."""

from dataclasses import dataclass
from pathlib import Path

from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.steps.steps import STEPS, Step


@dataclass(frozen=True)
class ExistingWork:
    """A step's samples: ``finished`` cost nothing when the run resumes."""

    step: Step
    finished: int
    failed: int


def count_existing(results_dir: Path) -> tuple[ExistingWork, ...]:
    """The steps that have been at work in ``results_dir``, with their counts."""
    found = (
        ExistingWork(step, CheckpointStore(folder).count(), _lines(folder / "failures.jsonl"))
        for step in STEPS
        for folder in [step.folder(results_dir)]
    )
    return tuple(work for work in found if work.finished or work.failed)


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return 0
