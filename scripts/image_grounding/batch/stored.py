# SPDX-License-Identifier: Apache-2.0
"""Questions and errors in the form in which they wait for another process."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from image_grounding import errors
from image_grounding.boxes.frames import Transport
from image_grounding.errors import EndpointError, ServerFaultError
from image_grounding.plain import to_plain
from image_grounding.steps.question import Question

_KINDS: Mapping[str, type[EndpointError]] = {
    kind.reason: kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, EndpointError)
    and not issubclass(kind, errors.RunEndingError)
    and kind.reason != EndpointError.reason
    and not issubclass(kind, errors.LoadingError)
}


def key_of(question: Question, picture: str | None) -> str:
    """What a question is known by, the same on every machine; 128 bits in hex.

    A question is what it says and shows, not whose it is nor where its picture lies: two samples
    that ask the same are answered by one reply, and a question asked again differs by its
    ``attempt``.

    Args:
        question: the question.
        picture: digest of its picture's file, where it has one.
    """
    shown = question.picture
    parts = [
        question.prompt,
        [picture, to_plain(Transport, shown.transport), shown.detail] if shown else None,
        [question.schema.name, question.schema.schema] if question.schema else None,
        question.token_factor,
        question.attempt,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def plain_error(error: EndpointError) -> dict[str, Any]:
    """An error in plain values."""
    return {
        "reason": error.reason,
        "message": str(error),
        "status": error.status,
        "server_text": error.server_text,
        "remedy": error.remedy,
    }


def error_of(plain: Mapping[str, Any]) -> EndpointError:
    """The error that ``plain_error`` made ``plain`` from."""
    kind = _KINDS.get(plain["reason"], ServerFaultError)
    return kind(
        plain["message"],
        status=plain["status"],
        server_text=plain["server_text"],
        remedy=plain["remedy"],
    )
