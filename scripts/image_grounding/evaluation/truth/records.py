# SPDX-License-Identifier: Apache-2.0
"""Our own records, corrected or of another model, as truth."""

from collections.abc import Iterator
from pathlib import Path

from image_grounding.evaluation.truth.base import ImageKey, TruthExample, TruthPhrase
from image_grounding.results import Results


def read_records(path: Path) -> Iterator[TruthExample]:
    """One example a record; its caption is the cleaned one, which the spans count in."""
    for record in Results(path).records():
        yield TruthExample(
            ImageKey(str(record.image_id), record.image_path),
            record.cleaned_caption,
            tuple(
                TruthPhrase(one.text, one.char_span, tuple(box.bbox for box in one.instances))
                for one in record.expressions
            ),
        )
