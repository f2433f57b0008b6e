# SPDX-License-Identifier: Apache-2.0
"""What a refusal says of the limit on output tokens: lower it for one question, or for all."""

import re
from dataclasses import dataclass

# Below so many tokens no reply is worth asking for.
_LEAST = 64
_NAMED = re.compile(r"max_?(?:completion|output|new)?_?tokens|output[ _]tokens")
_OF_THE_REPLY = re.compile(rf"{_NAMED.pattern}|completion|in the output")
_CONTEXT = re.compile(
    r"(?:context[ _](?:length|window|size)|max_model_len|max_new_tokens`? must be)\D{0,40}?(\d+)"
)
# The prompt's share of the context. A server that says "at least" has not counted all of it.
_PROMPT = re.compile(
    r"(?<!\d)(\d+) (?:tokens )?(?:in|from|of) (?:the )?(?:\w+ )?(?:messages|inputs?|prompt)"
    r"|(?<!at least )(?<!\d)(\d+) (?:`inputs`|input|prompt) tokens"
    r"|(?:resulted in|(?<!\d)given:) (\d+)"
)
_NUMBER = re.compile(r"(?<![\w.,-])\d+(?![\w-]|[.,]\d)")


@dataclass(frozen=True)
class Lower:
    """A lower limit, and whether it holds whatever the prompt."""

    limit: int
    for_all: bool


def lower_limit(message: str, sent: int, *, again: bool = False) -> Lower | None:
    """The token limit to ask again with.

    Args:
        message: the server's message in lower case.
        sent: the limit that was sent.
        again: the message's numbers were believed once for this question, and did not do.

    Returns:
        None where the message is not about the limit, or where a lower one would not help: the
        prompt alone is too long.
    """
    context = _number(_CONTEXT.search(message))
    prompt = _number(_PROMPT.search(message))
    if context is None and not _NAMED.search(message):
        return None
    if context is None:
        numbers = map(int, _NUMBER.findall(message))
        allowed = [number for number in numbers if _LEAST <= number < sent]
        exclusive = "exclusive" in message and bool(allowed)
        limit, for_all = max(allowed, default=sent // 2) - exclusive, True
    elif prompt is not None:
        # However short the prompt, a limit as long as the context leaves no room for it.
        limit, for_all = context - prompt, False
    elif _OF_THE_REPLY.search(message):
        for_all = sent >= context
        limit = context // 2 if for_all else sent // 2
    else:
        return None
    if again or limit >= sent:
        limit = min(limit, sent // 2)
    return Lower(limit, for_all) if limit >= _LEAST else None


def _number(found: re.Match[str] | None) -> int | None:
    return next((int(digits) for digits in found.groups() if digits), None) if found else None
