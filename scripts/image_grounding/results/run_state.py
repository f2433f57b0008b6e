# SPDX-License-Identifier: Apache-2.0
"""``run_state.json``: who is at work in a results folder and how far it is, for other processes.

A run writes it every few seconds. One that is killed leaves it as it was; whether its process
still lives is looked up by whoever reads.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RUNNING = "running"


def now_text() -> str:
    """The time in UTC, as in ``2026-11-28T19:14:44+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Process:
    """A process, as others can find it again.

    Attributes:
        pid: its number, which a later process may get again.
        host: the machine.
        mark: when it began, in the system's own count; None where that is not known.
    """

    pid: int
    host: str
    mark: str | None = None

    @classmethod
    def this(cls) -> "Process":
        """The process that asks."""
        found = _stat(os.getpid())
        return cls(os.getpid(), socket.gethostname(), found[1] if found else None)

    def is_alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be seen from here."""
        if self.host != socket.gethostname() or os.name == "nt":
            return None
        if self.mark is not None:
            found = _stat(self.pid)
            return found is not None and found[0] not in "ZX" and found[1] == self.mark
        try:
            os.kill(self.pid, 0)  # only looks
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        return True


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start of a process on Linux; None elsewhere, or where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # the name before it may hold anything
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None


@dataclass(frozen=True)
class RunState:
    """Where the latest run into a folder is, or was.

    Attributes:
        status: ``running``, or how it ended.
        process: who runs.
        since: when it began, UTC.
        updated: when this was written, UTC.
        steps: numbers of its steps, in order.
        selection: what a pilot takes of the input; None for all of it.
        lines: of the input, or samples of the pilot.
        finished: samples through all steps, those that were there already among them.
        failed: samples and bad lines that did not get through.
        repeated: lines whose pair stands in the input before.
        from_checkpoints: of those finished, what was there already.
        samples_a_second: over the last minute.
        seconds_left: at this pace; None where it is not known yet.
        endpoint: its ``state`` and what is asked of it; None where nobody is asked.
        usage: requests, tokens, cost of this run; None where there is nothing to report.
        error: what ended it before its time.
        shard: the part of the input that it goes through; None for all of it.
        in_summary: whether ``usage`` is in the summary of the results.
        not_in_summary: usage of earlier runs, which were killed before they wrote theirs.
    """

    status: str
    process: Process
    since: str
    updated: str
    steps: tuple[str, ...]
    selection: Mapping[str, Any] | None
    lines: int
    finished: int = 0
    failed: int = 0
    repeated: int = 0
    from_checkpoints: int = 0
    samples_a_second: float = 0.0
    seconds_left: float | None = None
    endpoint: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = field(default=None)
    error: str | None = None
    shard: Mapping[str, Any] | None = None
    in_summary: bool = True
    not_in_summary: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError where it is none of ours: no steps, no time that can be compared."""
        if not self.steps or datetime.fromisoformat(self.updated).tzinfo is None:
            raise ValueError("not the state of a run")

    @property
    def unreported(self) -> tuple[Mapping[str, Any], ...]:
        """Usage that no summary holds: of earlier runs, and of this one."""
        own = self.usage if not self.in_summary else None
        return (*self.not_in_summary, *((own,) if own else ()))

    @property
    def left(self) -> int:
        """Lines that are neither finished nor failed nor repeated."""
        return max(0, self.lines - self.finished - self.failed - self.repeated)

    @property
    def silent_for(self) -> float:
        """Seconds since it was written."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.updated)).total_seconds()
