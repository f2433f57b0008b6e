# SPDX-License-Identifier: Apache-2.0
"""The teacher that asks a vision-language model behind an endpoint."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from image_grounding.annotations import Expression, Extraction, Grounding, Instance
from image_grounding.boxes import PixelBox, to_original
from image_grounding.endpoints import Asker, Finish, Question
from image_grounding.endpoints.errors import MAX_MESSAGE
from image_grounding.errors import RejectedRequestError, SampleError
from image_grounding.families import Family, family_of
from image_grounding.frames import Frame, Transport
from image_grounding.images import EncodedImage
from image_grounding.prompts import (
    VERSION,
    extraction_prompt,
    extraction_schema,
    grounding_prompt,
    grounding_schema,
)
from image_grounding.replies import (
    ExtractionReply,
    GroundingReply,
    ReplyStatus,
    read_extraction,
    read_grounding,
)
from image_grounding.spans import find_spans
from image_grounding.spec import Vlm

# A reply that cannot be used is asked for once more.
_ASKS = 2
_PATCH = 28

R = TypeVar("R", ExtractionReply, GroundingReply)


class VlmTeacher:
    """Extraction and grounding over an endpoint."""

    def __init__(self, asker: Asker, vlm: Vlm) -> None:
        self.asker = asker
        self._vlm = vlm
        self.family = _asked_family(vlm)
        self.convention = self.family.convention
        self._show_image = vlm.image.step_0 is True

    @property
    def transport(self) -> Transport:
        """What the family makes use of, or what the spec says."""
        transport = self.family.transport
        if self.convention == "pixel_resized" and transport.multiple == 1:
            transport = replace(transport, multiple=_PATCH, min_pixels=4 * _PATCH**2)
        limit = self._vlm.image.max_pixels
        return replace(transport, max_pixels=limit) if limit else transport

    async def prepare(self) -> None:
        """Nothing to find out: the convention is the spec's or the family's."""

    async def extract(self, caption: str, image: EncodedImage) -> Extraction:
        """Step 0; see ``Teacher.extract``."""
        shown = image if self._show_image else None
        question = Question(extraction_prompt(caption), shown, extraction_schema())
        try:
            reply = await self._answer(question, read_extraction)
        except RejectedRequestError as error:
            # Some servers take no request without an image; they say so once.
            if shown or self._vlm.image.step_0 is False or "image" not in str(error).lower():
                raise
            self._show_image = True
            return await self.extract(caption, image)
        return _extraction(reply, caption)

    async def ground(self, expressions: Sequence[Expression], image: EncodedImage) -> Grounding:
        """Step 1; see ``Teacher.ground``. Asks nothing where there is no expression."""
        if not expressions:
            return Grounding(())
        texts = [expression.text for expression in expressions]
        question = Question(
            grounding_prompt(texts, self.family), image, grounding_schema(self.family.box_key)
        )

        def read(text: str) -> GroundingReply:
            return read_grounding(text, texts)

        def usable(reply: GroundingReply) -> bool:
            return any(_grounding(reply, len(texts), self.convention, image.frame).instances) or (
                not reply.instances and not reply.dropped
            )

        reply = await self._answer(question, read, usable)
        return _grounding(reply, len(texts), self.convention, image.frame)

    async def _answer(
        self,
        question: Question,
        read: Callable[[str], R],
        usable: Callable[[R], bool] = lambda reply: True,
    ) -> R:
        """A reply that could be read whole; asked for again, once, where it could not.

        Raises:
            SampleError: ``reply_truncated``, ``reply_unparseable`` or ``reply_unusable``.
        """
        for asked in range(1, _ASKS + 1):
            if asked > 1:
                self.asker.meter.asked_again += 1
            answer = await self.asker.ask(question)
            reply = read(answer.text)
            cut = answer.finish is Finish.LENGTH
            unread = reply.status is ReplyStatus.UNPARSEABLE
            if reply.status is ReplyStatus.TRUNCATED or (unread and cut):
                reason, what = "reply_truncated", "was cut before its end"
                question = question.with_room()
            elif unread:
                reason, what = "reply_unparseable", "holds no JSON of the wanted kind"
            elif not usable(reply):
                reason, what = "reply_unusable", "has boxes, but none that can be used"
            else:
                return reply
        message = f"the model's reply {what} (asked {_ASKS} times)"
        raise SampleError(reason, message, answer.text[:MAX_MESSAGE], _ASKS)

    def provenance(self) -> dict[str, Any]:
        """Backend, model, prompt version and box convention."""
        return {
            "backend": self._vlm.backend,
            "model": self._vlm.model,
            "prompt_version": VERSION,
            "convention": self.convention,
        }

    async def close(self) -> None:
        """Let the endpoint's connections go."""
        await self.asker.close()


def _asked_family(vlm: Vlm) -> Family:
    family = family_of(vlm.model)
    explicit = vlm.coordinates != "auto"
    return replace(family, convention=vlm.coordinates) if explicit else family


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


def _grounding(reply: GroundingReply, count: int, convention: str, frame: Frame) -> Grounding:
    dropped = Counter(reply.dropped)
    found: list[dict[PixelBox, float | None]] = [{} for _ in range(count)]
    for raw in reply.instances:
        box = to_original(raw.numbers, convention, frame, dropped)
        if box is None:
            continue
        boxes = found[raw.expression]
        known = [score for score in (boxes.get(box), raw.score) if score is not None]
        boxes[box] = max(known, default=None)
    return Grounding(
        tuple(tuple(Instance(box, score) for box, score in boxes.items()) for boxes in found),
        dict(dropped),
    )
