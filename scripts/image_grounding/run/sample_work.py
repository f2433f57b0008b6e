# SPDX-License-Identifier: Apache-2.0
"""One sample through its steps: what is done of it is recalled, the rest is asked for and kept."""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.images.encoding import EncodedImage
from image_grounding.images.store import ImageStore
from image_grounding.input.samples import Sample, wrong_size
from image_grounding.results.checkpoints import (
    Checkpoint,
    CheckpointStore,
    basis_of,
    extraction_from_plain,
    extraction_to_plain,
    grounding_to_plain,
)
from image_grounding.results.outputs import Finished, load_finished
from image_grounding.results.records import extraction_of_record
from image_grounding.steps.annotations import Extraction
from image_grounding.steps.steps import EXTRACTION, GROUNDING, Step
from image_grounding.teachers import Teacher

# So many wrong sizes are told one by one; all of them are counted.
_WRONG_SIZES_SHOWN = 3


@dataclass
class Findings:
    """What a run found out about its samples.

    Attributes:
        usable_inputs: samples whose line and image could be read.
        wrong_sizes: lines whose width or height is not that of the file.
        foreign: finished steps that another teacher made, by what differs.
        dropped_boxes: boxes of samples that failed for them, by reason.
    """

    usable_inputs: int = 0
    wrong_sizes: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    dropped_boxes: Counter[str] = field(default_factory=Counter)


class StepFailed(Exception):
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
        raise StepFailed(step, error) from error


class SampleWork:
    """Does what is not done yet of a sample.

    Args:
        teacher: who is asked.
        stores: the checkpoints of the steps to do, in order.
        ready: waited for before a question; raises where the run has ended.
        succeeded: told of every step that was done now.
        say: takes messages.
        force: recall nothing. What was finished is kept until something takes its place.
    """

    def __init__(
        self,
        teacher: Teacher,
        stores: dict[Step, CheckpointStore],
        *,
        ready: Callable[[], Awaitable[None]],
        succeeded: Callable[[Step], None],
        say: Callable[[str], None],
        force: bool,
    ) -> None:
        self.findings = Findings()
        self._teacher = teacher
        self._stores = stores
        self._first = next(iter(stores))
        self._ready = ready
        self._succeeded = succeeded
        self._say = say
        self._force = force
        self._images = ImageStore()

    async def annotate(self, sample: Sample) -> bool:
        """Take a sample through the steps.

        Returns:
            Whether all of it was there already.

        Raises:
            StepFailed: with the step and what happened in it.
        """
        with _blame(self._first):
            done = Finished(None, None) if self._force else load_finished(sample, self._stores)
            extraction = None if EXTRACTION in self._stores else extraction_of_record(sample)
        if extraction is None:
            with _blame(EXTRACTION):
                found = self._recall(done.extraction) or await self._extract(sample)
                extraction = extraction_from_plain(found.result)
        if GROUNDING in self._stores:
            with _blame(GROUNDING):
                _ = self._recall(done.grounding) or await self._ground(sample, extraction)
        resumed = bool(done.grounding if GROUNDING in self._stores else done.extraction)
        self.findings.usable_inputs += resumed
        return resumed

    def forget(self, sample: Sample, step: Step) -> None:
        """Drop what an earlier run finished of a step: it shall be asked for again."""
        self._stores[step].discard(sample.sample_id)

    def close(self) -> None:
        """Let go of what it holds."""
        self._images.close()

    async def _extract(self, sample: Sample) -> Checkpoint:
        image = await self._begin(sample)
        extraction = await self._teacher.extract(sample.caption, image)
        basis = basis_of(sample.caption)
        return self._save(EXTRACTION, sample, image, basis, extraction_to_plain(extraction))

    async def _ground(self, sample: Sample, extraction: Extraction) -> Checkpoint:
        image = await self._begin(sample)
        grounding = await self._teacher.ground(extraction.expressions, image)
        basis = basis_of(extraction.cleaned_caption, extraction.expressions)
        return self._save(GROUNDING, sample, image, basis, grounding_to_plain(grounding))

    async def _begin(self, sample: Sample) -> EncodedImage:
        """The image for a step that is about to be asked for."""
        await self._images.load(sample.image, self._teacher.transport)  # must be good
        await self._ready()
        self.findings.usable_inputs += 1
        # The very same one, unless getting ready has changed what the teacher wants.
        return await self._images.load(sample.image, self._teacher.transport)

    def _save(
        self, step: Step, sample: Sample, image: EncodedImage, basis: str, result: dict[str, Any]
    ) -> Checkpoint:
        made_by = self._teacher.provenance()
        checkpoint = Checkpoint(basis, image.fingerprint, image.frame.original, made_by, result)
        self._stores[step].save(sample.sample_id, checkpoint)
        self._succeeded(step)
        if step is self._first:
            self._compare_sizes(sample, image.frame.original)
        return checkpoint

    def _compare_sizes(self, sample: Sample, size: Size) -> None:
        if warning := wrong_size(sample, size):
            self.findings.wrong_sizes += 1
            if self.findings.wrong_sizes <= _WRONG_SIZES_SHOWN:
                self._say(f"{warning}; the file's size is used")

    def _recall(self, found: Checkpoint | None) -> Checkpoint | None:
        """``found`` as it is; counts it where another teacher made it."""
        if found:
            for name, value in self._teacher.provenance().items():
                # A convention that was not looked for yet is no difference.
                if value is not None and found.provenance.get(name) != value:
                    self.findings.foreign[name] += 1
        return found
