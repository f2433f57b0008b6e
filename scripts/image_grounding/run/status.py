# SPDX-License-Identifier: Apache-2.0
"""What can be known of the runs in results folders from outside; reads only."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.folder import STATE_NAME, ResultsFolder
from image_grounding.results.run_state import RUNNING, RunState
from image_grounding.steps.table import all_steps

# A run that cannot be looked up, as on another machine, is believed for so long.
_BELIEVED_S = 60.0
_KILLED, _SILENT = "stopped: killed", "silent"
NOT_STARTED = "not started"
# What is added up.
_ADDED = ("lines", "finished", "failed", "left")


class Outlook:
    """A results folder that is looked at, perhaps again: then only what was added is read.

    Args:
        path: of the folder.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = ResultsFolder(path)

    def has_begun(self) -> bool:
        """Whether a run has begun; raises InputError where there is no such folder."""
        if not self.path.is_dir():
            raise InputError(f"no such results: {self.path}")
        return (self.path / STATE_NAME).exists()

    def status(self) -> dict[str, Any]:
        """The state of the latest run, fit for JSON.

        Raises:
            InputError: there is no such folder, or no run has begun in it.
        """
        state = self._folder.read_state() if self.has_begun() else None
        if state is None:
            raise InputError(f"no run has left its state in {self.path}")
        kept = {store.step.number: store.count() for store in self._stores}
        return _plain(state, kept, self.path)

    @cached_property
    def _stores(self) -> tuple[CheckpointStore[Any], ...]:
        """The checkpoints of all steps."""
        return tuple(self._folder.checkpoints(step) for step in all_steps())


def status_of(path: Path) -> dict[str, Any]:
    """The status of one look; raises as ``Outlook.status``."""
    return Outlook(path).status()


def statuses_of(outlooks: Sequence[Outlook]) -> list[dict[str, Any]]:
    """The status of each, of which some may not have begun.

    Raises:
        InputError: one is no folder, holds something else or is given twice, or none has begun.
    """
    seen: set[Path] = set()
    for outlook in outlooks:
        if (place := outlook.path.resolve()) in seen:
            raise InputError(f"{outlook.path} is given twice")
        seen.add(place)
    begun = [outlook for outlook in outlooks if outlook.has_begun()]
    known = {outlook.path: outlook.status() for outlook in begun or outlooks}
    unknown = dict.fromkeys(next(iter(known.values())))
    unknown |= {"status": NOT_STARTED, "running": False}
    return [
        known.get(outlook.path) or {**unknown, "results_dir": str(outlook.path)}
        for outlook in outlooks
    ]


def total_of(statuses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several statuses come to together.

    ``cost`` is None where that of one run is unknown. ``seconds_left`` is the longest of those
    that run; None where one of them cannot tell.
    """
    begun = [status for status in statuses if status["status"] != NOT_STARTED]
    usages = [status["usage"] for status in begun if status["usage"]]
    costs = [_number(usage.get("cost")) for usage in usages]
    requests = [_number(usage.get("requests")) or 0 for usage in usages]
    running = [status for status in begun if status["running"]]
    times = [status["seconds_left"] for status in running]
    paces = [status["samples_a_second"] for status in running]
    return {
        **{name: sum(status[name] for status in begun) for name in _ADDED},
        "requests": sum(requests),
        "cost": _sum(costs),
        "samples_a_second": round(sum(paces), 3) if running else None,
        "seconds_left": max(times) if times and None not in times else None,
        "running": len(running),
        "status": _counted(statuses),
    }


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 6) if known and len(known) == len(costs) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _counted(statuses: Sequence[Mapping[str, Any]]) -> str:
    """As ``2 running, 1 done``: those that run first."""
    texts = [str(status["status"]) for status in statuses]
    names = [_SILENT if text.startswith(_SILENT) else text for text in texts]
    names.sort(key=lambda name: name != RUNNING)
    return ", ".join(f"{count} {name}" for name, count in Counter(names).items())


def _plain(state: RunState, kept: Mapping[str, int], path: Path) -> dict[str, Any]:
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


def _status(state: RunState) -> str:
    if state.status != RUNNING:
        return state.status
    alive = state.process.is_alive()
    if alive is None:
        seconds = state.silent_for
        if seconds >= _BELIEVED_S:
            return f"silent for {seconds:.0f} s, and not seen here"
        return RUNNING
    return RUNNING if alive else _KILLED
