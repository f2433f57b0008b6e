# SPDX-License-Identifier: Apache-2.0
"""What a run kept of each sample, damaged: the one place that knows in what form it is kept."""

import json
from collections.abc import Callable
from pathlib import Path

from faults.fault import Inject
from faults.stage import BYSTANDER, VICTIM, Stage, remove
from support.kept import checkpoints, replace_checkpoints

Damage = Callable[[bytes], bytes | None]


def damage(step: str, how: Damage) -> Inject:
    """Finished results, in which what was kept of a step of the victim is another.

    Args:
        step: number of the step.
        how: makes other bytes of those that were kept; None takes them away.
    """

    def inject(stage: Stage) -> None:
        stage.finish()
        lines = _lines(stage, step)
        line = how(lines.pop(VICTIM).encode())
        kept = list(lines.values())
        if line is not None:
            kept.append(line.decode("utf-8", "surrogateescape"))
        replace_checkpoints(stage.results, step, kept)

    return inject


def exchange(stage: Stage) -> None:
    """Finished results, in which the victim's boxes stand under the bystander's name."""
    stage.finish()
    lines = _lines(stage, "1")
    stranger = json.loads(lines[VICTIM])
    stranger["sample_id"] = json.loads(lines[BYSTANDER])["sample_id"]
    replace_checkpoints(stage.results, "1", [lines[VICTIM], json.dumps(stranger)])


def forget(stage: Stage) -> None:
    """Finished results without what was kept."""
    stage.finish()
    for folder in stage.results.glob("step_*/.ckpt"):
        remove(folder)


def _lines(stage: Stage, step: str) -> dict[str, str]:
    """What was kept of each picture's sample."""
    kept = checkpoints(stage.results, step)
    return {
        image: json.dumps(value)
        for image in (VICTIM, BYSTANDER)
        for sample_id, value in kept.items()
        if sample_id.startswith(f"{Path(image).stem}-")
    }
