# SPDX-License-Identifier: Apache-2.0
"""A finished run read back: typed records as a stream, failures, the summary, the images.

What inspecting, exporting and evaluating have in common. Reads our own results folders and
TAO's (``annotations.jsonl`` with ``bbox_score``), a step's folder, or a bare JSONL file.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from image_grounding.boxes.frames import CONVENTIONS
from image_grounding.boxes.geometry import MIN_IOU, PixelBox, round_out
from image_grounding.errors import InputError
from image_grounding.files import json_lines
from image_grounding.input.samples import locate_image
from image_grounding.results.folder import ResultsFolder
from image_grounding.spans import Span, as_span, find_spans
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.steps.annotations import Instance
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.table import AnyStep, all_steps
from image_grounding.storage.address import is_address, may_read, problem_with, root_of

# No picture has so many pixels on a side.
_MOST = 10**9
# In the place of what is given as a span and is none; no text stands there.
_NO_SPAN = (0, 0)


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


@dataclass(frozen=True)
class Unfinished:
    """The part of the input that no run into a results folder has attempted.

    Attributes:
        not_attempted: lines without a record and without a failure.
        lines: lines of the input, or samples of the pilot.
        status: how the last run ended, as in ``run_summary.json``.
    """

    not_attempted: int
    lines: int
    status: str

    def __str__(self) -> str:
        """In words, for a report."""
        return f"{self.not_attempted} of {self.lines} not attempted"


class Results:
    """What a run left behind.

    Args:
        path: a results folder, a step's folder in one, or a JSONL file of records.
        step: the step whose records are wanted; None for the last one that is there.
        image_root: where relative image paths start; None for what the run itself used.

    Raises:
        InputError: there are no records at ``path``.
    """

    def __init__(
        self, path: Path, step: AnyStep | None = None, image_root: str | None = None
    ) -> None:
        self.path = path
        self.file = _records_file(path, step)
        folder = path if path.is_dir() else path.parent
        self.summary = ResultsFolder(folder).read_summary()
        self.summary = self.summary or ResultsFolder(folder.parent).read_summary()
        self._image_root = image_root
        # Of the records read so far: spans that are not where their text stands.
        self.wrong_spans = 0

    def records(self) -> Iterator[Record]:
        """The records in file order, as a stream; raises InputError at a broken line."""
        self.wrong_spans = 0
        for number, fields in json_lines(self.file):
            try:
                record = _record(fields)
            except (ValueError, OverflowError) as error:
                raise InputError(f"{self.file}, line {number}: not a record ({error})") from None
            self.wrong_spans += _wrong_spans(record)
            yield record

    def failures(self) -> Iterator[tuple[AnyStep, Mapping[str, Any]]]:
        """The entries of each step's ``failures.jsonl``; nothing where there is none."""
        for step in all_steps():
            path = ResultsFolder(self.path).failures(step)
            if path.is_file():
                for _, fields in json_lines(path):
                    yield step, fields

    def unfinished(self) -> Unfinished | None:
        """What the last run did not come to; None where that is nothing or unknown."""
        counts = ("lines", "not_attempted", "annotated", "failed", "failed_earlier")
        lines, missing, *attempted = (count_in(self.summary, "counts", name) for name in counts)
        if not self.summary.get("selection"):  # earlier runs may have come further
            missing = min(missing, lines - sum(attempted))
        if missing <= 0:
            return None
        return Unfinished(missing, lines, str(self.summary.get("status", "unknown")))

    @property
    def teacher(self) -> dict[str, Any]:
        """What the summary says of the model; empty where nothing is known."""
        found = self.summary.get("teacher")
        return found if isinstance(found, dict) else {}

    def caveats(self) -> list[str]:
        """Sentences about who made the annotations that make them doubtful."""
        found = []
        if self.wrong_spans:
            found.append(
                f"{self.wrong_spans} spans are not where their text stands; they were looked for "
                "anew: the records are not as a run wrote them"
            )
        return [*found, *self._of_the_teacher()]

    def _of_the_teacher(self) -> list[str]:
        backend, convention = (self.teacher.get(name) for name in ("backend", "convention"))
        if capabilities_of(str(backend)).is_demonstration:
            return [
                "the annotations are of the embedded annotator, which knows 80 nouns: a "
                "demonstration, and no data to train on"
            ]
        if convention and self.teacher.get("convention_iou") is None:
            named = convention if convention in list(CONVENTIONS) else "the spec says"
            return [
                f"that boxes come as {named} was not measured: if it is wrong, so is every box. "
                "Measure it with check_endpoint.py, or look with inspect.py"
            ]
        found = []
        iou = self.teacher.get("convention_iou")
        if isinstance(iou, int | float) and iou < MIN_IOU:
            found.append(
                f"boxes were read as {convention}, which a probe contradicts (mean IoU {iou:.2f}): "
                "if it is wrong, so is every box. check_endpoint.py measures it"
            )
        if mixed := count_in(self.summary, "checkpoints_of_another_teacher", "convention"):
            found.append(
                f"the boxes of {mixed} samples were read in another convention than the others: "
                "run again with workflow.reread=true"
            )
        return found

    def image_of(self, record: Record) -> Path | str:
        """Where a record's image should be, a path or an address; it may be gone.

        An address that the run itself would not have read is no better than a file that is gone.
        """
        data = self.spec_section("data")
        there = Path(_text_in(self.summary, "working_folder") or ".")
        root = _text_in(data, "image_root") if self._image_root is None else self._image_root
        root = root_of(root, _text_in(data, "input_jsonl"))
        if root and self._image_root is None and not is_address(root):
            root = str(there / root)
        beside = there / _text_in(data, "input_jsonl") if data else self.file
        found = locate_image(record.image_path, beside.parent, root, current=there)
        readable = is_address(found) and not problem_with(found)
        anywhere = data.get("allow_urls") is True
        return found if readable and may_read(found, root, anywhere=anywhere) else Path(found)

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
        there = _text_in(self.summary, "working_folder")
        root = self._image_root or _text_in(data, "image_root")
        starts = {posixpath.join(there, root)} if root else {there}
        starts |= {posixpath.join(there, posixpath.dirname(_text_in(data, "input_jsonl")))}
        return {posixpath.normpath(start) for start in starts if start not in ("", "/")}

    def spec_section(self, name: str) -> dict[str, Any]:
        """A section of the spec that the run had; empty where that is not known."""
        found: Any = self.summary
        for key in ("spec", "image_grounding", name):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def _records_file(path: Path, step: AnyStep | None) -> Path:
    if os.path.isfile(path):  # unlike Path.is_file it takes a name that is too long
        return path
    folder = ResultsFolder(path)
    candidates = [step] if step else [None, *reversed(all_steps())]
    files = [folder.records(candidate) for candidate in candidates]
    for file in files:
        if os.path.isfile(file):
            return file
    if not os.path.exists(path):
        raise InputError(f"no such results: {path}")
    for candidate in candidates:  # a run that was killed leaves its checkpoints
        if candidate and (kept := folder.checkpoints(candidate).count()):
            if step is None and candidate is EXTRACTION:
                what = f"{kept} samples are past step 0"
                raise InputError(f"{what}; the same run_pipeline.py command goes on there")
            raise InputError(
                f"{kept} finished samples are kept; the same run_pipeline.py command writes them"
            )
    searched = " or ".join(str(file.parent) for file in files)
    raise InputError(f"no annotations.jsonl in {searched}")


