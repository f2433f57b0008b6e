# SPDX-License-Identifier: Apache-2.0
"""Whether a model sees its images at all: it must name the colour of a plain square."""

import re
from collections.abc import Mapping

from image_grounding.asking import Asker
from image_grounding.boxes.frames import Transport
from image_grounding.errors import UnusableEndpointError
from image_grounding.measuring.probes import COLOURS, plain_square
from image_grounding.replies.text import without_thoughts
from image_grounding.steps.question import Finish, Question

_PROMPT = f"""\
One plain colour fills this image. Which one: {", ".join(COLOURS)}? Answer with that one word."""
# Two, so that a lucky guess is no eyesight.
_ASKED = ("blue", "red")
# An answer that was cut is asked for so often in all, each time with twice the tokens.
_ASKS = 3


async def names_colours(asker: Asker, transport: Transport) -> dict[str, str]:
    """What the model says to squares of a plain colour, by their true colour.

    Raises:
        EndpointError: the endpoint failed; RejectedRequestError where it takes no images.
        UnusableEndpointError: the token limit cuts every answer.
    """
    return {colour: await _name_of(colour, asker, transport) for colour in _ASKED}


async def _name_of(colour: str, asker: Asker, transport: Transport) -> str:
    question, square = Question(_PROMPT), plain_square(colour, transport)
    for _ in range(_ASKS):
        reply = await asker.ask(question, square)
        answer = without_thoughts(reply.text).strip()
        if answer and (reply.finish is not Finish.LENGTH or saw_all({colour: answer})):
            return answer[:80]
        question = question.with_room()
    raise UnusableEndpointError(
        f"the model spends its token limit before it answers (asked {_ASKS} times for one word)",
        remedy="raise vlm.openai.max_tokens or vlm.gemini.max_output_tokens; a thinking model "
        "needs far more, or thinking turned off",
    )


def saw_all(answers: Mapping[str, str]) -> bool:
    """Whether every answer of ``names_colours`` names the right colour and no other."""
    return all(
        {word for word in re.findall("[a-z]+", text.lower()) if word in COLOURS} == {colour}
        for colour, text in answers.items()
    )
