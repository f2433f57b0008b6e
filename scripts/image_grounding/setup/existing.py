# SPDX-License-Identifier: Apache-2.0
"""What earlier runs have left in a results folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from image_grounding.steps.steps import STEPS, Step


@dataclass(frozen=True)
class Existing:
    """A step's samples: ``finished`` cost nothing when the run resumes."""

    step: Step
    finished: int
    failed: int


def count_existing(results_dir: Path) -> tuple[Existing, ...]:
    """The steps that have been at work in ``results_dir``, with their counts."""
    found = (
        Existing(step, _checkpoints(folder / ".ckpt"), _lines(folder / "failures.jsonl"))
        for step in STEPS
        for folder in [step.folder(results_dir)]
    )
    return tuple(one for one in found if one.finished or one.failed)


def _checkpoints(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(
                entry.name.endswith(".json") and not entry.name.startswith(".") for entry in entries
            )
    except OSError:
        return 0


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return 0
