# SPDX-License-Identifier: Apache-2.0
"""One small file for each finished step of each sample; what is in them is never asked again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import OutputError
from image_grounding.files import to_json, write_atomic
from image_grounding.images.encoding import same_file
from image_grounding.steps.annotations import Expression, Extraction, Grounding, Instance

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A finished step of a sample.

    Attributes:
        basis: hash of what it was made from beside the image, see ``basis_of``.
        image: fingerprint of the image file.
        size: (width, height) of the upright original in pixels.
        provenance: what made it: model, prompt version, convention.
        result: the step's result in plain form.
    """

    basis: str
    image: Mapping[str, Any]
    size: Size
    provenance: Mapping[str, Any]
    result: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints of one step, in ``step_dir/.ckpt``."""

    def __init__(self, step_dir: Path) -> None:
        self._folder = step_dir / ".ckpt"

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

    def load(self, sample_id: str, basis: str, image: Path) -> Checkpoint | None:
        """The sample's checkpoint if there is a whole one that still holds, else None."""
        try:
            text = self._path(sample_id).read_text(encoding="utf-8")
            values = json.loads(text)
            if values["format"] != _FORMAT or values["basis"] != basis:
                return None
            found = Checkpoint(
                basis,
                values["image"],
                (values["width"], values["height"]),
                values["provenance"],
                values["result"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if same_file(image, dict(found.image)) else None

    def save(self, sample_id: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, whole or not at all; raises OutputError."""
        values = {
            "format": _FORMAT,
            "sample_id": sample_id,
            "basis": checkpoint.basis,
            "image": checkpoint.image,
            "width": checkpoint.size[0],
            "height": checkpoint.size[1],
            "provenance": checkpoint.provenance,
            "result": checkpoint.result,
        }
        write_atomic(self._path(sample_id), to_json(values))

    def discard(self, sample_id: str) -> None:
        """Forget a checkpoint that does not hold any more."""
        with contextlib.suppress(OSError):
            self._path(sample_id).unlink()

    def _path(self, sample_id: str) -> Path:
        return self._folder / f"{sample_id}.json"


def basis_of(caption: str, expressions: Sequence[Expression] | None = None) -> str:
    """Hash of the text that a step works on: a caption, or one and its expressions."""
    listed = None if expressions is None else [[one.text, one.char_span] for one in expressions]
    return hashlib.sha256(json.dumps([caption, listed]).encode()).hexdigest()[:32]


def extraction_to_plain(extraction: Extraction) -> dict[str, Any]:
    """Plain form of step 0's result."""
    return {
        "cleaned_caption": extraction.cleaned_caption,
        "expressions": [
            {"text": one.text, "noun_chunk": one.noun_chunk, "char_span": one.char_span}
            for one in extraction.expressions
        ],
    }


def extraction_from_plain(values: Mapping[str, Any]) -> Extraction:
    """Step 0's result from its plain form."""
    return Extraction(
        values["cleaned_caption"],
        tuple(
            Expression(one["text"], one["noun_chunk"], _span(one["char_span"]))
            for one in values["expressions"]
        ),
    )


def grounding_to_plain(grounding: Grounding) -> dict[str, Any]:
    """Plain form of step 1's result."""
    return {
        "instances": [
            [{"bbox": list(one.bbox), "score": one.score} for one in found]
            for found in grounding.instances
        ],
        "dropped": dict(grounding.dropped),
        "clipped": grounding.clipped,
    }


def grounding_from_plain(values: Mapping[str, Any]) -> Grounding:
    """Step 1's result from its plain form."""
    return Grounding(
        tuple(
            tuple(Instance(tuple(one["bbox"]), one["score"]) for one in found)
            for found in values["instances"]
        ),
        values["dropped"],
        values.get("clipped", 0),
    )


def _span(value: Any) -> tuple[int, int] | None:
    return (value[0], value[1]) if value else None
