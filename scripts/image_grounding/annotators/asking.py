# SPDX-License-Identifier: Apache-2.0
"""A question until its answer can be read: the real prompts, readers and second asks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from image_grounding.endpoints import Asker, Finish, Question
from image_grounding.endpoints.errors import MAX_MESSAGE
from image_grounding.errors import SampleError
from image_grounding.families import Family
from image_grounding.images import EncodedImage
from image_grounding.prompts import grounding_prompt, grounding_schema
from image_grounding.replies import ExtractionReply, GroundingReply, ReplyStatus, read_grounding

# A reply that cannot be used is asked for once more.
_ASKS = 2

R = TypeVar("R", ExtractionReply, GroundingReply)


async def ask_until_read(
    asker: Asker,
    question: Question,
    read: Callable[[str], R],
    usable: Callable[[R], bool] = lambda reply: True,
) -> R:
    """A reply that could be read whole; asked for again, once, where it could not.

    Raises:
        SampleError: ``reply_truncated``, ``reply_unparseable`` or ``reply_unusable``.
        EndpointError: the endpoint failed.
    """
    for asked in range(1, _ASKS + 1):
        if asked > 1:
            asker.meter.asked_again += 1
        answer = await asker.ask(question)
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


async def ask_for_boxes(
    asker: Asker,
    family: Family,
    texts: Sequence[str],
    image: EncodedImage,
    usable: Callable[[GroundingReply], bool] = lambda reply: True,
) -> GroundingReply:
    """Step 1's question: the model's own numbers for each of ``texts``.

    Raises:
        SampleError, EndpointError: as ``ask_until_read``.
    """
    schema = grounding_schema(family.box_key)
    question = Question(grounding_prompt(texts, family), image, schema)

    def read(text: str) -> GroundingReply:
        return read_grounding(text, texts)

    return await ask_until_read(asker, question, read, usable)
