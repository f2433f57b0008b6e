# SPDX-License-Identifier: Apache-2.0
"""What every endpoint is: one question in, one reply out, or one of our errors."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.prompts import ReplySchema


class Finish(StrEnum):
    """Why a reply ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Usage:
    """Tokens of a request; 0 where the endpoint does not say."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        prompt: the text.
        image: the image, or None for a text-only request.
        schema: what the reply should follow, or None for free text.
        token_factor: times the configured token limit; over 1 after a reply that was cut.
    """

    prompt: str
    image: EncodedImage | None = None
    schema: ReplySchema | None = None
    token_factor: int = 1

    def with_room(self) -> "Question":
        """The same question with twice the tokens for its reply."""
        return replace(self, token_factor=self.token_factor * 2)


@dataclass(frozen=True)
class Reply:
    """An answer: its text, why it ended, what it cost; ``latency`` in seconds."""

    text: str
    finish: Finish
    usage: Usage
    latency: float


class Endpoint(Protocol):
    """A model behind an address. One call is one HTTP request: no repeats in here.

    Attributes:
        negotiation: what it was found to refuse.
        parameters: the negotiable ones that it knows.
    """

    negotiation: Negotiation
    parameters: tuple[str, ...]

    def request(self, question: Question, terms: Terms) -> Request:
        """A question as it would be sent on these terms."""
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
