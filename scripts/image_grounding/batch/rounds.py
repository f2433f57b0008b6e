# SPDX-License-Identifier: Apache-2.0
"""A batch run: collect what jobs have brought, read it, hand in what is open, leave or wait."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.batch.collecting import Collected, Tally, collect, look_at
from image_grounding.batch.files import command_for
from image_grounding.batch.handing import Desk, recover
from image_grounding.batch.journal import Job, Journal
from image_grounding.batch.making import (
    IDENTITY,
    QueueOptions,
    identity_of,
    make_queue,
    require_possible,
    require_same,
)
from image_grounding.batch.queue import Queue
from image_grounding.batch.teacher import QueueTeacher
from image_grounding.batch.whole_command import WholeCommand
from image_grounding.errors import (
    BudgetError,
    EndpointError,
    Exit,
    QueueError,
    SpecError,
    UnusableEndpointError,
)
from image_grounding.input.selection import Pilot
from image_grounding.input.shard import Shard
from image_grounding.results.folder import ResultsFolder
from image_grounding.run.pipeline import Pipeline
from image_grounding.run.progress import Reporter
from image_grounding.run.run import RunResult, input_of, run
from image_grounding.spec import Spec
from image_grounding.steps.table import chosen_steps
from image_grounding.teachers import Teacher
from image_grounding.teachers.vlm import VlmTeacher

_WALKED = "walked"
# Kept once the whole input is asked for: a pilot among it leaves its replies there.
_WHOLE = "whole"
_REMEDY_REFUSED = (
    "where it speaks of a limit on what may be enqueued, --job-requests makes smaller jobs; the "
    "same command goes on"
)


@dataclass(frozen=True)
class Waiting:
    """Whether a run stays until all is done, and how often it then looks, in seconds."""

    stay: bool = False
    poll_s: float = 60.0


def run_batch(
    spec: Spec,
    reporter: Reporter,
    pilot: Pilot | None,
    shard: Shard | None,
    options: QueueOptions,
    waiting: Waiting,
) -> RunResult:
    """Do what can be done of a spec until nothing is open but what jobs hold.

    Raises:
        EndpointError: the queue cannot be asked, or refuses the jobs.
        InputError: as ``run``.
        OutputError: as ``run``.
        SpecError: the spec asks for what no queue can do, or jobs of another spec are under way.
    """
    require_possible(spec, options)
    with Journal(spec.results_dir) as journal:
        require_same(spec, options, journal)
        engine = BatchEngine(spec, reporter.say, journal, options)
        while True:
            result = engine.go(reporter, pilot, shard)
            if not waiting.stay or result.exit_code is not Exit.WAITING:
                return result
            if not asyncio.run(engine.until_news(waiting.poll_s)):
                summary = {**engine.command.so_far(result.summary), "status": "interrupted"}
                return replace(result, exit_code=Exit.INTERRUPTED, summary=summary)


class BatchEngine:
    """An engine (see ``run``) whose teacher hands questions to a queue.

    Args:
        spec: of the run.
        say: takes messages.
        journal: of the results folder.
        options: which queue, and how large its jobs may be.

    Attributes:
        command: adds up what the rounds take.
    """

    def __init__(
        self, spec: Spec, say: Callable[[str], None], journal: Journal, options: QueueOptions
    ) -> None:
        self._spec = spec
        self._say = say
        # A queue looks at its jobs again and again.
        self._say_new = _once(say)
        self._journal = journal
        self._options = options
        self._attempts = spec.workflow.max_attempts
        self._tally = Tally()
        self.command = WholeCommand(ResultsFolder(spec.results_dir))
        self._queue: Queue | None = None
        self._teacher: QueueTeacher | None = None
        self._desk: Desk | None = None
        self._is_full = False
        self._pilot: Pilot | None = None

    def go(self, reporter: Reporter, pilot: Pilot | None, shard: Shard | None = None) -> RunResult:
        """Collect, and go through the samples where that can bring anything."""
        self._pilot = pilot
        folder = ResultsFolder(self._spec.results_dir)
        with folder.lock():
            if not self._journal.is_bound():
                self._journal.clear()
            collected = asyncio.run(self._collect())
        # What is full has room again when one of its jobs has ended.
        self._is_full = bool(collected.refused and self._open())
        if collected.refused and not (collected.taken or self._open()):
            why = "; ".join(dict.fromkeys(collected.refused))
            raise UnusableEndpointError(
                f"the batch queue refused the jobs: {why}", remedy=_REMEDY_REFUSED
            )
        if self._open() and not collected.news and self._journal.fact(_WALKED) == self._walk():
            self._say(f"no job has ended since the last time; {self.waiting_text()}")
            before = self.command.so_far(folder.read_summary())
            summary = {**before, "status": self.waiting_text(), **self.facts()}
            return RunResult(Exit.WAITING, summary)
        result = self.command.with_round(run(self._spec, reporter, pilot, shard, self))
        self._tally = Tally()
        through = result.exit_code in (Exit.DONE, Exit.SOME_FAILED) and result.error is None
        whole = pilot is None or not self._journal.fact(_WHOLE)
        if through and whole and not self._open():
            self._journal.clear()
        return result

    async def until_news(self, poll_s: float) -> bool:
        """Wait until a job has ended; False where a signal ends the waiting."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        queue = make_queue(self._spec, self._options, self._journal, self._say_new)
        try:
            while True:
                try:
                    await asyncio.wait_for(stop.wait(), poll_s)
                except TimeoutError:
                    if await self._is_news(queue):
                        return True
                else:
                    return False
        finally:
            await queue.close()

    async def _is_news(self, queue: Queue) -> bool:
        news = False
        for job in self._open():
            if job.id:
                now = await look_at(job.id, self._journal, queue, self._attempts, job.tag)
                news |= now.ended or now.found > job.done + job.failed
        return news

    async def _collect(self) -> Collected:
        queue = make_queue(self._spec, self._options, self._journal, self._say_new)
        try:
            recovered = await recover(self._journal, queue, self._attempts)
            found = await collect(self._journal, queue, self._attempts, self._tally, self._say)
            return replace(found, news=found.news or recovered > 0)
        finally:
            await queue.close()

    # -- the parts of a run ----------------------------------------------------------------------

    def make_teacher(self, spec: Spec, say: Callable[[str], None]) -> Teacher:
        """See ``Engine.make_teacher``."""
        inner = VlmTeacher(spec, ResultsFolder(spec.results_dir), say)
        measures = not self._options.files
        if not measures and inner.provenance()["convention"] is None and "1" in spec.workflow.steps:
            raise SpecError(
                "request files are answered where nothing can be measured: name the box convention "
                "with vlm.coordinates (check_endpoint.py measures it at a server of this model)"
            )
        if self._journal.fact(IDENTITY) is None:
            self._journal.begin(IDENTITY, identity_of(spec, self._options))
        if self._pilot is None:
            self._journal.keep(_WHOLE, True)
        self._queue = make_queue(spec, self._options, self._journal, self._say_new)
        self._teacher = QueueTeacher(
            inner, spec, self._journal, self._queue, self._tally, measures=measures
        )
        return self._teacher

    async def begin(self) -> None:
        """See ``Engine.begin``."""
        assert self._queue and self._teacher
        if not self._is_full:
            limits = self._options.within(self._queue.limits)
            self._desk = Desk(self._journal, self._queue, limits, self._attempts, self._submitted)
            self._teacher.desk = self._desk

    def _submitted(self, job: Job) -> None:
        self._say(f"handing over a job of {job.requests} requests ({job.tag})")

    async def finish(self, pipeline: Pipeline) -> None:
        """See ``Engine.finish``: hand in the rest, unless something else ended the run."""
        assert self._queue
        desk, self._desk = self._desk, None
        try:
            within = pipeline.stopped_by is None or isinstance(pipeline.stopped_by, BudgetError)
            if desk and (pipeline.interrupted or not within):
                desk.discard()
            elif desk:
                await desk.close()
                if pipeline.stopped_by is None:
                    self._journal.keep(_WALKED, self._walk())
        except EndpointError as error:
            pipeline.stopped_by = QueueError(str(error), remedy=error.remedy)
        finally:
            await self._queue.close()

    def facts(self) -> dict[str, Any]:
        """See ``Engine.facts``: the jobs."""
        return {"batch": {"jobs": [self._plain(job) for job in self._journal.jobs()]}}

    def waiting_text(self) -> str:
        """See ``Engine.waiting_text``."""
        count = len(self._open())
        return f"waiting for {count} {'job' if count == 1 else 'jobs'}"

    def _open(self) -> list[Job]:
        return self._journal.jobs(only_open=True)

    def _plain(self, job: Job) -> dict[str, Any]:
        """A job for a report; one that somebody has to run by hand with the command for it."""
        if not (self._options.files and job.is_open):
            return job.plain()
        command = command_for(self._journal.folder, job.tag, self._spec.vlm.model)
        return {**job.plain(), "command": command}

    def _walk(self) -> dict[str, Any]:
        """What was gone through: another input, or part of it, may have something to ask."""
        source = input_of(self._spec, chosen_steps(self._spec.workflow.steps))
        pilot = self._pilot and self._pilot.plain()
        return {"input": str(source.path), "mark": source.file.mark(), "pilot": pilot}


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say``, but what was said before is not repeated."""
    before: set[str] = set()

    def say_new(message: str) -> None:
        if message not in before:
            before.add(message)
            say(message)

    return say_new
