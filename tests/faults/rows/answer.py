# SPDX-License-Identifier: Apache-2.0
"""Faults of an answer as HTTP and JSON: what the server writes to the socket."""

import gzip
import itertools
import json
import time
import zlib
from collections.abc import Iterable
from functools import cache, partial

from faults.fault import BOTH, GEMINI, Fault, Inject, fails, goes_on
from faults.injections import always, both, given, once
from support.http_answer import answer
from support.loopback import Answer

row = partial(Fault, "answer")
MIB = 2**20
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
ONE = given("workflow.max_attempts=1")
faulty = partial(fails, "server_fault")


def wire(*parts: bytes) -> Answer:
    """These bytes, then nothing."""
    return Answer(parts=lambda: parts)


def body(text: str | bytes, kind: str = "application/json") -> Answer:
    return Answer(raw=text.encode() if isinstance(text, str) else text, kind=kind)


def of_both(openai: object, gemini: object) -> Answer:
    """A body that is a reply of both protocols at once."""
    return body(json.dumps({
        "choices": [{"message": openai, "finish_reason": "stop"}],
        "candidates": [{"content": gemini, "finishReason": "STOP"}],
    }))  # fmt: skip


def bad(given_answer: Answer) -> Inject:
    return both(ONE, always(given_answer))


@cache
def bomb() -> bytes:
    """33 MiB of spaces, packed."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(33)) + packer.flush()


def packed() -> Iterable[bytes]:
    yield answer(bomb(), content_encoding="gzip")


def endless() -> Iterable[bytes]:
    yield answer(length=10**12)
    yield from itertools.repeat(b" " * MIB)


def dripping(head: bytes) -> Answer:
    """A byte now and then, for longer than a request may take."""

    def drip() -> Iterable[bytes]:
        yield head
        for _ in range(100):
            time.sleep(0.1)
            yield b" "

    return Answer(parts=drip)


SLOW = given("vlm.openai.timeout=1.5", "vlm.gemini.timeout=1.5")
DEEP = "[" * 100_000 + "]" * 100_000
BODIES = {
    "nothing": "", "half of it": '{"choices": [{"mess', "a web page": "<html>sign in</html>",
    "null": "null", "a number": "7", "a list": "[]", "an empty object": "{}",
    "bytes that are no UTF-8": b'{"a": "\xff\xfe"}', "100,000 brackets": DEEP,
    "a number of 5,000 digits": "7" * 5000,
}  # fmt: skip
ERROR = json.dumps({"error": {"message": "upstream is broken", "code": 500}})

# fmt: off
FAULTS = (
    *(row(f"a 200 that holds {what}", bad(body(text)), faulty(), BOTH) for what, text in
        BODIES.items()),
    row("a 200 that holds an error", bad(body(ERROR)), faulty("upstream is broken")),
    row("a 200 without choices", bad(body('{"choices": [], "candidates": []}')), faulty(), BOTH),
    row("a 200 whose text is null", bad(of_both({"content": None}, {"parts": [{"text": None}]})),
        faulty(), BOTH),
    row("a 200 whose text is a number", bad(of_both({"content": 7}, {"parts": [{"text": 7}]})),
        faulty(), BOTH),
    row("a 200 whose text is nested deep", bad(body('{"choices":[{"message":{"content":' + DEEP +
        "}}]}")), faulty()),
    row("thoughts and no answer", bad(of_both({"content": "", "reasoning_content": "hm"},
        {"parts": [{"text": "hm", "thought": True}]})), faulty(), BOTH),
    row("a tool call in the place of an answer", bad(of_both({"content": None, "tool_calls":
        [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"parts": [{"functionCall": {"name": "f", "args": {}}}]})), faulty(), BOTH),
    row("the provider's filter refuses", always(Answer(finish="content_filter")),
        fails("blocked")),
    row("Gemini's filter refuses the answer", always(Answer(finish="SAFETY", text="")),
        fails("blocked"), GEMINI),
    row("Gemini's filter refuses the prompt", always(Answer(patch={"candidates": [],
        "promptFeedback": {"blockReason": "SAFETY"}})), fails("blocked"), GEMINI),
    row("token counts that are none", always(Answer(patch={"usage": {"prompt_tokens": "many",
        "completion_tokens": -7}, "usageMetadata": {"promptTokenCount": -1}})),
        goes_on("they count as 0"), BOTH),
    row("fields that nobody knows", always(Answer(patch={"x": {"y": [1]}, "id": None, "created":
        "now"})), goes_on()),
    row("the right JSON as text/plain", always(Answer(kind="text/plain")), goes_on(), BOTH),
    row("the right JSON as text/html", always(Answer(kind="text/html")), goes_on(), BOTH),
    row("a wrong charset in its type", always(Answer(kind="application/json; charset=klingon")),
        goes_on()),
    row("HTTP 204", bad(wire(answer(status=204))), faulty(), BOTH),
    row("no HTTP at all", bad(wire(b"SSH-2.0-OpenSSH_9.6\r\n")), fails("unreachable")),
    row("a header of 100 KB", bad(wire(answer("{}", x="x" * 100_000))), faulty()),
    row("a length below zero", bad(wire(CHUNKED.replace(b"transfer-encoding: chunked",
        b"content-length: -4"))), faulty()),
    row("a bad chunk", bad(wire(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")), faulty()),
    row("gzip that is none", bad(wire(answer("{}", content_encoding="gzip"))), faulty()),
    row("gzip that is cut", bad(wire(answer(gzip.compress(b"{}" * 50)[:-9],
        content_encoding="gzip"))), faulty(), BOTH),
    row("a packing that nobody knows", bad(wire(answer("{}", content_encoding="klingon"))),
        faulty()),
    row("33 MiB in 32 KB of gzip", bad(Answer(parts=packed)), faulty("MiB"), BOTH),
    row("a body without end", bad(Answer(parts=endless)), faulty("over 32 MiB"), BOTH),
    row("a body that is shorter than its length, once", once(wire(answer("{}", length=500))),
        goes_on("asked again"), BOTH),
    row("a head that is cut, once", once(wire(b"HTTP/1.1 200 O")), goes_on("asked again")),
    row("a body that drips, once", both(SLOW, once(dripping(answer(length=10**6)))),
        goes_on("given up in time and asked again"), BOTH),
    row("a head that drips, once", both(SLOW, once(dripping(b"HTTP/1.1 200 OK\r\nx: "))),
        goes_on("given up in time and asked again")),
)
