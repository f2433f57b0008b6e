# SPDX-License-Identifier: Apache-2.0
"""What is kept of each finished step of each sample, and never asked for again."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from image_grounding.boxes.frames import Size, Transport
from image_grounding.errors import OutputError
from image_grounding.files import to_json
from image_grounding.images.source import MAX_FILE_PIXELS, is_unchanged
from image_grounding.input.samples import Sample
from image_grounding.plain import from_plain, json_reader, to_plain
from image_grounding.results.segments import MOST_BYTES, Segments, SegmentState
from image_grounding.steps.question import Finish, Reply
from image_grounding.steps.step import Earlier, Step
from image_grounding.steps.table import AnyStep, given_steps

R = TypeVar("R")

# Of the kept form; older forms stay readable. Form 1 had neither replies nor transport.
_FORMAT = 2
_READABLE = frozenset({1, 2})
# Characters of a reply that are kept.
_MAX_REPLY = 100_000
# Of a checkpoint that is shown to a person; ours are a thousandth of it.
_MOST_BYTES = 4_000_000
# What a fact of the provenance may be, besides a finite number.
_PLAIN = frozenset({str, int, bool, type(None)})
_REPLIES: Any = tuple[Reply, ...]
_TRANSPORT: Any = Transport | None


@dataclass(frozen=True)
class Checkpoint(Generic[R]):
    """A finished step of a sample.

    Attributes:
        basis: hash of what it was made from beside the image, see ``Step.basis``.
        image: fingerprint of the image file.
        size: (width, height) of the upright original in pixels.
        provenance: what made it: model, prompt version, convention.
        result: the step's result.
        replies: what it was read from, in order; empty where they were not kept.
        transport: how the picture for boxes was sent; None where that was not kept.
    """

    basis: str
    image: Mapping[str, Any]
    size: Size
    provenance: Mapping[str, Any]
    result: R
    replies: tuple[Reply, ...] = ()
    transport: Transport | None = None


@dataclass(frozen=True)
class _Kept(Generic[R]):
    """A checkpoint as it stands in its file; its replies, which are rarely wanted, unread."""

    format: int
    basis: str
    image: dict[str, Any]
    width: int
    height: int
    provenance: dict[str, Any]
    result: R
    transport: Transport | None = None
    replies: Any = ()


@dataclass(frozen=True)
class Finished:
    """What is done of a sample.

    Attributes:
        checkpoints: by step, in order; a step whose result no longer holds ends them.
        earlier: their results, and those of a given record.
    """

    checkpoints: Mapping[AnyStep, Checkpoint[Any]]
    earlier: Earlier


class CheckpointStore(Generic[R]):
    """The checkpoints of one step, in ``.ckpt`` of its folder.

    What is saved is found by the stores that are made later.
    """

    def __init__(self, step: Step[R], step_folder: Path, segment_bytes: int = MOST_BYTES) -> None:
        self.step = step
        self._kept = json_reader(cast(Any, _Kept)[step.result_type])
        self._unusable = 0
        self._folder = step_folder / ".ckpt"
        self._segments = Segments(self._folder, segment_bytes)

    @property
    def unusable(self) -> int:
        """How many were met so far that hold no result; they count as not there."""
        return self._unusable + self._segments.damaged

    def create(self) -> None:
        """Make the folder and tidy it up; raises OutputError where that cannot be done."""
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._segments.tidy()

    def count(self) -> int:
        """How many there are now, whether they still hold or not."""
        files = sum(1 for name in self._files if self._segments.get(name) is None)
        return self._segments.refresh() + files

    def state(self) -> list[SegmentState] | None:
        """What is the same as long as the checkpoints are; None where that cannot be told."""
        return None if self._files else self._segments.state()

    def keys_since(self, then: Iterable[SegmentState]) -> frozenset[int] | None:
        """Keys of the samples of which something was kept or discarded since a ``state``.

        None where the checkpoints of then are not as they were.
        """
        return None if self._files else self._segments.keys_since(then)

    def texts(self) -> Iterator[tuple[str, str]]:
        """The sample id and JSON of each, in the order in which they were saved."""
        for sample_id in self._files:
            if self._segments.get(sample_id) is None and (text := self._text(sample_id)):
                yield sample_id, text.decode("utf-8", "replace")
        for sample_id in self._segments.ids():
            if text := self._text(sample_id):
                yield sample_id, text.decode("utf-8", "replace")

    def has(self, sample_id: str) -> bool:
        """Whether there is one, whether it still holds or not."""
        return self._text(sample_id) is not None

    def load(
        self, sample: Sample, earlier: Earlier, *, replies: bool = False
    ) -> Checkpoint[R] | None:
        """The sample's checkpoint if there is a whole one that still holds, else None.

        Args:
            sample: the sample.
            earlier: its earlier results.
            replies: with the kept replies.
        """
        text = self._text(sample.sample_id)
        if text is None:
            return None
        try:
            kept = self._kept.validate_json(text)
            basis = self.step.basis(sample, earlier)
            if kept.format not in _READABLE or kept.basis != basis:
                return None
            found = Checkpoint(
                basis,
                kept.image,
                (kept.width, kept.height),
                kept.provenance,
                kept.result,
                from_plain(_REPLIES, kept.replies) if replies else (),
                kept.transport,
            )
            if not _is_sound(self.step, found, earlier):
                raise ValueError
        except ValueError:
            self._unusable += 1
            return None
        return found if is_unchanged(sample.image, found.image) else None

    def save(self, sample: Sample, checkpoint: Checkpoint[R]) -> None:
        """Write a checkpoint, whole or not at all; raises OutputError."""
        values = {
            "sample_id": sample.sample_id,
            "format": _FORMAT,
            "basis": checkpoint.basis,
            "image": checkpoint.image,
            "width": checkpoint.size[0],
            "height": checkpoint.size[1],
            "provenance": checkpoint.provenance,
            "result": to_plain(self.step.result_type, checkpoint.result),
            "replies": [_kept(reply) for reply in checkpoint.replies],
            "transport": to_plain(_TRANSPORT, checkpoint.transport),
        }
        with self._writing():
            self._segments.put(to_json(values))

    def reply_texts(self, sample_id: str) -> list[str]:
        """What the model wrote about a sample; empty where it was not kept or is unreadable."""
        text = self._text(sample_id)
        if text is None or len(text) > _MOST_BYTES:
            return []
        try:
            replies = json.loads(text)["replies"]
            return [reply["text"] for reply in replies if isinstance(reply["text"], str)]
        except (ValueError, RecursionError, LookupError, TypeError):
            return []

    def discard(self, sample: Sample) -> None:
        """Forget a checkpoint that does not hold any more; raises OutputError."""
        with self._writing():
            self._segments.discard(sample.sample_id)
            if sample.sample_id in self._files:
                (self._folder / f"{sample.sample_id}.json").unlink(missing_ok=True)

    @cached_property
    def _files(self) -> frozenset[str]:
        """Samples with a file of their own, as all had once."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return frozenset()
        return frozenset(name[:-5] for name in names if name.endswith(".json"))

    def _text(self, sample_id: str) -> bytes | None:
        text = self._segments.get(sample_id)
        if text is None and sample_id in self._files:
            with contextlib.suppress(OSError):
                return (self._folder / f"{sample_id}.json").read_bytes()
        return text

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"cannot write to {self._folder}: {error.strerror or error}"
            raise OutputError(message) from None


