# SPDX-License-Identifier: Apache-2.0
"""One small file for each finished step of each sample; what is in them is never asked again."""

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from image_grounding.boxes.frames import Size, Transport
from image_grounding.errors import OutputError
from image_grounding.files import to_json, write_atomic
from image_grounding.images.source import MAX_FILE_PIXELS, is_unchanged
from image_grounding.input.samples import Sample
from image_grounding.plain import from_plain, json_reader, to_plain
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

    Attributes:
        unusable: how many were met so far that hold no result; they count as not there.
    """

    def __init__(self, step: Step[R], step_folder: Path) -> None:
        self.step = step
        self._kept = json_reader(cast(Any, _Kept)[step.result_type])
        self.unusable = 0
        self._folder = step_folder / ".ckpt"
        self._start = f"{self._folder}{os.sep}"

    def create(self) -> None:
        """Make the folder; raises OutputError where that cannot be done."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self._folder}: {error.strerror}") from None

    def count(self) -> int:
        """How many there are, whether they still hold or not."""
        try:
            with os.scandir(self._folder) as entries:
                return sum(1 for entry in entries if entry.name.endswith(".json"))
        except OSError:
            return 0

    def load(
        self, sample: Sample, earlier: Earlier, *, replies: bool = False
    ) -> Checkpoint[R] | None:
        """The sample's checkpoint if there is a whole one that still holds, else None.

        Args:
            sample: the sample.
            earlier: its earlier results.
            replies: with the kept replies.
        """
        try:
            with open(self._path(sample), "rb") as file:
                kept = self._kept.validate_json(file.read())
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
        except OSError:
            return None
        except ValueError:
            self.unusable += 1
            return None
        return found if is_unchanged(sample.image, found.image) else None

    def save(self, sample: Sample, checkpoint: Checkpoint[R]) -> None:
        """Write a checkpoint, whole or not at all; raises OutputError."""
        values = {
            "format": _FORMAT,
            "sample_id": sample.sample_id,
            "basis": checkpoint.basis,
            "image": checkpoint.image,
            "width": checkpoint.size[0],
            "height": checkpoint.size[1],
            "provenance": checkpoint.provenance,
            "result": to_plain(self.step.result_type, checkpoint.result),
            "replies": [_kept(reply) for reply in checkpoint.replies],
            "transport": to_plain(_TRANSPORT, checkpoint.transport),
        }
        write_atomic(self._path(sample), to_json(values))

    def reply_texts(self, sample_id: str) -> list[str]:
        """What the model wrote about a sample; empty where it was not kept or is unreadable."""
        path = self._folder / f"{sample_id}.json"
        try:
            if path.stat().st_size > _MOST_BYTES:
                return []
            replies = json.loads(path.read_text(encoding="utf-8"))["replies"]
            return [reply["text"] for reply in replies if isinstance(reply["text"], str)]
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return []

    def discard(self, sample: Sample) -> None:
        """Forget a checkpoint that does not hold any more."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(sample))

    def _path(self, sample: Sample) -> str:
        return f"{self._start}{sample.sample_id}.json"


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
