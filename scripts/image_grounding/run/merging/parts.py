# SPDX-License-Identifier: Apache-2.0
"""The results folders that a merge reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.input.shard import Shard
from image_grounding.results.failures import read_failures
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import RUNNING, RunState
from image_grounding.run.shard_folder import shard_in
from image_grounding.run.status import status_of
from image_grounding.steps.table import AnyStep, all_steps

# The step of a failure, and what the file says of it.
Failed = tuple[AnyStep, Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """A results folder that is merged.

    Attributes:
        folder: the folder.
        shard: what of the input it holds; None for all of it.
        state: of the latest run into it.
        summary: of the latest run that came to its end; empty where none did.
    """

    folder: ResultsFolder
    shard: Shard | None
    state: RunState
    summary: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> "Part":
        """The results in a folder.

        Raises:
            InputError: there are none, or a run is at work in it.
        """
        status = status_of(path)
        folder = ResultsFolder(path)
        state = folder.read_state()
        assert state
        if status["running"]:
            raise InputError(f"the run in {path} is still at work; merge when it has ended")
        return cls(folder, shard_in(folder), state, folder.read_summary())

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self.folder.path

    @property
    def was_killed(self) -> bool:
        """Whether the latest run left no word of its end."""
        return self.state.status == RUNNING

    def steps(self) -> set[str]:
        """Numbers of the steps that have been at work here."""
        kept = {step.number for step in all_steps() if self.folder.checkpoints(step).count()}
        return kept | set(self.state.steps)

    def failures(self, steps: Sequence[AnyStep]) -> dict[int, Failed]:
        """What failed, by line of the input."""
        found: dict[int, Failed] = {}
        for step in steps:
            for entry in read_failures(self.folder.failures(step)):
                if isinstance(line := entry.get("line"), int):
                    found[line] = (step, entry)
        return found


def missing_shards(parts: Iterable[Part]) -> list[str]:
    """Shards that none of the parts holds; nothing where they are of several divisions."""
    shards = [part.shard for part in parts]
    if None in shards or len({(shard.of, shard.by_picture) for shard in shards if shard}) != 1:
        return []
    of = max(shard.of for shard in shards if shard)
    there = {shard.number for shard in shards if shard}
    return [f"{number}/{of}" for number in range(1, of + 1) if number not in there]


def open_parts(paths: Sequence[Path]) -> list[Part]:
    """The parts of a merge, in the order of their shards.

    Raises:
        InputError: one of them cannot be merged, or is given twice.
    """
    parts = [Part.at(path) for path in paths]
    seen: set[Path] = set()
    for part in parts:
        if part.path.resolve() in seen:
            raise InputError(f"{part.path} is given twice")
        seen.add(part.path.resolve())
    return sorted(parts, key=lambda part: part.shard.number if part.shard else 0)
