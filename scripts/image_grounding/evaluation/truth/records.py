# SPDX-License-Identifier: Apache-2.0
"""Our own records, or TAO's, as truth: a corrected run, or a better model's."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.results.reading import GroundedExpression, Record, Results


def read_records(path: Path, left_out: Counter[str]) -> Iterator[Annotation]:
    """An annotation for each record; a record that is there twice is read once."""
    seen: set[tuple[str, str]] = set()  # not sample_id: TAO's records have none
    for record in Results(path).records():
        pair = (record.image_path, record.caption)
        if pair in seen:
            left_out["repeated_records"] += 1
            continue
        seen.add(pair)
        yield Annotation(
            image_path=record.image_path,
            image_ids=(str(record.image_id),),
            size=record.size,
            captions=(record.cleaned_caption, record.caption),
            phrases=tuple(_phrase(expression, record) for expression in record.expressions),
        )


def _phrase(expression: GroundedExpression, record: Record) -> Phrase:
    # Only where step 1 has run does no box mean that there is nothing.
    known = record.grounded or bool(expression.instances)
    boxes = tuple(instance.bbox for instance in expression.instances) if known else None
    return Phrase(expression.text, expression.char_span, boxes)
