# SPDX-License-Identifier: Apache-2.0
"""Results come from the queue: jobs are looked at, and the lines of those that ended are kept."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from image_grounding.asking.meter import Meter
from image_grounding.batch.handing import patiently
from image_grounding.batch.journal import Job, Journal
from image_grounding.batch.queue import JobState, Queue, Result
from image_grounding.errors import UnknownModelError, UnusableEndpointError
from image_grounding.steps.question import Reply

_REMEDY_UNKNOWN = (
    "use the account and the address that it was made with; --cancel gives it up, and its "
    "questions are asked again"
)


@dataclass
class Tally:
    """What one run handed over and collected, until its summary counts it.

    Attributes:
        submitted: requests that were handed over.
        asked_again: of questions that had been asked before.
        meter: what came back.
    """

    submitted: int = 0
    asked_again: int = 0
    meter: Meter = field(default_factory=Meter)

    def count(self, result: Result) -> None:
        """Count what came back to one question."""
        if not isinstance(result.outcome, Reply):
            self.meter.errors[result.outcome.reason] += 1
            return
        usage = result.outcome.usage
        self.meter.replies += 1
        self.meter.input_tokens += usage.input_tokens
        self.meter.output_tokens += usage.output_tokens
        self.meter.cached_tokens += usage.cached_tokens


@dataclass(frozen=True)
class Collected:
    """What looking at the jobs brought.

    Attributes:
        news: questions came free: answered, failed, or refused.
        taken: some of them by results.
        refused: why the queue took none of other jobs.
    """

    news: bool
    taken: bool = False
    refused: tuple[str, ...] = ()


async def collect(
    journal: Journal, queue: Queue, attempts: int, tally: Tally, say: Callable[[str], None]
) -> Collected:
    """Look at every job that is with the queue; keep what those that ended have brought.

    Raises:
        EndpointError: the queue cannot be asked.
    """
    taken, refused = False, []
    states: Counter[str] = Counter()
    for job in journal.jobs(only_open=True):
        if job.id is None:
            continue
        state = await look_at(job.id, journal, queue, attempts, job.tag)
        states[state.word] += 1
        if state.refused:
            journal.release(job.tag, state.refused)
            refused.append(state.refused)
            await queue.tidy(job.file or "")
            say(f"warning: the queue refused a job of {job.requests} requests: {state.refused}")
        elif state.ended or queue.gives_parts:
            taken |= await _take(job, state, journal, queue, attempts, tally, say)
    if states:
        counts = ", ".join(f"{count} {word}" for word, count in states.most_common())
        say(f"batch jobs: {counts}")
    return Collected(taken or bool(refused), taken, tuple(refused))


async def look_at(job: str, journal: Journal, queue: Queue, attempts: int, tag: str) -> JobState:
    """How a job is doing; it is written down, too. Raises EndpointError."""
    try:
        state = await patiently(lambda: queue.poll(job), attempts)
    except UnknownModelError:
        raise UnusableEndpointError(
            f"the batch queue knows no job {job}", remedy=_REMEDY_UNKNOWN
        ) from None
    journal.seen(tag, state)
    return state


async def _take(
    job: Job,
    state: JobState,
    journal: Journal,
    queue: Queue,
    attempts: int,
    tally: Tally,
    say: Callable[[str], None],
) -> bool:
    """Keep the results of a job; whether there was anything new."""
    id_ = job.id or ""
    held = journal.held(job.tag)
    paths: Sequence[Path] = ()
    try:
        paths = await patiently(lambda: queue.fetch(id_, job.tag, journal.folder), attempts)
    except UnknownModelError:
        say(f"warning: the results of the job {job.id} are gone; what it held is asked again")
    lines = chain.from_iterable(map(queue.read, paths))
    adds = not (state.done or state.failed)  # not every queue says how many
    foreign = journal.collect(job.tag, lines, ended=state.ended, adds=adds, count=tally.count)
    _name_foreign(job, foreign, journal, say)
    if state.ended:
        for path in paths:
            queue.served(path)
        if job.file:
            await queue.tidy(job.file)
    return state.ended or journal.held(job.tag) < held


def _name_foreign(job: Job, count: int, journal: Journal, say: Callable[[str], None]) -> None:
    """Warn of lines of no question, once: the same file is read again while a job is open."""
    name = f"foreign_lines/{job.tag}"
    if count > (journal.fact(name) or 0):
        journal.keep(name, count)
        if count == 1:
            say(f"warning: 1 line of the job {job.id} belongs to no question; left out")
        else:
            say(f"warning: {count} lines of the job {job.id} belong to no question; left out")
