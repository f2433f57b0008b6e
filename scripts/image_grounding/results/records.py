# SPDX-License-Identifier: Apache-2.0
"""Output records, and step-0 records read back as input of step 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import SampleError
from image_grounding.input.samples import Sample
from image_grounding.spans import as_span, find_spans
from image_grounding.steps.annotations import Expression, Extraction, Grounding
from image_grounding.steps.steps import EXTRACTION, GROUNDING

SOURCE = "image_grounding"


def make_record(
    sample: Sample, size: Size, extraction: Extraction, grounding: Grounding | None
) -> dict[str, Any]:
    """A line of ``annotations.jsonl``; without ``grounding`` the one of step 0.

    Ids depend on the sample alone. A pair that stands in the input again gets ids of its own.
    """
    given = sample.fields.get("expressions")
    given = given if isinstance(given, list) and sample.step_0_record else []
    prefix = sample.sample_id + (f".{sample.occurrence}" if sample.occurrence > 1 else "")
    tags = [EXTRACTION.tag] if grounding is None else [EXTRACTION.tag, GROUNDING.tag]
    return {
        **sample.fields,
        "image_id": sample.image_id,
        "sample_id": sample.sample_id,
        "width": size[0],
        "height": size[1],
        "cleaned_caption": extraction.cleaned_caption,
        "expressions": [
            _expression(
                expression,
                given[index] if index < len(given) else {},
                f"{prefix}-e{index}",
                [] if grounding is None else grounding.instances[index],
            )
            for index, expression in enumerate(extraction.expressions)
        ],
        "source": SOURCE,
        "pipeline_steps": tags,
    }


def _expression(
    expression: Expression, given: Mapping[str, Any], own_id: str, instances: Sequence[Any]
) -> dict[str, Any]:
    theirs = given.get("expression_id")
    kept = {} if theirs in (None, "", own_id) else {"source_expression_id": theirs}
    return {
        **given,
        # Those of others are not unique over a run.
        **kept,
        "expression_id": own_id,
        "text": expression.text,
        "char_span": list(expression.char_span) if expression.char_span else None,
        "noun_chunk": expression.noun_chunk,
        "instances": [
            {"bbox_id": f"{own_id}-b{index}", "bbox": list(one.bbox), "score": one.score}
            for index, one in enumerate(instances)
        ],
    }


def extraction_of_record(sample: Sample) -> Extraction:
    """Step 0's result from a record: ours, TAO's own or hand-made.

    Missing spans are computed, wrong ones mended, a missing ``noun_chunk`` is the text.

    Raises:
        SampleError: ``bad_line``, the record has no list of expressions with texts.
    """
    cleaned = sample.fields.get("cleaned_caption")
    cleaned = cleaned if isinstance(cleaned, str) and cleaned.strip() else sample.caption
    given = sample.fields.get("expressions")
    if not isinstance(given, list):
        raise SampleError("bad_line", "the record has no list of expressions")
    for index, item in enumerate(given):
        text = item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise SampleError("bad_line", f"expressions[{index}] has no text")
    texts = [item["text"] for item in given]
    hints = [as_span(item.get("char_span")) for item in given]
    spans = find_spans(cleaned, texts, hints)
    return Extraction(
        cleaned,
        tuple(
            Expression(
                cleaned[span[0] : span[1]] if span else text,
                chunk if isinstance(chunk := item.get("noun_chunk"), str) and chunk else text,
                span,
            )
            for item, text, span in zip(given, texts, spans, strict=True)
        ),
    )
