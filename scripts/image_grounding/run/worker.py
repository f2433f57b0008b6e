# SPDX-License-Identifier: Apache-2.0
"""One sample through its steps: what is done of it is recalled, the rest is asked for and kept."""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.images.encoding import EncodedImage
from image_grounding.input.samples import Sample, wrong_size
from image_grounding.results.checkpoints import Checkpoint, CheckpointStore, load_finished
from image_grounding.results.finished import FinishedIndex
from image_grounding.run.sharing import Seat
from image_grounding.steps.drive import Carrier, Driven, Replay, drive
from image_grounding.steps.question import Reply
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep
from image_grounding.storage.address import is_address
from image_grounding.teachers import Teacher

# So many wrong sizes are named one by one; all of them are counted.
_WRONG_SIZES_SHOWN = 3


@dataclass
class Findings:
    """What a run found out about its samples.

    Attributes:
        usable_inputs: steps of samples whose line and image could be read.
        wrong_sizes: lines whose width or height is not that of the file.
        recalled: finished steps that were recalled, by what made them: a name of
            ``Teacher.provenance`` and its value.
        dropped_boxes: boxes of samples that failed for them, by reason.
    """

    usable_inputs: int = 0
    wrong_sizes: int = 0
    recalled: Counter[tuple[str, Any]] = field(default_factory=Counter)
    dropped_boxes: Counter[str] = field(default_factory=Counter)

    def foreign(self, provenance: Mapping[str, Any]) -> dict[str, int]:
        """Recalled steps that another teacher made than that of ``provenance``, by what differs."""
        found: Counter[str] = Counter()
        for (name, value), count in self.recalled.items():
            if name == "measured_convention" and provenance.get(name) is None:
                name = "convention"  # one that is named now: one of the two is wrong
            if provenance.get(name) is not None and provenance[name] != value:
                found[name] += count
        return dict(found)


class RunStopped(Exception):
    """The run ends; this sample is left for the next one."""


class StepFailed(Exception):
    """A step of a sample failed."""

    def __init__(self, step: AnyStep, error: Exception) -> None:
        super().__init__(str(error))
        self.step = step
        self.error = error


@contextlib.contextmanager
def _within(step: AnyStep) -> Iterator[None]:
    """Keep with an exception the step that it came from."""
    try:
        yield
    except RunStopped:
        raise
    except Exception as error:
        raise StepFailed(step, error) from error


@dataclass(frozen=True)
class Outcome:
    """How a sample went.

    Attributes:
        resumed: all of it was there already.
        asked_for_boxes: boxes were asked for now.
        unusable: boxes among them could not be used.
    """

    resumed: bool
    asked_for_boxes: bool
    unusable: bool


