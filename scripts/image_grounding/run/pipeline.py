# SPDX-License-Identifier: Apache-2.0
"""The run: every sample through its steps, many at a time, each as soon as it can."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from image_grounding.asking import Asker
from image_grounding.errors import (
    EndpointError,
    ImageGroundingError,
    InputError,
    OutputError,
    SampleError,
)
from image_grounding.input.samples import BadLine, Sample
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.failures import FailureLog
from image_grounding.run.breaker import Breaker
from image_grounding.run.progress import Reporter, Snapshot
from image_grounding.run.sample_work import SampleWork, StepFailed
from image_grounding.steps.steps import GROUNDING, Step
from image_grounding.teachers import Teacher

# After a stop, what is under way may still come back for so long.
_GRACE_S = 1.0
# So long a diagnosis of what ended the run may take.
_DIAGNOSIS_S = 20.0


@dataclass
class Tally:
    """What became of the samples of a run."""

    total: int = 0
    lines: int = 0
    repeated: int = 0
    done: int = 0
    resumed: int = 0
    failed: int = 0
    internal_errors: int = 0


class _Stopped(Exception):
    """The run ends; this sample is left for the next one."""


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Until all are done, or one of them failed."""
    await asyncio.gather(*tasks)


class Pipeline:
    """One run over one input.

    Workers take lines from one shared stream, so that memory does not grow with the input. A
    sample's steps follow each other at once; only the asker's gate decides how many requests
    are in flight.
    """

    def __init__(
        self,
        items: Iterator[Sample | BadLine],
        teacher: Teacher,
        stores: dict[Step, CheckpointStore],
        failures: dict[Step, FailureLog],
        *,
        say: Callable[[str], None],
        workers: int,
        asker: Asker | None = None,
        force: bool = False,
        total: int = 0,
    ) -> None:
        self.tally = Tally(total=total)
        self.stopped_by: ImageGroundingError | None = None
        self.interrupted = False
        self._items = items
        self._teacher = teacher
        self._asker = asker
        self._failures = failures
        self._workers = 2 * workers + 2
        self._breaker = Breaker(max(8, 2 * workers))
        self._stop = asyncio.Event()
        self._preparing = asyncio.Lock()
        self._prepared = False
        self._grounds = GROUNDING in stores
        self._work_on = SampleWork(
            teacher,
            stores,
            ready=self._ready,
            succeeded=self._breaker.succeeded,
            say=say,
            force=force,
        )
        self.findings = self._work_on.findings

    async def run(self, reporter: Reporter) -> None:
        """Work until the input ends or something stops it; then see the attributes."""
        watch = asyncio.create_task(reporter.watch(self.snapshot))
        workers = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        stop = asyncio.create_task(self._stop.wait())
        everything = asyncio.create_task(_all(workers))
        try:
            await asyncio.wait({everything, stop}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({everything}, timeout=_GRACE_S)
        finally:
            tasks = (stop, watch, everything, *workers)
            for task in tasks:
                task.cancel()
            # Whatever becomes of the progress line, it ends no run.
            _, _, *results = await asyncio.gather(*tasks, return_exceptions=True)
            self._work_on.close()
            await self._explain()
            with contextlib.suppress(Exception):
                await self._teacher.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def interrupt(self) -> None:
        """Stop asking; what is under way may still come back for a moment."""
        self.interrupted = True
        self._stop.set()

    def snapshot(self) -> Snapshot:
        """Where the run is."""
        tally, meter = self.tally, self._asker.meter if self._asker else None
        return Snapshot(
            total=max(tally.total, tally.lines),
            done=tally.done,
            failed=tally.failed,
            resumed=tally.resumed,
            in_flight=self._asker.gate.in_flight if self._asker else 0,
            limit=self._asker.gate.limit if self._asker else self._workers,
            requests=meter.requests if meter else 0,
            retries=meter.retries if meter else 0,
            tokens=meter.input_tokens + meter.output_tokens if meter else 0,
        )

    async def _work(self) -> None:
        try:
            for item in self._items:
                self.tally.lines += 1
                await self._handle(item)
                await asyncio.sleep(0)
                if self._stop.is_set():
                    return
        except _Stopped:
            return
        except (InputError, OutputError) as error:
            self._halt(error)

    async def _handle(self, item: Sample | BadLine) -> None:
        if isinstance(item, BadLine):
            self._fail(item, next(iter(self._failures)), item.error)
            return
        if item.occurrence > 1:
            self.tally.repeated += 1
            return
        try:
            resumed = await self._work_on.annotate(item)
        except StepFailed as failed:
            self._failed(item, failed.step, failed.error)
        else:
            self.tally.done += 1
            self.tally.resumed += resumed
            self._settled(item)

    async def _ready(self) -> None:
        """Before a question: once, see whether the teacher can do the work at all."""
        async with self._preparing:
            if not self._prepared and not self._stop.is_set():
                try:
                    await self._teacher.prepare(grounding=self._grounds)
                except EndpointError as error:  # no sample's fault
                    self._halt(error)
                self._prepared = True
        if self._stop.is_set():
            raise _Stopped

    def _failed(self, sample: Sample, step: Step, error: Exception) -> None:
        if isinstance(error, EndpointError) and self._stop.is_set():
            raise _Stopped  # what is cut off by the end of a run is no failure
        if not isinstance(error, SampleError | EndpointError):
            if isinstance(error, ImageGroundingError | _Stopped):
                raise error
            # A bug must cost one sample, not a million.
            self.tally.internal_errors += 1
            error = SampleError("internal_error", f"{type(error).__name__}: {error}"[:300])
        answered = bool(self._asker and self._asker.answered)
        end = self._breaker.failed(step, error, answered=answered)
        if end:
            self._halt(end)
        if end is error:  # nothing was ever answered: that is not this sample's failure
            raise _Stopped
        self._fail(sample, step, error)
        if isinstance(error, SampleError):
            self.findings.dropped_boxes.update(error.dropped)
            if error.attempts:  # the model's own answer is worse than what there was
                self._work_on.forget(sample, step)

    def _fail(self, item: Sample | BadLine, step: Step, error: SampleError | EndpointError) -> None:
        self.tally.failed += 1
        self._settled(item)
        self._failures[step].add(
            line=item.line,
            reason=error.reason,
            message=str(error),
            sample_id=item.sample_id if isinstance(item, Sample) else None,
            image_path=item.image_path,
            attempts=error.attempts,
            excerpt=error.excerpt,
        )

    def _settled(self, item: Sample | BadLine) -> None:
        for log in self._failures.values():
            log.attempted(item.sample_id if isinstance(item, Sample) else None, item.line)

    def _halt(self, error: ImageGroundingError) -> None:
        self.stopped_by = self.stopped_by or error
        self._stop.set()

    async def _explain(self) -> None:
        """What ended the run, in words that say what to do about it."""
        if isinstance(self.stopped_by, EndpointError):
            with contextlib.suppress(Exception):
                explained = self._teacher.explained(self.stopped_by)
                self.stopped_by = await asyncio.wait_for(explained, _DIAGNOSIS_S)
