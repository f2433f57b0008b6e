# SPDX-License-Identifier: Apache-2.0
"""The run: every sample through its steps, many at a time, each as soon as it can."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from image_grounding.errors import (
    BudgetError,
    EndpointError,
    ImageGroundingError,
    InputError,
    OutputError,
    SampleError,
)
from image_grounding.input.samples import BadLine, Sample
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.failures import FailureLog
from image_grounding.results.finished import FinishedIndex
from image_grounding.run.breaker import INTERNAL, Breaker
from image_grounding.run.convention_watch import ConventionWatch
from image_grounding.run.progress import Reporter, Snapshot
from image_grounding.run.sharing import Seat, SharedQuestion, neighbours
from image_grounding.run.worker import RunStopped, SampleWorker, StepFailed
from image_grounding.steps.drive import ReplyPending
from image_grounding.steps.grounding import UNUSABLE
from image_grounding.steps.table import AnyStep
from image_grounding.teachers import Teacher

# After a stop, what is under way may still come back for so long.
_GRACE_S = 1.0
_CHANGED = (
    "the endpoint began to write its boxes in another convention at about this sample; it is "
    "asked for again by the next run"
)
# Lines that may take no more than a moment; then others have their turn.
_TURN_LINES = 64
# Fewer samples in a row than this that the endpoint failed end no run.
_FEWEST_IN_A_ROW = 8
# So long a diagnosis of what ended the run may take.
_DIAGNOSIS_S = 20.0


@dataclass
class RunTally:
    """What became of the samples of a run."""

    total: int = 0
    lines: int = 0
    repeated: int = 0
    done: int = 0
    resumed: int = 0
    failed: int = 0
    waiting: int = 0
    internal_errors: int = 0
    steps_done: int = 0


class Pipeline:
    """One run over one input.

    Workers take lines from one shared stream, so that memory does not grow with the input. A
    sample's steps follow each other at once; only the teacher decides how many requests are in
    flight, and there are as many workers as keep that many there.
    """

    def __init__(
        self,
        items: Iterator[Sample | BadLine],
        teacher: Teacher,
        stores: Mapping[AnyStep, CheckpointStore[Any]],
        failures: Mapping[AnyStep, FailureLog],
        *,
        say: Callable[[str], None],
        workers: int,
        index: FinishedIndex | None = None,
        force: bool = False,
        reread: bool = False,
        total: int = 0,
    ) -> None:
        self.tally = RunTally(total=total)
        self.stopped_by: ImageGroundingError | None = None
        self.interrupted = False
        self._groups = neighbours(items, teacher.profile.captions, lambda item: item)
        self._teacher = teacher
        self._failures = failures
        self._at_once = workers
        self._workers = 0
        self._crew = asyncio.TaskGroup()
        self._breaker = Breaker(_FEWEST_IN_A_ROW)
        self._stop = asyncio.Event()
        self._preparing = asyncio.Lock()
        self._prepared = False
        self._asking_since: float | None = None
        self._watch = ConventionWatch(teacher.recheck, self._doubt)
        self._boxes_step = next((step for step in stores if step.asks_for_boxes), None)
        self._worker = SampleWorker(
            teacher,
            stores,
            ready=self._ready,
            succeeded=self._succeeded,
            recalled=self._breaker.recalled,
            say=say,
            index=index,
            force=force,
            reread=reread,
        )
        self.findings = self._worker.findings
        self._steps = len(stores)

    async def run(self, reporter: Reporter) -> None:
        """Work until the input ends or something stops it; then see the attributes."""
        watch = asyncio.create_task(reporter.watch(self.snapshot))
        stop = asyncio.create_task(self._stop.wait())
        everything = asyncio.create_task(self._do_all())
        try:
            await asyncio.wait({everything, stop}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({everything}, timeout=_GRACE_S)
            while isinstance(self.stopped_by, BudgetError) and not self.interrupted:
                # What is under way is paid for.
                if (await asyncio.wait({everything}, timeout=_GRACE_S))[0]:
                    break
        finally:
            tasks = (stop, watch, everything)
            for task in tasks:
                task.cancel()
            # Whatever becomes of the progress line, it ends no run.
            _, _, result = await asyncio.gather(*tasks, return_exceptions=True)
            self._worker.end()
            await self._diagnose()
            with contextlib.suppress(Exception):
                await self._teacher.close()
        if isinstance(result, ExceptionGroup):
            raise result.exceptions[0]
        if isinstance(result, Exception):
            raise result

    def interrupt(self) -> None:
        """Stop asking; what is under way may still come back for a moment."""
        self.interrupted = True
        self._stop.set()

    def snapshot(self) -> Snapshot:
        """Where the run is."""
        tally, traffic = self.tally, self._teacher.traffic()
        since = self._asking_since
        return Snapshot(
            total=max(tally.total, tally.lines),
            done=tally.done,
            failed=tally.failed,
            repeated=tally.repeated,
            resumed=tally.resumed,
            steps=self._steps,
            steps_done=tally.steps_done,
            half_done=self._worker.half_done,
            asking_s=time.monotonic() - since if since else 0.0,
            in_flight=traffic.in_flight,
            limit=traffic.limit or self._workers,
            requests=traffic.requests,
            retries=traffic.retries,
            tokens=traffic.tokens,
            why=traffic.why,
            cost=traffic.cost,
            silent=traffic.silent,
            waiting=traffic.waiting,
        )

    async def _do_all(self) -> None:
        """Until the workers have done everything, or one of them failed; then what comes last."""
        async with self._crew:
            self._hire()
        await self._end()

    def _hire(self) -> None:
        """See to it that there are workers enough for as many requests as may be in flight."""
        self._at_once = max(self._at_once, self._teacher.traffic().limit)
        self._breaker.limit = max(_FEWEST_IN_A_ROW, 2 * self._at_once)
        while self._workers < 2 * self._at_once + 2 and not self._stop.is_set():
            self._workers += 1
            self._crew.create_task(self._work())

    async def _work(self) -> None:
        with self._ending():
            for group in self._groups:
                self.tally.lines += len(group)
                if not self._recall(group):
                    await self._handle_group(group)
                if self.tally.lines % _TURN_LINES == 0:
                    await asyncio.sleep(0)
                if self._stop.is_set():
                    return

    def _recall(self, group: list[Sample | BadLine]) -> bool:
        """Whether a line is that of a sample that is known to be finished."""
        item = group[0]
        if len(group) > 1 or isinstance(item, BadLine) or item.occurrence > 1:
            return False
        if not self._worker.knows(item):
            return False
        self.tally.done += 1
        self.tally.resumed += 1
        self._settled(item)
        return True

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """End with the run, and the run with what no other sample could do better."""
        try:
            yield
        except RunStopped:
            pass
        except (InputError, OutputError) as error:
            self._halt(error)

    async def _end(self) -> None:
        if not self._stop.is_set():
            await self._watching(self._watch.end())

    async def _handle_group(self, group: list[Sample | BadLine]) -> None:
        """Samples of one picture, whose first step shares a request."""
        if len(group) == 1:
            return await self._handle(group[0])
        shared = SharedQuestion(self._teacher, self._ready, len(group))

        async def handle(item: Sample | BadLine) -> None:
            seat = Seat(shared)
            try:
                with self._ending():
                    await self._handle(item, seat)
            finally:
                seat.leave()

        await asyncio.gather(*map(handle, group))

    async def _handle(self, item: Sample | BadLine, seat: Seat | None = None) -> None:
        if isinstance(item, BadLine):
            self._fail(item, next(iter(self._failures)), item.error)
            return
        if item.occurrence > 1:
            self.tally.repeated += 1
            return
        epoch = self._watch.epoch
        try:
            outcome = await self._worker.annotate(item, seat)
        except StepFailed as failed:
            if isinstance(failed.error, ReplyPending):
                self.tally.waiting += 1
                return
            self._failed(item, failed.step, failed.error)
            if getattr(failed.error, "reason", "") == UNUSABLE:
                await self._watching(self._watch.count(unusable=True))
            return
        self.tally.done += 1
        self.tally.resumed += outcome.resumed
        self._settled(item)
        if outcome.asked_for_boxes and epoch != self._watch.epoch:
            self._doubt(item)
        elif outcome.asked_for_boxes:
            await self._watching(self._watch.done(item, unusable=outcome.unusable))

    async def _watching(self, check: Awaitable[None]) -> None:
        try:
            await check
        except EndpointError as error:  # no sample's fault
            self._halt(error)

    def _doubt(self, sample: Sample) -> None:
        """A sample was done, but its boxes may have been read in a wrong convention."""
        assert self._boxes_step
        self.tally.done -= 1
        self._worker.forget(sample, self._boxes_step)
        self._fail(sample, self._boxes_step, SampleError("convention_changed", _CHANGED))

    async def _ready(self) -> None:
        """Before a question: once, see whether the teacher can do the work at all."""
        async with self._preparing:
            if not self._prepared and not self._stop.is_set():
                try:
                    await self._teacher.prepare(boxes=self._boxes_step is not None)
                except EndpointError as error:  # no sample's fault
                    self._halt(error)
                self._prepared = True
                self._asking_since = time.monotonic()
        await self._watch.wait()
        if self._stop.is_set():
            raise RunStopped

    def _succeeded(self, step: AnyStep) -> None:
        self.tally.steps_done += 1
        self._breaker.succeeded(step)
        self._hire()

    def _failed(self, sample: Sample, step: AnyStep, error: Exception) -> None:
        if isinstance(error, EndpointError) and self._stop.is_set():
            raise RunStopped  # what is cut off by the end of a run is no failure
        if not isinstance(error, SampleError | EndpointError):
            if isinstance(error, ImageGroundingError):
                raise error
            # A bug must cost one sample, not a million.
            self.tally.internal_errors += 1
            error = SampleError(INTERNAL, f"{type(error).__name__}: {error}"[:300])
        answered = self._teacher.traffic().answered
        again = self._failures[step].failed_before(sample.sample_id)
        end = self._breaker.error_after(step, error, answered=answered, again=again)
        if end:
            self._halt(end)
        if end is error:  # the endpoint's state is not this sample's failure
            raise RunStopped
        self._fail(sample, step, error)
        if isinstance(error, SampleError):
            self.findings.dropped_boxes.update(error.dropped)
            if error.attempts:  # the model's own answer is worse than what there was
                self._worker.forget(sample, step)

    def _fail(
        self, item: Sample | BadLine, step: AnyStep, error: SampleError | EndpointError
    ) -> None:
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

    async def _diagnose(self) -> None:
        """What ended the run, in words that say what to do about it."""
        if isinstance(self.stopped_by, EndpointError):
            with contextlib.suppress(Exception):
                diagnosis = self._teacher.diagnose(self.stopped_by)
                self.stopped_by = await asyncio.wait_for(diagnosis, _DIAGNOSIS_S)