class SampleWorker:
    """Does what is not done yet of a sample.

    Args:
        teacher: who is asked.
        stores: the checkpoints of the steps to do, in order.
        ready: awaited before a question; raises RunStopped where the run has ended.
        succeeded: called with every step that was done now.
        recalled: called with every step that was done before.
        say: takes messages.
        index: samples that are known to be finished.
        force: recall nothing. What was finished is kept until something takes its place.
        reread: derive results anew from the kept replies.
    """

    def __init__(
        self,
        teacher: Teacher,
        stores: Mapping[AnyStep, CheckpointStore[Any]],
        *,
        ready: Callable[[], Awaitable[None]],
        succeeded: Callable[[AnyStep], None],
        recalled: Callable[[AnyStep], None],
        say: Callable[[str], None],
        index: FinishedIndex | None = None,
        force: bool = False,
        reread: bool = False,
    ) -> None:
        self.findings = Findings()
        # Finished steps of samples that are not through yet.
        self.half_done = 0
        self._teacher = teacher
        self._stores = stores
        self._first = next(iter(stores))
        self._ready = ready
        self._succeeded = succeeded
        self._recalled = recalled
        self._say = say
        self._recall = not (force or reread)
        self._reread = reread
        self._index = index if self._recall else None
        self._known: Counter[int] = Counter()

    def knows(self, sample: Sample) -> bool:
        """Whether a sample is known to be finished, so that there is nothing to do."""
        kind = self._index.find(sample) if self._index else None
        if kind is None:
            return False
        self._known[kind] += 1
        for step in self._stores:
            self._recalled(step)
        return True

    def end(self) -> None:
        """Add to the findings what was known."""
        for kind, count in self._known.items():
            assert self._index
            self.findings.usable_inputs += count
            for step, provenance in zip(self._stores, self._index.kinds[kind], strict=True):
                self._count_made_by(step, provenance, count)

    async def annotate(self, sample: Sample, seat: Seat | None = None) -> Outcome:
        """Take a sample through the steps.

        Args:
            sample: the input line.
            seat: where its first step shares a question with others.

        Raises:
            StepFailed: with the step and what happened in it.
        """
        await self._look(sample)
        with _within(self._first):
            done = load_finished(sample, list(self._stores.values()), recall=self._recall)
        earlier, through = done.earlier, 0
        latest: dict[str, Reply] = {}
        try:
            for step, store in self._stores.items():
                with _within(step):
                    if found := done.checkpoints.get(step):
                        self._count_recalled(step, found.provenance)
                    else:
                        driven = await self._do(step, store, sample, earlier, latest, seat)
                        earlier = earlier.plus(step, driven.result)
                        latest.update((step.number, reply) for reply in driven.replies)
                if seat:
                    seat.leave()
                through += 1
                self.half_done += 1
        finally:
            self.half_done -= through
        resumed = len(done.checkpoints) == len(self._stores)
        self.findings.usable_inputs += resumed
        asked = [step for step in self._stores if step.asks_for_boxes]
        asked = [step for step in asked if step not in done.checkpoints]
        unusable = any(step.losses(earlier[step]).dropped for step in asked)
        return Outcome(resumed, bool(asked), unusable)

    def forget(self, sample: Sample, step: AnyStep) -> None:
        """Drop what an earlier run finished of a step, so that it is asked for again."""
        self._stores[step].discard(sample)

    async def _do(
        self,
        step: AnyStep,
        store: CheckpointStore[Any],
        sample: Sample,
        earlier: Earlier,
        latest: Mapping[str, Reply],
        seat: Seat | None,
    ) -> Driven[Any]:
        """A step's result, asked for and kept.

        Args:
            step: to be done.
            store: its checkpoints.
            sample: the input line.
            earlier: the results of the steps before.
            latest: the latest replies to those that were asked now, by step number.
            seat: see ``annotate``.
        """
        if self._reread and (kept := store.load(sample, earlier, replies=True)) and kept.replies:
            result = await self._read_again(step, store, sample, earlier, kept)
            return Driven(result)  # what was kept answers nothing else
        reply = latest.get(step.answered_with) if self._teacher.profile.single_pass else None
        # What is paid for is read, though the run may have ended.
        image = await (self._load(sample) if reply else self._begin(sample))
        size, profile = image.frame.original, self._teacher.profile
        carrier: Carrier = seat if seat and step is self._first else self._teacher
        carrier = Replay((reply,), carrier, self._ready) if reply else carrier
        driven = await drive(step.plan(sample, size, earlier, profile), step.read, carrier)
        store.save(
            sample,
            Checkpoint(
                step.basis(sample, earlier),
                image.fingerprint,
                size,
                self._teacher.provenance(),
                driven.result,
                driven.replies,
                profile.transport,
            ),
        )
        self._succeeded(step)
        if step is self._first:
            self._compare_sizes(sample, size)
        return driven

    async def _read_again(
        self,
        step: AnyStep,
        store: CheckpointStore[Any],
        sample: Sample,
        earlier: Earlier,
        kept: Checkpoint[Any],
    ) -> Any:
        """A step's result from the kept replies; only what they leave open is asked for."""
        if step.asks_for_boxes and self._teacher.provenance()["convention"] is None:
            await self._ready()  # it must be known; one that is named or was measured is
        self.findings.usable_inputs += 1
        measured = [
            facts.get("measured_convention")
            for facts in (kept.provenance, self._teacher.provenance())
        ]
        if step.asks_for_boxes and all(measured) and measured[0] != measured[1]:
            # Another server answered then, and was measured: its boxes are right.
            self._count_recalled(step, kept.provenance)
            return kept.result
        profile = replace(self._teacher.profile, single_pass=False)
        if kept.transport:
            profile = replace(profile, transport=kept.transport)
        replay = Replay(kept.replies, self._teacher, self._ready)
        move = step.plan(sample, kept.size, earlier, profile)
        driven = await drive(move, step.read, replay)
        now = self._teacher.provenance()
        provenance = {
            **kept.provenance,
            **{name: now.get(name) for name in ("convention", "measured_convention")},
        }
        again = replace(kept, provenance=provenance, result=driven.result, replies=driven.replies)
        store.save(sample, again)
        self._succeeded(step)
        return driven.result

    async def _begin(self, sample: Sample) -> EncodedImage:
        """The image of a sample that is about to be asked for; it must be good."""
        image = await self._load(sample)
        await self._ready()
        self.findings.usable_inputs += 1
        return image

    async def _look(self, sample: Sample) -> None:
        """Which version of a picture is at its address, where something is kept of it."""
        wanted = is_address(sample.image) and (self._recall or self._reread)
        if wanted and any(store.has(sample.sample_id) for store in self._stores.values()):
            await self._teacher.images.look(sample.image)

    async def _load(self, sample: Sample) -> EncodedImage:
        profile, images = self._teacher.profile, self._teacher.images
        images.transports = profile.transports
        return await images.load(sample.image, profile.transport)

    def _compare_sizes(self, sample: Sample, size: Size) -> None:
        if warning := wrong_size(sample, size):
            self.findings.wrong_sizes += 1
            if self.findings.wrong_sizes <= _WRONG_SIZES_SHOWN:
                self._say(f"{warning}; the file's size is used")

    def _count_recalled(self, step: AnyStep, provenance: Mapping[str, Any]) -> None:
        self._recalled(step)
        self._count_made_by(step, provenance)

    def _count_made_by(self, step: AnyStep, provenance: Mapping[str, Any], count: int = 1) -> None:
        measured = provenance.get("measured_convention")
        for name, value in provenance.items():
            # A convention says nothing of a step that asks for no boxes.
            of_boxes = name in ("convention", "measured_convention")
            if of_boxes and (not step.asks_for_boxes or value is None):
                continue
            if name != "convention" or measured is None:
                self.findings.recalled[name, value] += count
