# SPDX-License-Identifier: Apache-2.0
"""The run: every sample through its steps, many at a time, each as soon as it can."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from image_grounding.annotations import Extraction
from image_grounding.annotators import Teacher
from image_grounding.checkpoints import (
    Checkpoint,
    CheckpointStore,
    basis_of,
    extraction_from_plain,
    extraction_to_plain,
    grounding_to_plain,
)
from image_grounding.endpoints import Asker
from image_grounding.errors import (
    EndpointError,
    ImageGroundingError,
    InputError,
    OutputError,
    SampleError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.failures import FailureLog
from image_grounding.frames import Size
from image_grounding.images import EncodedImage, ImageStore
from image_grounding.outputs import Finished, load_finished
from image_grounding.progress import Reporter, Snapshot
from image_grounding.records import extraction_of_record
from image_grounding.samples import BadLine, Sample, wrong_size
from image_grounding.steps import EXTRACTION, GROUNDING, Step

# So many wrong sizes are told one by one; all of them are counted.
_WRONG_SIZES_SHOWN = 3
# After a stop, what is under way may still come back for so long.
_GRACE_S = 1.0


@dataclass
class Tally:
    """What became of the samples of a run."""

    total: int = 0
    lines: int = 0
    repeated: int = 0
    done: int = 0
    resumed: int = 0
    failed: int = 0
    usable_inputs: int = 0
    internal_errors: int = 0
    wrong_sizes: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    dropped_boxes: Counter[str] = field(default_factory=Counter)


class _Stopped(Exception):
    """The run ends; this sample is left for the next one."""


class _StepFailed(Exception):
    """A step of a sample failed."""

    def __init__(self, step: Step, error: Exception) -> None:
        super().__init__(str(error))
        self.step = step
        self.error = error


@contextlib.contextmanager
def _blame(step: Step) -> Iterator[None]:
    """Say which step an exception came from."""
    try:
        yield
    except Exception as error:
        raise _StepFailed(step, error) from error


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
        self._stores = stores
        self._failures = failures
        self._say = say
        self._force = force
        self._workers = 2 * workers + 2
        self._in_a_row_limit = max(8, 2 * workers)
        self._failed_in_a_row = 0
        self._stop = asyncio.Event()
        self._ready = asyncio.Lock()
        self._prepared = False
        self._images = ImageStore()

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
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._images.close()
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
        first = next(iter(self._failures))
        if isinstance(item, BadLine):
            self.tally.failed += 1
            self._failures[first].add(
                line=item.line,
                reason=item.error.reason,
                message=str(item.error),
                image_path=item.image_path,
            )
            return
        if item.occurrence > 1:
            self.tally.repeated += 1
            return
        try:
            await self._annotate(item)
        except _StepFailed as failed:
            self._failed(item, failed.step, failed.error)
        else:
            self.tally.done += 1

    async def _annotate(self, sample: Sample) -> None:
        """Do what is not done yet of a sample; raises _StepFailed."""
        with _blame(next(iter(self._stores))):
            done = Finished(None, None) if self._force else load_finished(sample, self._stores)
            extraction = None if EXTRACTION in self._stores else extraction_of_record(sample)
        if extraction is None:
            with _blame(EXTRACTION):
                found = self._recall(done.extraction) or await self._extract(sample)
                extraction = extraction_from_plain(found.result)
        if GROUNDING in self._stores:
            with _blame(GROUNDING):
                _ = self._recall(done.grounding) or await self._ground(sample, extraction)
        if done.grounding if GROUNDING in self._stores else done.extraction:
            self.tally.resumed += 1
            self.tally.usable_inputs += 1

    async def _extract(self, sample: Sample) -> Checkpoint:
        image = await self._begin(EXTRACTION, sample)
        extraction = await self._teacher.extract(sample.caption, image)
        basis = basis_of(sample.caption)
        return self._save(EXTRACTION, sample, image, basis, extraction_to_plain(extraction))

    async def _ground(self, sample: Sample, extraction: Extraction) -> Checkpoint:
        image = await self._begin(GROUNDING, sample)
        grounding = await self._teacher.ground(extraction.expressions, image)
        self.tally.dropped_boxes.update(grounding.dropped)
        basis = basis_of(extraction.cleaned_caption, extraction.expressions)
        return self._save(GROUNDING, sample, image, basis, grounding_to_plain(grounding))

    async def _begin(self, step: Step, sample: Sample) -> EncodedImage:
        """The image for a step that is about to be asked for."""
        self._stores[step].discard(sample.sample_id)
        await self._images.load(sample.image, self._teacher.transport)  # must be good
        async with self._ready:
            if not self._prepared and not self._stop.is_set():
                await self._prepare()
        if self._stop.is_set():
            raise _Stopped
        self.tally.usable_inputs += 1
        # The very same one, unless preparing has changed what the teacher wants.
        return await self._images.load(sample.image, self._teacher.transport)

    async def _prepare(self) -> None:
        """Before the first question; what fails here is no sample's fault."""
        try:
            await self._teacher.prepare()
        except EndpointError as error:
            self._halt(error)
        self._prepared = True

    def _save(
        self, step: Step, sample: Sample, image: EncodedImage, basis: str, result: dict[str, Any]
    ) -> Checkpoint:
        made_by = self._teacher.provenance()
        checkpoint = Checkpoint(basis, image.fingerprint, image.frame.original, made_by, result)
        self._stores[step].save(sample.sample_id, checkpoint)
        self._failed_in_a_row = 0
        if step is next(iter(self._stores)):
            self._compare_sizes(sample, image.frame.original)
        return checkpoint

    def _compare_sizes(self, sample: Sample, size: Size) -> None:
        if warning := wrong_size(sample, size):
            self.tally.wrong_sizes += 1
            if self.tally.wrong_sizes <= _WRONG_SIZES_SHOWN:
                self._say(f"{warning}; the file's size is used")

    def _recall(self, found: Checkpoint | None) -> Checkpoint | None:
        """``found`` as it is; counts it where another teacher made it."""
        if found:
            for name, value in self._teacher.provenance().items():
                # A convention that was not looked for yet is no difference.
                if value is not None and found.provenance.get(name) != value:
                    self.tally.foreign[name] += 1
        return found

    def _failed(self, sample: Sample, step: Step, error: Exception) -> None:
        match error:
            case SampleError():
                reason, message = error.reason, str(error)
                self._fail(sample, step, reason, message, error.attempts, error.excerpt)
            case EndpointError():
                self._endpoint_failed(sample, step, error)
            case ImageGroundingError() | _Stopped():
                raise error
            case _:  # a bug must cost one sample, not a million
                self.tally.internal_errors += 1
                message = f"{type(error).__name__}: {error}"[:300]
                self._fail(sample, step, "internal_error", message)

    def _fail(
        self,
        sample: Sample,
        step: Step,
        reason: str,
        message: str,
        attempts: int = 0,
        excerpt: str | None = None,
    ) -> None:
        self.tally.failed += 1
        self._failures[step].add(
            line=sample.line,
            reason=reason,
            message=message,
            sample_id=sample.sample_id,
            image_path=sample.fields["image_path"],
            attempts=attempts,
            excerpt=excerpt,
        )

    def _endpoint_failed(self, sample: Sample, step: Step, error: EndpointError) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._fail(sample, step, error.reason, str(error), error.attempts)
        if error.fatal:
            self._halt(error)
        if not error.transient:
            return
        self._failed_in_a_row += 1
        never_there = isinstance(error, UnreachableError) and not self._answered()
        if never_there or self._failed_in_a_row >= self._in_a_row_limit:
            count = self._failed_in_a_row
            why = "" if never_there else f" ({count} samples in a row failed; stopping)"
            self._halt(UnusableEndpointError(f"{error}{why}", remedy=error.remedy))

    def _answered(self) -> bool:
        return bool(self._asker and self._asker.meter.latencies)

    def _halt(self, error: ImageGroundingError) -> None:
        self.stopped_by = self.stopped_by or error
        self._stop.set()
