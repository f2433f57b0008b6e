# SPDX-License-Identifier: Apache-2.0
"""What a format is, and the list of them.

To add one: a module here with a subclass of ``Exporter`` under ``@register``, and its name in
the import of ``__init__.py``.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from image_grounding.files import clean_json
from image_grounding.results.reading import GroundedExpression, Record
from image_grounding.spans import Span

# A part's name; a whole that is not split is one part without a name.
WHOLE = ""


@dataclass(frozen=True)
class Setting:
    """The options of formats.

    Attributes:
        parts: the names of the parts, ``("train", "val")``, or ``(WHOLE,)``.
        categories: ``phrase`` or ``noun``, for COCO.
        category_ids: the first of them.
        convention: a name of ``vlm_sft.STYLES``.
        model: the model that made the annotations, where the run names it.
        image_prefix: put before every image path; None for what is usual in the format.
    """

    parts: tuple[str, ...] = (WHOLE,)
    categories: str = "phrase"
    category_ids: int = 0
    convention: str = "qwen3"
    model: str = ""
    image_prefix: str | None = None


@dataclass(frozen=True)
class Example:
    """A record to be written, with the expressions that the format holds.

    Attributes:
        record: after the selection.
        part: the part that it belongs to.
        image: path of the image as the export names it.
        image_key: what tells images apart, see ``Results.image_key``.
    """

    record: Record
    part: str
    image: str
    image_key: str


class Exporter(ABC):
    """Writes examples in one format.

    Attributes:
        name: on the command line.
        summary: a line for ``--help`` and the dataset card.
        reader: who reads it, or what a reader has to know; for the dataset card.
        default_prefix: what stands before image paths where nothing else is wanted.
        single_box: whether the format is of expressions for which the model gave one box.
        absolute_paths: whether image paths are absolute where nothing else is wanted.
        options: the attributes of ``Setting`` that matter to the format; for the dataset card.
        table_field: the key of the rows in a table that is one JSON object, see ``tables``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reader: ClassVar[str] = ""
    default_prefix: ClassVar[str] = ""
    single_box: ClassVar[bool] = False
    absolute_paths: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    table_field: ClassVar[str] = ""

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        self.folder = folder
        self.setting = setting
        self._stack = stack

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """For each expression of ``record`` why the format cannot hold it; None where it can.

        A record none of whose expressions can be held is left out.
        """
        return [None] * len(record.expressions)

    def image(self, path: str) -> str:
        """How the format names an image of this path."""
        given = self.setting.image_prefix
        return (self.default_prefix if given is None else given) + path

    @abstractmethod
    def add(self, example: Example) -> None:
        """Write one example."""

    def finish(self) -> None:  # noqa: B027
        """Write what can only be written at the end."""

    def warnings(self) -> list[str]:
        """Sentences about what was written that make it doubtful for the format's readers."""
        return []

    def tables(self) -> dict[str, str]:
        """Names of the files that ``datasets.load_dataset`` reads as rows, by part."""
        return {}

    def open(self, name: str) -> IO[str]:
        """A text file of the export, open until the export ends."""
        path = self.folder / name
        return self._stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))


class JsonLinesExporter(Exporter):
    """A format of one JSON object a record, a file a part."""

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        self._files = {part: self.open(f"{file_stem(part)}.jsonl") for part in setting.parts}

    @abstractmethod
    def row(self, example: Example) -> dict[str, Any]:
        """The object of one record."""

    def add(self, example: Example) -> None:
        """Write the record's line."""
        self._files[example.part].write(clean_json(self.row(example)) + "\n")

    def tables(self) -> dict[str, str]:
        """All files."""
        return {part: f"{file_stem(part)}.jsonl" for part in self.setting.parts}


FORMATS: dict[str, type[Exporter]] = {}


def register(exporter: type[Exporter]) -> type[Exporter]:
    """Add a format to the list."""
    FORMATS[exporter.name] = exporter
    return exporter


def file_stem(part: str) -> str:
    """The name of a part's file, without its ending."""
    return part or "annotations"


def box_exclusions(record: Record) -> list[str | None]:
    """The exclusions of a format that only holds boxes."""
    return [
        None if expression.instances else "expressions_without_box"
        for expression in record.expressions
    ]


def span_of(expression: GroundedExpression, record: Record) -> Span | None:
    """Where the expression stands in the cleaned caption; None for a span that is none."""
    if expression.char_span is None:
        return None
    start, end = expression.char_span
    inside = 0 <= start < end <= len(record.cleaned_caption)
    return (start, end) if inside and record.cleaned_caption[start:end].strip() else None


def stable_hash(*values: str | int) -> int:
    """64 bits that depend on the values alone."""
    # JSON escapes what UTF-8 cannot hold.
    return int.from_bytes(hashlib.sha256(json.dumps(values).encode()).digest()[:8], "big")


class CategoryList:
    """COCO categories: one "object" for all phrases, or one a noun."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.numbers: dict[str, int] = {}

    def number(self, expression: GroundedExpression) -> int:
        """The category of an expression."""
        noun = " ".join(expression.noun_chunk.lower().split())
        name = noun if self._setting.categories == "noun" else "object"
        return self.numbers.setdefault(name, len(self.numbers) + self._setting.category_ids)
