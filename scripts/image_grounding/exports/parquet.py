# SPDX-License-Identifier: Apache-2.0
"""Parquet with nested columns, for ``datasets``, pandas, DuckDB, Spark."""

import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_grounding.environment import extra_needed
from image_grounding.errors import SpecError
from image_grounding.exports.base import (
    Example,
    Exporter,
    Setting,
    file_stem,
    register,
)
from image_grounding.files import clean_text
from image_grounding.results.reading import GroundedExpression

_ROW_GROUP = 5_000


@register
class Parquet(Exporter):
    """A row a record, a file a part."""

    name = "parquet"
    summary = "Parquet with nested columns (needs the extra parquet)"
    reader = (
        "datasets.load_dataset('parquet', data_files=...) and pandas read the files; bbox is "
        "x1, y1, x2, y2 in pixels, char_span counts code points of cleaned_caption."
    )

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        try:
            self._arrow = importlib.import_module("pyarrow")
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise SpecError(extra_needed("the parquet format", "parquet")) from None
        self._schema = _schema(self._arrow)
        self._writers = {
            part: stack.enter_context(
                parquet.ParquetWriter(folder / f"{file_stem(part)}.parquet", self._schema)
            )
            for part in setting.parts
        }
        self._rows: dict[str, list[dict[str, Any]]] = {part: [] for part in setting.parts}

    def add(self, example: Example) -> None:
        """Keep the record's row until there are enough for a row group."""
        rows = self._rows[example.part]
        rows.append(_row(example))
        if len(rows) == _ROW_GROUP:
            self._flush(example.part)

    def tables(self) -> dict[str, str]:
        """All files."""
        return {part: f"{file_stem(part)}.parquet" for part in self.setting.parts}

    def finish(self) -> None:
        """Write the rows that are left."""
        for part in self._writers:
            self._flush(part)

    def _flush(self, part: str) -> None:
        if rows := self._rows[part]:
            self._writers[part].write_table(self._arrow.Table.from_pylist(rows, self._schema))
            rows.clear()


def _schema(arrow: Any) -> Any:
    text, number = arrow.string(), arrow.int32()
    instance = arrow.struct({"bbox": arrow.list_(number), "score": arrow.float64()})
    expression = arrow.struct({
        "expression_id": text, "text": text, "char_span": arrow.list_(number),
        "noun_chunk": text, "instances": arrow.list_(instance),
    })  # fmt: skip
    return arrow.schema({
        "sample_id": text, "image_id": text, "image": text, "width": number, "height": number,
        "caption": text, "cleaned_caption": text, "grounded": arrow.bool_(),
        "expressions": arrow.list_(expression),
    })  # fmt: skip


def _row(example: Example) -> dict[str, Any]:
    record = example.record
    return {
        "sample_id": clean_text(record.sample_id),
        "image_id": clean_text(str(record.image_id)),
        "image": clean_text(example.image),
        "width": record.size[0],
        "height": record.size[1],
        "caption": clean_text(record.caption),
        "cleaned_caption": clean_text(record.cleaned_caption),
        "grounded": record.grounded,
        "expressions": [_expression(expression) for expression in record.expressions],
    }


def _expression(expression: GroundedExpression) -> dict[str, Any]:
    return {
        "expression_id": clean_text(expression.expression_id),
        "text": clean_text(expression.text),
        "char_span": expression.char_span,
        "noun_chunk": clean_text(expression.noun_chunk),
        "instances": [
            {"bbox": instance.bbox, "score": instance.score} for instance in expression.instances
        ],
    }
