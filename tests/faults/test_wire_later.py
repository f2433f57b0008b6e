# SPDX-License-Identifier: Apache-2.0
"""The first request goes through an SDK, later ones as that sent it: both meet the same fate."""

import asyncio
import gzip
import json
from collections.abc import Iterable
from typing import Any

import pytest

from image_grounding.errors import EndpointError
from support.wire import (
    BACKENDS,
    COMPLETION,
    KEY,
    PICTURE,
    PROMPT,
    Question,
    Received,
    Wire,
    answer,
    good,
    make_endpoint,
)

Response = bytes | list[bytes]
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
BOTH = {"usage": {"prompt_tokens": 7}, "usageMetadata": {"promptTokenCount": 7}}
RESPONSES: dict[str, Response] = {
    "a reply": answer({**COMPLETION, **BOTH}),
    "packed": answer(gzip.compress(json.dumps(COMPLETION).encode()), content_encoding="gzip"),
    "unknown fields": answer({**COMPLETION, "traffic": {"a": [1]}, "modelVersion": "m"}),
    "a page": answer("<html>sign in</html>", kind="text/html"),
    "a page as JSON": answer("<html>sign in</html>"),
    "half of it": answer(json.dumps(COMPLETION)[:40]),
    "a list": answer("[]"),
    "a text": answer('"no"'),
    "nothing in it": answer("{}"),
    "odd parts": answer({"candidates": [{"content": 7}], "choices": [{"message": 7}]}),
    "deep": answer("[" * 100_000),
    "bad gzip": answer("{}", content_encoding="gzip"),
    "bad chunk": [CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"],
    "cut": [CHUNKED + b"50\r\n{}"],
    "no HTTP": [b"hello\r\n\r\n"],
    "hung up": [],
    "redirect": answer(status=307, location="https://elsewhere.example/v1"),
    "busy": answer({"error": {"message": "slow down"}}, status=429, retry_after="7"),
    "bad key": answer({"error": {"message": f"bad key {KEY}"}}, status=401),
    "unknown model": answer({"error": {"message": "no such model"}}, status=404),
    "down": answer("<html>bad gateway</html>", status=502, kind="text/html"),
    "too large": answer("x", length=40 << 20),
}


def fate(error: EndpointError) -> dict[str, Any]:
    """What is known of an error, but for a parser's own words."""
    text = str(error).partition(" cannot be read: ")[0]
    return {"kind": type(error).__name__, "text": text, **vars(error)}


async def ask(backend: str, url: str, times: int) -> list[Any]:
    endpoint = make_endpoint(backend, url)
    request = endpoint.request(Question(PROMPT), PICTURE, endpoint.negotiation.terms)
    found: list[Any] = []
    for _ in range(times):
        try:
            reply = await endpoint.send(request)
            found.append((reply.text, reply.finish, reply.usage))
        except EndpointError as error:
            found.append(fate(error))
    await endpoint.close()
    return found


def headers_of(request: Received) -> list[str]:
    """First line and headers but for the length, in which case and order they stand or not."""
    lines = sorted(request.head.lower().splitlines())
    return [line for line in lines if not line.startswith("content-length")]


def in_one_way(body: bytes) -> str:
    """A body with its names written in one of the two ways of protobuf's JSON."""
    text = json.dumps(json.loads(body), sort_keys=True)
    for name in ("mime_type", "thinking_level"):
        first, last = name.split("_")
        text = text.replace(f'"{name}"', f'"{first}{last.capitalize()}"')
    return json.dumps(json.loads(text), sort_keys=True)


@pytest.mark.parametrize("response", RESPONSES.values(), ids=list(RESPONSES))
@pytest.mark.parametrize("backend", BACKENDS)
def test_later_requests_meet_what_the_first_one_does(backend: str, response: Response) -> None:
    def respond(request: Received) -> bytes | Iterable[bytes]:
        return good(request) if len(wire.received) == 2 else response

    with Wire(respond) as wire:
        first, between, later = asyncio.run(ask(backend, wire.url, 3))
        requests = wire.received
    assert between[0] == "yes"
    assert later == first
    assert in_one_way(requests[2].body) == in_one_way(requests[0].body)
    assert headers_of(requests[2]) == headers_of(requests[0])