def count_in(summary: Mapping[str, Any], *path: str) -> int:
    """A count in a summary; 0 where it is missing."""
    found: Any = summary
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) else 0


def _text_in(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) and "\x00" not in value else ""


def _record(fields: dict[str, Any]) -> Record:
    """A record; raises ValueError, which says what of it is wrong."""
    caption = _text(fields, "caption")
    cleaned = _text(fields, "cleaned_caption", caption)
    image_path = _text(fields, "image_path")
    image_id = fields.get("image_id", PurePosixPath(image_path).stem)
    if type(image_id) not in (str, int):
        raise ValueError("image_id must be a text or a number")
    expressions = tuple(_expression(item) for item in _objects(fields, "expressions"))
    tags = fields.get("pipeline_steps")
    return Record(
        sample_id=_text(fields, "sample_id", str(image_id)),
        image_id=image_id,
        image_path=image_path,
        size=(_side(fields, "width"), _side(fields, "height")),
        caption=caption,
        cleaned_caption=cleaned,
        expressions=_with_true_spans(expressions, cleaned),
        grounded=isinstance(tags, list) and GROUNDING.tag in tags,
        fields=fields,
    )


def _expression(item: dict[str, Any]) -> GroundedExpression:
    text = _text(item, "text")
    span = item.get("char_span")
    return GroundedExpression(
        expression_id=str(item.get("expression_id", "")),
        text=text,
        char_span=None if span is None else as_span(span) or _NO_SPAN,
        noun_chunk=_text(item, "noun_chunk", text),
        instances=tuple(map(_instance, _objects(item, "instances", missing=[]))),
    )


