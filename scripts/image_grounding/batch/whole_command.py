# SPDX-License-Identifier: Apache-2.0
"""What a command took that goes through the samples several times while it waits."""

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from image_grounding.errors import OutputError
from image_grounding.results.folder import ResultsFolder
from image_grounding.run.run import RunResult

# Of the requests that were sent at once: they have no sum.
_MEASURED = ("latency", "concurrency")


class WholeCommand:
    """Adds up the rounds of one command, in what it prints and in ``run_summary.json``.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._started = time.monotonic()
        self._usage: Mapping[str, Any] | None = None

    def with_round(self, result: RunResult) -> RunResult:
        """The result of a round, with usage and seconds of all up to it, which count as one run."""
        usage, of_all = result.summary["usage"], result.summary["usage_of_all_runs"]
        if self._usage is not None:
            usage = _added(self._usage, usage)
            of_all = {**of_all, "runs": of_all["runs"] - 1}
        self._usage = usage
        changed = {"usage": usage, "usage_of_all_runs": of_all, "seconds": self._seconds()}
        summary = {**result.summary, **changed}
        # That of the round stands there already, and its sums over all runs are right.
        with contextlib.suppress(OutputError), self._folder.lock():
            self._folder.write_summary(summary)
        return replace(result, summary=summary)

    def so_far(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The summary of an earlier round or command, with what this command took up to now."""
        usage = _nothing(summary.get("usage") or {}) if self._usage is None else self._usage
        return {**summary, "usage": usage, "seconds": self._seconds()}

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 2)


def _nothing(usage: Mapping[str, Any]) -> dict[str, Any]:
    zeros = {name: 0 for name, value in usage.items() if _is_number(value)}
    return {**usage, **zeros, "errors": {}, "latency": None}


def _added(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    first, second = before.get("cost"), now.get("cost")
    measured = now if now.get("latency") else before
    return {
        **now,
        **{name: before.get(name, 0) + now[name] for name in now if _is_number(now[name])},
        **{name: measured[name] for name in _MEASURED if name in measured},
        "errors": dict(Counter(before.get("errors", {})) + Counter(now.get("errors", {}))),
        "cost": None if first is None or second is None else round(first + second, 6),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
