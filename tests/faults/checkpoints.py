# SPDX-License-Identifier: Apache-2.0
"""What a run kept of each sample, damaged: the one place that knows in what form it is kept."""

import shutil
from collections.abc import Callable
from pathlib import Path

from faults.fault import Inject
from faults.stage import BYSTANDER, VICTIM, Stage, remove

Damage = Callable[[bytes], bytes | None]


def damage(step: str, how: Damage) -> Inject:
    """Finished results, in which what was kept of a step of the victim is another.

    Args:
        step: number of the step.
        how: makes other bytes of those that were kept; None takes them away.
    """

    def inject(stage: Stage) -> None:
        stage.finish()
        path = _kept(stage, step, VICTIM)
        data = how(path.read_bytes())
        remove(path) if data is None else path.write_bytes(data)

    return inject


def exchange(stage: Stage) -> None:
    """Finished results, in which the victim's boxes stand under the bystander's name."""
    stage.finish()
    shutil.copy(_kept(stage, "1", VICTIM), _kept(stage, "1", BYSTANDER))


def forget(stage: Stage) -> None:
    """Finished results without what was kept."""
    stage.finish()
    for folder in stage.results.glob("step_*/.ckpt"):
        remove(folder)


def _kept(stage: Stage, step: str, image: str) -> Path:
    (path,) = stage.results.glob(f"step_{step}_*/.ckpt/{Path(image).stem}-*.json")
    return path
