# SPDX-License-Identifier: Apache-2.0
"""What every endpoint is: one question in, one reply out, or one of our errors."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from image_grounding.endpoints.negotiation import Taken
from image_grounding.images import EncodedImage
from image_grounding.prompts import ReplySchema


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
    """A model behind an address. One call is one HTTP request: no retries in here."""

    async def send(self, question: Question) -> Reply:
        """Ask once.

        Raises:
            EndpointError: any of its subclasses, with a text that holds no secret.
        """
        ...

    async def models(self) -> list[str]:
        """Names of the models that it serves.

        Raises:
            EndpointError: as ``send``; UnknownModelError where it has no such list.
        """
        ...

    def takes(self) -> list[Taken]:
        """Optional parameters, and whether they were refused so far."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
