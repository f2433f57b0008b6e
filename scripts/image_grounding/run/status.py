# SPDX-License-Identifier: Apache-2.0
"""What can be known of the run in a results folder from outside; reads only."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import RUNNING, RunState
from image_grounding.steps.table import all_steps

# A run that cannot be looked up, as on another machine, is believed for so long.
_BELIEVED_S = 60.0
_KILLED = "stopped: killed"


def status_of(path: Path) -> dict[str, Any]:
    """The state of the latest run into a results folder, fit for JSON.

    Raises:
        InputError: there is no such folder, or no run has begun in it.
    """
    if not path.is_dir():
        raise InputError(f"no such results: {path}")
    folder = ResultsFolder(path)
    state = folder.read_state()
    kept = {store.step.number: store.count() for store in _stores(path)}
    if state is None:
        raise InputError(f"no run has left its state in {path}")
    status = _status(state)
    finished = state.finished
    if status == _KILLED and state.selection is None:
        # More was finished than the last word of the run says.
        finished = max(finished, min(kept.get(state.steps[-1], 0), finished + state.left))
    usage = state.usage or {}
    return {
        "status": status,
        "running": status == RUNNING,
        "pid": state.process.pid,
        "host": state.process.host,
        "since": state.since,
        "updated": state.updated,
        "steps": list(state.steps),
        "selection": state.selection,
        "shard": state.shard,
        "lines": state.lines,
        "finished": finished,
        "from_checkpoints": state.from_checkpoints,
        "failed": state.failed,
        "repeated_lines": state.repeated,
        "left": state.left - (finished - state.finished),
        # Finished steps that are kept, of earlier runs, too.
        "checkpoints": {number: kept.get(number, 0) for number in state.steps},
        "samples_a_second": state.samples_a_second if status == RUNNING else None,
        "seconds_left": state.seconds_left if status == RUNNING else None,
        "endpoint": state.endpoint,
        "usage": state.usage,
        "cost": usage.get("cost"),
        "error": state.error,
        "results_dir": str(path),
    }


@lru_cache(maxsize=1)
def _stores(path: Path) -> tuple[CheckpointStore[Any], ...]:
    """The checkpoints of all steps; who looks again reads only what was added."""
    return tuple(ResultsFolder(path).checkpoints(step) for step in all_steps())


def _status(state: RunState) -> str:
    if state.status != RUNNING:
        return state.status
    alive = state.process.is_alive()
    if alive is None:
        silent = state.silent_for
        return RUNNING if silent < _BELIEVED_S else f"silent for {silent:.0f} s, and not seen here"
    return RUNNING if alive else _KILLED
