# SPDX-License-Identifier: Apache-2.0
"""Step 1's own question and reader, put to an endpoint with pictures drawn in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from image_grounding.asking import Asker
from image_grounding.families.families import Family
from image_grounding.images.encoding import EncodedImage
from image_grounding.replies import GroundingReply
from image_grounding.steps.drive import Driven, drive
from image_grounding.steps.grounding import boxes_question, read_boxes
from image_grounding.steps.question import Ask, Failure, Question, Reply
from image_grounding.steps.unread import MAX_ASKS, Problem


@dataclass(frozen=True)
class DrawnPicture:
    """Carries questions with one picture that is in no file."""

    asker: Asker
    image: EncodedImage | None

    async def carry(self, question: Question) -> Reply:
        """The endpoint's reply; see ``Carrier.carry``."""
        return await self.asker.ask(question, self.image)


async def ask_for_boxes(
    asker: Asker, family: Family, texts: Sequence[str], image: EncodedImage
) -> Driven[GroundingReply]:
    """The model's own numbers for each of ``texts``, whatever convention they are in.

    Raises:
        SampleError: no reply could be read.
        EndpointError: the endpoint failed.
    """

    def read(ask: Ask[int], replies: Sequence[Reply]) -> GroundingReply | Ask[int] | Failure:
        (reply,), attempt = replies, ask.state
        found = read_boxes(reply, texts)
        if not isinstance(found, Problem):
            return found
        if attempt >= MAX_ASKS:
            return found.failure(reply, attempt)
        again = replace(found.question_again(ask.questions[0]), attempt=attempt + 1)
        return Ask((again,), attempt + 1)

    ask = Ask((boxes_question(texts, None, family),), 1)
    return await drive(ask, read, DrawnPicture(asker, image))
