# SPDX-License-Identifier: Apache-2.0
"""Keeps ``run_state.json`` true while a run is at work."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from image_grounding.errors import ImageGroundingError, OutputError
from image_grounding.input.selection import Selection
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import RUNNING, Process, RunState, now_text
from image_grounding.run.progress import Pace, Reporter, Snapshot
from image_grounding.steps.table import AnyStep
from image_grounding.teachers import Teacher

_EVERY_S = 2.0
# Lines whose outputs take some seconds to write.
_EVERY_LINES = 10_000

T = TypeVar("T")


class StateKeeper:
    """A reporter that shows what another one shows, and lets other processes know.

    Args:
        folder: of the run.
        reporter: the other one.
        selection: what the run goes through.
        steps: of the run, in order.
    """

    def __init__(
        self,
        folder: ResultsFolder,
        reporter: Reporter,
        selection: Selection,
        steps: Sequence[AnyStep],
    ) -> None:
        now, before = now_text(), folder.read_state()
        # Of runs that were killed, up to their last word.
        self.unreported = before.unreported if before else ()
        self._folder = folder
        self._reporter = reporter
        self._look: Callable[[], Snapshot] | None = None
        self._pace = Pace()
        self.teacher: Teacher | None = None
        self._state = RunState(
            RUNNING,
            Process.this(),
            since=now,
            updated=now,
            steps=tuple(step.number for step in steps),
            selection=selection.pilot.plain() if selection.pilot else None,
            lines=selection.total,
            shard=selection.source.shard.plain() if selection.source.shard else None,
            in_summary=False,
            not_in_summary=self.unreported,
        )

    def say(self, message: str) -> None:
        """Show a message."""
        self._reporter.say(message)

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Show what ``look`` sees and write it down, until cancelled."""
        self._look = look
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reporter.watch(look))
            tasks.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self._write()
            await asyncio.sleep(_EVERY_S)

    def writing(self, lines: Iterable[T]) -> Iterator[T]:
        """The lines whose outputs are being written, so that it is known how far that is."""
        for number, line in enumerate(lines, 1):
            yield line
            if number % _EVERY_LINES == 0:
                self.say(f"writing the outputs: {number} lines so far")
                self._state = replace(
                    self._state, endpoint=None, samples_a_second=0.0, seconds_left=None
                )
                self._write(look=False)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """In the block a run is at work; an error that leaves it has ended it."""
        self._write()
        try:
            yield
        except ImageGroundingError as error:
            self.end("stopped", error)
            raise
        except BaseException as error:
            self.end(f"stopped: {type(error).__name__}")
            raise

    def end(
        self, status: str, error: ImageGroundingError | None = None, *, in_summary: bool = False
    ) -> None:
        """The run is over, and its usage stands in a summary or not."""
        self._write()
        self._state = replace(
            self._state,
            status=status,
            samples_a_second=0.0,
            seconds_left=None,
            error=str(error) if error else None,
            in_summary=in_summary,
            not_in_summary=() if in_summary else self.unreported,
        )
        self._write(look=False)

    def _write(self, *, look: bool = True) -> None:
        """Write it down; where that cannot be done, the results themselves will say so."""
        if look and self._look and self.teacher:
            self._state = self._seen(self._look(), self.teacher)
        self._state = replace(self._state, updated=now_text())
        with contextlib.suppress(OutputError):
            self._folder.write_state(self._state)

    def _seen(self, now: Snapshot, teacher: Teacher) -> RunState:
        self._pace.update(now)
        left = self._pace.seconds_left(now)
        traffic = teacher.traffic()
        state = "answering" if traffic.answered else "has not answered yet"
        if now.silent:
            state = f"not answering for {now.silent:.0f} s"
        endpoint = {
            "state": now.waiting or state,
            "in_flight": now.in_flight,
            "limit": now.limit,
        }
        return replace(
            self._state,
            lines=now.total,
            finished=now.done,
            failed=now.failed,
            repeated=now.repeated,
            from_checkpoints=now.resumed,
            samples_a_second=round(self._pace.rate(now), 3),
            seconds_left=None if left is None else round(left, 1),
            endpoint=endpoint if teacher.capabilities.needs_endpoint else None,
            usage=teacher.usage(),
        )
