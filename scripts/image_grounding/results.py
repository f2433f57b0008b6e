# SPDX-License-Identifier: Apache-2.0
"""A finished run read back: typed records as a stream, failures, the summary, the images.

What inspecting, exporting and evaluating have in common. Reads our own results folders and
TAO's (``annotations.jsonl`` with ``bbox_score``), a step's folder, or a bare JSONL file.
"""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.annotations import Instance
from image_grounding.errors import InputError
from image_grounding.files import open_lines
from image_grounding.samples import locate_image
from image_grounding.spans import Span
from image_grounding.steps import STEPS, Step

SUMMARY_NAME = "run_summary.json"


@dataclass(frozen=True)
class GroundedExpression:
    """An expression of a record, with its boxes in upright original pixels."""

    expression_id: str
    text: str
    char_span: Span | None
    noun_chunk: str
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Record:
    """A line of ``annotations.jsonl``.

    Attributes:
        sample_id: unique for (image_path, caption); a repeated input line repeats it.
        image_id: as in the file.
        image_path: as in the file, not resolved; see ``Results.image_of``.
        size: (width, height) of the upright image in pixels.
        caption: the input's caption.
        cleaned_caption: what ``char_span``s count in.
        expressions: in the order of the file.
        grounded: whether step 1 has run, so that no instance means "not seen".
        fields: the line as it is.
    """

    sample_id: str
    image_id: str | int
    image_path: str
    size: tuple[int, int]
    caption: str
    cleaned_caption: str
    expressions: tuple[GroundedExpression, ...]
    grounded: bool
    fields: Mapping[str, Any]


class Results:
    """What a run left behind.

    Args:
        path: a results folder, a step's folder in one, or a JSONL file of records.
        step: the step whose records are wanted; None for the last one that is there.
        image_root: where relative image paths start; None for what the run itself used.

    Raises:
        InputError: there are no records at ``path``.
    """

    def __init__(self, path: Path, step: Step | None = None, image_root: str | None = None) -> None:
        self.path = path
        self.file = _records_file(path, step)
        folder = path if path.is_dir() else path.parent
        self.summary = read_summary(folder) or read_summary(folder.parent)
        self._image_root = image_root

    def records(self) -> Iterator[Record]:
        """The records in file order, as a stream; raises InputError at a broken line."""
        for number, fields in _objects(self.file):
            try:
                yield _record(fields)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problem = f"{type(error).__name__}: {error}"
                raise InputError(f"{self.file}, line {number}: not a record ({problem})") from None

    def failures(self) -> Iterator[tuple[Step, Mapping[str, Any]]]:
        """The entries of each step's ``failures.jsonl``; nothing where there is none."""
        for step in STEPS:
            path = step.folder(self.path) / "failures.jsonl"
            if path.is_file():
                for _, fields in _objects(path):
                    yield step, fields

    def image_of(self, record: Record) -> Path:
        """Where a record's image should be on this machine; it may be gone."""
        data = self.spec_section("data")
        there = Path(self.summary.get("working_folder", "."))
        root = data.get("image_root", "") if self._image_root is None else self._image_root
        if root and self._image_root is None:
            root = str(there / root)
        beside = there / data.get("input_jsonl", "") if data else self.file
        return locate_image(record.image_path, beside.parent, root, current=there)

    def image_key(self, record: Record) -> str:
        """What tells images apart: one path, however a record spells it.

        Relative to where image paths start, so that it is the same on every machine.
        """
        path = posixpath.normpath(record.image_path)
        if posixpath.isabs(path):
            for start in sorted(self._starts(), key=len, reverse=True):
                if path.startswith(f"{start}/"):
                    return path[len(start) + 1 :]
        return path

    def _starts(self) -> set[str]:
        """Folders that relative image paths may start from."""
        data = self.spec_section("data")
        there = self.summary.get("working_folder", "")
        root = self._image_root or data.get("image_root", "")
        starts = {posixpath.join(there, root)} if root else {there}
        starts |= {posixpath.join(there, posixpath.dirname(data.get("input_jsonl", "")))}
        return {posixpath.normpath(start) for start in starts if start not in ("", "/")}

    def spec_section(self, name: str) -> dict[str, Any]:
        """A section of the spec that the run had; empty where that is not known."""
        found: Any = self.summary
        for key in ("spec", "image_grounding", name):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def _records_file(path: Path, step: Step | None) -> Path:
    if path.is_file():
        return path
    folders = [step.folder(path)] if step else [path, *(s.folder(path) for s in reversed(STEPS))]
    for folder in folders:
        if (folder / "annotations.jsonl").is_file():
            return folder / "annotations.jsonl"
    if not path.exists():
        raise InputError(f"no such results: {path}")
    raise InputError(f"no annotations.jsonl in {' or '.join(str(folder) for folder in folders)}")


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of the latest run into a folder; empty where none can be read."""
    try:
        found = json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open_lines(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                fields = json.loads(line)
                if not isinstance(fields, dict):
                    raise InputError(f"{path}, line {number}: not a JSON object")
                yield number, fields
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON Lines ({error})") from None


def _record(fields: dict[str, Any]) -> Record:
    caption = fields["caption"]
    cleaned = fields.get("cleaned_caption") or caption
    return Record(
        sample_id=str(fields.get("sample_id") or fields["image_id"]),
        image_id=fields["image_id"],
        image_path=str(fields["image_path"]),
        size=(int(fields["width"]), int(fields["height"])),
        caption=caption,
        cleaned_caption=cleaned,
        expressions=tuple(_expression(item) for item in fields["expressions"]),
        grounded=any(STEPS[1].tag == tag for tag in fields.get("pipeline_steps", ())),
        fields=fields,
    )


def _expression(item: dict[str, Any]) -> GroundedExpression:
    span = item.get("char_span")
    return GroundedExpression(
        expression_id=str(item.get("expression_id", "")),
        text=item["text"],
        char_span=(int(span[0]), int(span[1])) if span else None,
        noun_chunk=item.get("noun_chunk") or item["text"],
        instances=tuple(_instance(one) for one in item.get("instances") or ()),
    )


def _instance(one: dict[str, Any]) -> Instance:
    x1, y1, x2, y2 = (int(side) for side in one["bbox"])
    score = one.get("score", one.get("bbox_score"))
    return Instance((x1, y1, x2, y2), None if score is None else float(score))