def _instance(item: dict[str, Any]) -> Instance:
    """A box; TAO's may be of fractions, and those of ``bbox_score``."""
    box: PixelBox
    sides = item.get("bbox")
    if not (isinstance(sides, list) and len(sides) == 4 and all(map(_is_number, sides))):
        raise ValueError(f"bbox must be four numbers, not {sides!r:.80}")
    x1, y1, x2, y2 = sides
    box = (x1, y1, x2, y2)
    if any(isinstance(side, float) for side in sides):
        box = round_out(box)
    score = item.get("score", item.get("bbox_score"))
    if not (score is None or (_is_number(score) and 0 <= score <= 1)):
        raise ValueError(f"score must be a number from 0 to 1, or null, not {score!r:.80}")
    return Instance(box, None if score is None else float(score))


def _with_true_spans(
    expressions: tuple[GroundedExpression, ...], cleaned: str
) -> tuple[GroundedExpression, ...]:
    """Our own spans hold their text; spans from other tools are mended, or are none."""
    if all(item.char_span is None or _holds(cleaned, item) for item in expressions):
        return expressions
    found = find_spans(
        cleaned,
        [item.text for item in expressions],
        [None if item.char_span == _NO_SPAN else item.char_span for item in expressions],
    )
    return tuple(
        item if _holds(cleaned, item) else replace(item, char_span=span)
        for item, span in zip(expressions, found, strict=True)
    )


def _wrong_spans(record: Record) -> int:
    """How many spans of a record's line had to be looked for anew."""
    given = (item.get("char_span") for item in record.fields["expressions"])
    return sum(
        span is not None and span != list(expression.char_span or ())
        for span, expression in zip(given, record.expressions, strict=True)
    )


def _holds(cleaned: str, expression: GroundedExpression) -> bool:
    span = expression.char_span
    if span is None or span[1] > len(cleaned):
        return False
    return cleaned[span[0] : span[1]] == expression.text


def _text(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text; ``default`` where it is missing, null or empty."""
    value = fields.get(name)
    if isinstance(value, str) and (value or default is None):
        return value
    if default is not None and value in (None, ""):
        return default
    raise ValueError(f"{name} must be a text, not {value!r:.80}")


def _side(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if not _is_number(value) or value < 1:
        raise ValueError(f"{name} must be a number of pixels, not {value!r:.80}")
    return int(value)


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number that can be meant of a picture; ``true`` is none."""
    return type(value) in (int, float) and abs(value) <= _MOST


def _objects(
    fields: Mapping[str, Any], name: str, missing: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    value = missing if fields.get(name) is None else fields[name]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{name} must be a list of objects, not {value!r:.80}")
    return value
