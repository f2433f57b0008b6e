# SPDX-License-Identifier: Apache-2.0
"""The results folder: the one object through which results are read and written."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from image_grounding.files import exclusive, strict_json, to_json, write_atomic
from image_grounding.plain import from_plain, to_plain
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.failures import FailureLog
from image_grounding.results.run_state import RunState
from image_grounding.results.segments import MOST_BYTES
from image_grounding.steps.step import Step
from image_grounding.steps.table import AnyStep, all_steps

R = TypeVar("R")
RECORDS_NAME = "annotations.jsonl"
FAILURES_NAME = "failures.jsonl"
SUMMARY_NAME = "run_summary.json"
STATE_NAME = "run_state.json"
CONVENTION_NAME = "box_convention.json"


class ResultsFolder:
    """What lies where in ``results_dir``.

    Args:
        path: the folder.
        segment_bytes: how large a file of checkpoints grows.
    """

    def __init__(self, path: Path, segment_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._segment_bytes = segment_bytes

    def step(self, step: AnyStep) -> Path:
        """The folder of a step."""
        return self.path / step.folder_name

    def records(self, step: AnyStep | None = None) -> Path:
        """The records of a step, or those of the last one, at the top."""
        return (self.step(step) if step else self.path) / RECORDS_NAME

    def failures(self, step: AnyStep) -> Path:
        """The failures of a step."""
        return self.step(step) / FAILURES_NAME

    def checkpoints(self, step: Step[R]) -> CheckpointStore[R]:
        """The checkpoints of a step."""
        return CheckpointStore(step, self.step(step), self._segment_bytes)

    def open_failures(self, steps: Sequence[AnyStep]) -> dict[AnyStep, FailureLog]:
        """The failure logs of these steps, to be written; raises OutputError."""
        return {step: FailureLog(self.failures(step)) for step in steps}

    def foreign_records(self) -> Path | None:
        """Records at the top that no run of ours wrote, as TAO's; None where there are none."""
        kept = ((self.step(step) / ".ckpt").is_dir() for step in all_steps())
        ours = (self.path / SUMMARY_NAME).exists() or any(kept)
        return None if ours or not self.records().is_file() else self.records()

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for this process; raises OutputError, see ``files.exclusive``."""
        return exclusive(self.path)

    def read_summary(self) -> dict[str, Any]:
        """The summary of the latest run; empty where none can be read."""
        return self._read(SUMMARY_NAME)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary of a run; raises OutputError."""
        self._write(SUMMARY_NAME, summary)

    def read_state(self) -> RunState | None:
        """Where the latest run is; None where none can be read."""
        try:
            return from_plain(RunState, self._read(STATE_NAME))
        except ValueError:
            return None

    def write_state(self, state: RunState) -> None:
        """Write where a run is; raises OutputError."""
        self._write(STATE_NAME, to_plain(RunState, state))

    def read_conventions(self) -> list[dict[str, Any]]:
        """The measured box conventions; empty where none can be read."""
        found = self._read(CONVENTION_NAME).get("measurements")
        entries = found if isinstance(found, list) else []
        return [entry for entry in entries if isinstance(entry, dict)]

    def write_conventions(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Keep measured box conventions; raises OutputError."""
        self._write(CONVENTION_NAME, {"measurements": list(entries)})

    def read_value(self, name: str, kind: type[R]) -> R | None:
        """A value that ``write_value`` kept under a name; None where none can be read."""
        try:
            return from_plain(kind, self._read(name))
        except ValueError:
            return None

    def write_value(self, name: str, kind: type[R], value: R) -> None:
        """Keep a value, a dataclass, in a file at the top; raises OutputError."""
        self._write(name, to_plain(kind, value))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = strict_json((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        write_atomic(self.path / name, to_json(value, indent=2) + "\n")
