# SPDX-License-Identifier: Apache-2.0
"""A question until its answer can be read: the real prompts, readers and second asks."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from image_grounding.asking import Asker, Finish, Question
from image_grounding.asking.endpoints.errors import MAX_MESSAGE
from image_grounding.errors import SampleError
from image_grounding.families.families import Family
from image_grounding.images.encoding import EncodedImage
from image_grounding.replies import ExtractionReply, GroundingReply, ReplyStatus, read_grounding
from image_grounding.steps.prompts import grounding_prompt, grounding_schema

# A reply that cannot be used is asked for once more.
_ASKS = 2

R = TypeVar("R", ExtractionReply, GroundingReply)


async def ask_until_read(
    asker: Asker,
    question: Question,
    read: Callable[[str], R],
    spoiled: Callable[[R], Mapping[str, int]] = lambda reply: {},
) -> R:
    """A reply that could be read whole; asked for again, once, where it could not.

    Args:
        asker: who asks.
        question: what.
        read: the reader of its reply.
        spoiled: what in a reply cannot be used, by reason, though something is said by it.

    Raises:
        SampleError: ``reply_truncated``, ``reply_unparseable`` or ``reply_unusable``.
        EndpointError: the endpoint failed.
    """
    dropped: Mapping[str, int] = {}
    for asked in range(1, _ASKS + 1):
        if asked > 1:
            asker.meter.asked_again += 1
        answer = await asker.ask(question)
        reply = read(answer.text)
        cut = answer.finish is Finish.LENGTH
        unread = reply.status in (ReplyStatus.UNPARSEABLE, ReplyStatus.REFUSED)
        if reply.status is ReplyStatus.TRUNCATED or (cut and (unread or reply.open_ended)):
            reason, what = "reply_truncated", "was cut before its end"
            question = question.with_room()
        elif unread:
            reason, what = "reply_unparseable", "holds no JSON of the wanted kind"
        elif dropped := spoiled(reply):
            reasons = ", ".join(f"{count} x {name}" for name, count in dropped.items())
            reason, what = "reply_unusable", f"has boxes that cannot be used ({reasons})"
        else:
            return reply
    message = f"the model's reply {what} (asked {_ASKS} times)"
    raise SampleError(reason, message, answer.text[:MAX_MESSAGE], _ASKS, dropped)


async def ask_for_boxes(
    asker: Asker,
    family: Family,
    texts: Sequence[str],
    image: EncodedImage,
    spoiled: Callable[[GroundingReply], Mapping[str, int]] = lambda reply: {},
) -> GroundingReply:
    """Step 1's question: the model's own numbers for each of ``texts``.

    Raises:
        SampleError, EndpointError: as ``ask_until_read``.
    """
    schema = grounding_schema(family.box_key)
    question = Question(grounding_prompt(texts, family), image, schema)

    def read(text: str) -> GroundingReply:
        return read_grounding(text, texts)

    return await ask_until_read(asker, question, read, spoiled)
