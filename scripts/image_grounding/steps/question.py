# SPDX-License-Identifier: Apache-2.0
"""What is put to a model and what comes back: plain values, each with one JSON form.

Nothing here knows of files, clocks, SDKs or event loops, so that a question can wait in a file
and be carried by another process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from image_grounding.boxes.frames import Transport

State = TypeVar("State")


@dataclass(frozen=True)
class ReplySchema:
    """A JSON Schema that a reply is to follow, and its name for the provider."""

    name: str
    schema: Mapping[str, Any]

    @cached_property
    def text(self) -> bytes:
        """Name and schema as members of a JSON object, as they stand in every request."""
        return f'"name":{json.dumps(self.name)},"schema":{json.dumps(self.schema)}'.encode()


@dataclass(frozen=True)
class PictureRef:
    """Which picture goes with a question, and how it travels.

    Attributes:
        source: where the picture is, as in ``Sample.image``.
        transport: the size that it is sent at.
        detail: ``low`` where the question needs no fine detail.
    """

    source: str
    transport: Transport
    detail: Literal["high", "low"] = "high"


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        prompt: the text.
        picture: the picture, or None for a request of text alone.
        schema: what the reply should follow, or None for free text.
        token_factor: times the configured token limit; over 1 after a reply that was cut.
        attempt: 1, or more where an earlier reply left something open.
        subject: what the prompt asks about, for carriers that read no prose.
    """

    prompt: str
    picture: PictureRef | None = None
    schema: ReplySchema | None = None
    token_factor: int = 1
    attempt: int = 1
    subject: Mapping[str, Any] = field(default_factory=dict)

    def with_room(self) -> "Question":
        """The same question with twice the tokens for its reply."""
        return replace(self, token_factor=self.token_factor * 2)


class Finish(StrEnum):
    """Why a reply ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Usage:
    """Tokens of a request; 0 where the endpoint does not say.

    ``cached_tokens`` are those of the input that the server had read before.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer: its text, why it ended, what it cost; ``latency`` in seconds."""

    text: str
    finish: Finish = Finish.STOP
    usage: Usage = Usage()
    latency: float = 0.0


@dataclass(frozen=True)
class Ask(Generic[State]):
    """Questions that wait for their replies, and what is needed to read those."""

    questions: tuple[Question, ...]
    state: State


@dataclass(frozen=True)
class Failure:
    """Why a step gives no result for a sample; the fields are those of ``SampleError``."""

    reason: str
    message: str
    excerpt: str | None = None
    attempts: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
