# SPDX-License-Identifier: Apache-2.0
"""Whether a model sees its images at all: it must name the colour of a plain square."""

from image_grounding.endpoints import Asker, Question
from image_grounding.frames import Transport
from image_grounding.measuring.probes import COLOURS, plain_square

_PROMPT = f"""\
One plain colour fills this image. Which one: {", ".join(COLOURS)}? Answer with that one word."""
# Two, so that a lucky guess is no eyesight.
_ASKED = ("blue", "red")


async def names_colours(asker: Asker, transport: Transport) -> dict[str, str]:
    """What the model says to squares of a plain colour, by their true colour.

    Raises:
        EndpointError: the endpoint failed; RejectedRequestError where it takes no images.
    """
    said = {}
    for colour in _ASKED:
        reply = await asker.ask(Question(_PROMPT, plain_square(colour, transport)))
        said[colour] = reply.text.strip()[:80]
    return said


def saw_all(said: dict[str, str]) -> bool:
    """Whether every answer of ``names_colours`` names the right colour and no other."""
    return all(
        colour in text.lower() and not any(c in text.lower() for c in COLOURS if c != colour)
        for colour, text in said.items()
    )
