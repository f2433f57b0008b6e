# SPDX-License-Identifier: Apache-2.0
"""What every endpoint is: one question in, one reply out, or one of our errors."""

from typing import Protocol

from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.question import Question, Reply


class Endpoint(Protocol):
    """A model behind an address. One call is one HTTP request: no repeats in here.

    Attributes:
        negotiation: what it was found to refuse.
        parameters: the negotiable ones that it knows.
    """

    negotiation: Negotiation
    parameters: tuple[str, ...]

    def request(self, question: Question, image: EncodedImage | None, terms: Terms) -> Request:
        """A question, with its picture, as it would be sent on these terms."""
        ...

    async def send(self, request: Request) -> Reply:
        """Send what ``request`` made, once.

        Raises:
            EndpointError: any of its subclasses, with a text that holds no secret.
        """
        ...

    async def models(self) -> list[str]:
        """Names of the models that it serves; may be none.

        Raises:
            EndpointError: as ``send``; where it has no such list, mostly UnknownModelError.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