def _kept(reply: Reply) -> dict[str, Any]:
    """What of a reply can be read again; a text without its end counts as cut."""
    cut = len(reply.text) > _MAX_REPLY
    finish = Finish.LENGTH if cut else reply.finish
    return {"text": reply.text[:_MAX_REPLY], "finish": str(finish)}


def _is_sound(step: AnyStep, kept: Checkpoint[Any], earlier: Earlier) -> bool:
    """Whether a checkpoint holds what a record may hold, made after the ``earlier`` results.

    Plain loops: a resumed run asks it of every finished step.
    """
    width, height = kept.size
    if not (width > 0 and height > 0 and width * height <= MAX_FILE_PIXELS):
        return False
    for fact in kept.provenance.values():
        if type(fact) not in _PLAIN and not (type(fact) is float and math.isfinite(fact)):
            return False
    if kept.transport and min(vars(kept.transport).values()) < 1:
        return False
    return step.is_sound(kept.result, kept.size, earlier)


def load_finished(
    sample: Sample, stores: Sequence[CheckpointStore[Any]], *, recall: bool = True
) -> Finished:
    """What is done of a sample.

    Args:
        sample: the sample.
        stores: the checkpoints of the steps of the run, in order.
        recall: look into them; else only a given record counts.

    Raises:
        SampleError: a given record cannot be used.
    """
    earlier = Earlier()
    for step in given_steps([store.step for store in stores]):
        earlier = earlier.plus(step, step.recover(sample))
    checkpoints: dict[AnyStep, Checkpoint[Any]] = {}
    for store in stores if recall else ():
        found = store.load(sample, earlier)
        if found is None:
            break
        checkpoints[store.step] = found
        earlier = earlier.plus(store.step, found.result)
    return Finished(checkpoints, earlier)
