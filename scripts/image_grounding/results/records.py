# SPDX-License-Identifier: Apache-2.0
"""Output records: a line's own fields, and what each step adds."""

from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.input.samples import Sample
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep, needed_by

SOURCE = "image_grounding"


def make_record(sample: Sample, size: Size, step: AnyStep, earlier: Earlier) -> dict[str, Any]:
    """A line of the ``annotations.jsonl`` of ``step``.

    Ids depend on the sample alone. A pair that stands in the input again gets ids of its own.

    Args:
        sample: the input line.
        size: (width, height) of its upright image in pixels.
        step: the last step whose result the record holds.
        earlier: the results of ``step`` and of those that it needs.
    """
    prefix = sample.sample_id + (f".{sample.occurrence}" if sample.occurrence > 1 else "")
    steps = (*needed_by(step), step)
    record = {
        **sample.fields,
        "image_id": sample.image_id,
        "sample_id": sample.sample_id,
        "width": size[0],
        "height": size[1],
    }
    for done in steps:
        done.add_to_record(record, sample, prefix, earlier)
    return record | {"source": SOURCE, "pipeline_steps": [done.tag for done in steps]}
