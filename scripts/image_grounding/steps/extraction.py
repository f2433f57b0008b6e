# SPDX-License-Identifier: Apache-2.0
"""Step 0, expression extraction: the cleaned caption and its referring expressions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import SampleError
from image_grounding.input.samples import Sample
from image_grounding.replies import ExtractionReply, read_extraction
from image_grounding.spans import as_span, find_spans
from image_grounding.steps.annotations import Expression, Extraction
from image_grounding.steps.profile import Profile
from image_grounding.steps.prompts import (
    captions_prompt,
    extraction_prompt,
    extraction_schema,
    single_pass_prompt,
    single_pass_schema,
)
from image_grounding.steps.question import Ask, Failure, PictureRef, Question, Reply
from image_grounding.steps.step import Cost, Earlier, Step, basis_of
from image_grounding.steps.tokens import (
    EXTRACTED_TOKENS,
    GROUNDED_TOKENS,
    expected_expressions,
    text_tokens,
)
from image_grounding.steps.unread import MAX_ASKS, unread

_LISTED_TOKENS = text_tokens('{"id": 0, "caption": ""}, ')


@dataclass(frozen=True)
class ExtractionState:
    """The caption that was asked about, and how often."""

    caption: str
    attempt: int = 1


class ExtractionStep(Step[Extraction]):
    """Cleans a caption and lists its referring expressions, each with its span."""

    number = "0"
    tag = "step0_expression_extraction"
    folder_name = "step_0_expression_extraction"
    result_type = Extraction
    state_type = ExtractionState

    def plan(
        self, sample: Sample, size: Size, earlier: Earlier, profile: Profile
    ) -> Ask[ExtractionState]:
        """One question about the caption, in a single pass about the boxes, too."""
        if not profile.single_pass:
            return ask_about(sample.caption, profile.small_picture(sample.image))
        question = Question(
            single_pass_prompt(sample.caption, profile.family),
            profile.picture(sample.image),
            single_pass_schema(profile.family.box_key),
            subject={"caption": sample.caption},
        )
        return Ask((question,), ExtractionState(sample.caption))

    def read(
        self, ask: Ask[ExtractionState], replies: Sequence[Reply]
    ) -> Extraction | Ask[ExtractionState] | Failure:
        """The extraction; once more the same question where the reply cannot be read."""
        (reply,) = replies
        found = read_extraction(reply.text)
        problem = unread(reply, found.status, open_ended=found.open_ended)
        if problem is None:
            return _extraction(found, ask.state.caption)
        attempt = ask.state.attempt
        if attempt >= MAX_ASKS:
            return problem.failure(reply, attempt)
        question = replace(problem.question_again(ask.questions[0]), attempt=attempt + 1)
        return Ask((question,), replace(ask.state, attempt=attempt + 1))

    def basis(self, sample: Sample, earlier: Earlier) -> str:
        """The caption."""
        return basis_of(sample.caption, None)

    def recover(self, sample: Sample) -> Extraction:
        """From a record of ours, of TAO or made by hand.

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
        spans = find_spans(cleaned, texts, [as_span(item.get("char_span")) for item in given])
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

    def identity(self, fields: Mapping[str, Any]) -> str:
        """Caption and expressions without their ids, which differ where a pair is repeated."""
        expressions = fields.get("expressions")
        listed = [
            [item.get(name) for name in ("text", "char_span", "noun_chunk")]
            if isinstance(item, dict)
            else item
            for item in (expressions if isinstance(expressions, list) else [expressions])
        ]
        return json.dumps([fields.get("cleaned_caption"), listed])

    def add_to_record(
        self, record: dict[str, Any], sample: Sample, id_prefix: str, earlier: Earlier
    ) -> None:
        """``cleaned_caption`` and ``expressions``, still without boxes."""
        extraction = earlier[self]
        given = sample.fields.get("expressions")
        given = given if isinstance(given, list) and sample.given else []
        record["cleaned_caption"] = extraction.cleaned_caption
        record["expressions"] = [
            _expression_fields(
                expression, given[index] if index < len(given) else {}, f"{id_prefix}-e{index}"
            )
            for index, expression in enumerate(extraction.expressions)
        ]

    def is_sound(self, result: Extraction, size: Size, earlier: Earlier) -> bool:
        """Whether each expression stands where its span says."""
        cleaned = result.cleaned_caption
        length = len(cleaned)
        for expression in result.expressions:
            text, span = expression.text, expression.char_span
            if not text:
                return False
            if span is not None:
                start, end = span
                if not 0 <= start < end <= length or cleaned[start:end] != text:
                    return False
        return True

    def cost(self, sample: Sample, size: Size, earlier: Earlier, profile: Profile) -> Cost:
        """The reply repeats the caption and lists its expressions."""
        written, count = text_tokens(sample.caption), expected_expressions(sample.caption)
        written += EXTRACTED_TOKENS * count
        if profile.single_pass:
            prompt = text_tokens(single_pass_prompt(sample.caption, profile.family))
            return Cost(prompt, written + GROUNDED_TOKENS * count, profile.transport)
        several = profile.captions > 1
        common = _empty_prompt_tokens(profile.overview is not None, several)
        prompt = common + text_tokens(sample.caption) + several * _LISTED_TOKENS
        return Cost(prompt, written, profile.overview, low_detail=True, common_tokens=common)


EXTRACTION = ExtractionStep()


@cache
def _empty_prompt_tokens(with_image: bool, several: bool) -> int:
    if several:
        return text_tokens(captions_prompt([], with_image=with_image))
    return text_tokens(extraction_prompt("", with_image=with_image))


def ask_about(caption: str, picture: PictureRef | None) -> Ask[ExtractionState]:
    """The question for the referring expressions of ``caption``."""
    question = Question(
        extraction_prompt(caption, with_image=picture is not None),
        picture,
        extraction_schema(),
        subject={"caption": caption},
    )
    return Ask((question,), ExtractionState(caption))


def _extraction(reply: ExtractionReply, caption: str) -> Extraction:
    cleaned = reply.cleaned_caption or caption
    texts = [raw.text for raw in reply.expressions]
    spans = find_spans(cleaned, texts, [raw.hint for raw in reply.expressions])
    unique: dict[Any, Expression] = {}
    for raw, span in zip(reply.expressions, spans, strict=True):
        text = cleaned[span[0] : span[1]] if span else raw.text
        # The same mention named twice is one expression.
        unique.setdefault(span or text, Expression(text, raw.noun_chunk, span))
    return Extraction(cleaned, tuple(unique.values()))


def _expression_fields(
    expression: Expression, given: Mapping[str, Any], own_id: str
) -> dict[str, Any]:
    given_id = given.get("expression_id")
    # Ids made by other tools are not unique over a run.
    kept = {} if given_id in (None, "", own_id) else {"source_expression_id": given_id}
    return {
        **given,
        **kept,
        "expression_id": own_id,
        "text": expression.text,
        "char_span": list(expression.char_span) if expression.char_span else None,
        "noun_chunk": expression.noun_chunk,
        "instances": [],
    }
