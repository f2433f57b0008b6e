# SPDX-License-Identifier: Apache-2.0
"""Good answers of an endpoint, mutated on the wire: a call ends with a reply or one of our errors.

Each goes over one endpoint and its connections, and behind it an unharmed call must be answered
as if nothing had happened: with its own number, which no answer to another request holds.
"""

import asyncio
import gzip
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_grounding.asking.endpoints.base import Endpoint
from image_grounding.errors import BusyError, EndpointError, RateLimitedError
from image_grounding.steps.question import Finish, Question, Reply
from support.wire import BACKENDS, KEY, PICTURE, PROMPT, Received, Wire, make_endpoint

TEXT = "yes, number {}, as asked"


def body_of(number: int) -> dict[str, Any]:
    """A good answer of both protocols at once."""
    text = TEXT.format(number)
    counts = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {}}
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": counts,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                     "finish_reason": "stop"}],
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]},
                        "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5},
    }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An answer on its way: its head line by line, its body, and whether that is unharmed."""

    body: bytes
    start: str = "HTTP/1.1 200 OK"
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    framed: bool = False
    harmless: bool = True

    def bytes(self) -> bytes:
        length = () if self.framed else (("content-length", str(len(self.body))),)
        lines = [self.start, *(f"{name}: {value}" for name, value in (*self.headers, *length))]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + self.body

    def having(self, *headers: tuple[str, str], **changes: Any) -> "Answer":
        return replace(self, headers=(*self.headers, *headers), **changes)


Mutation = Callable[[Answer], Answer]


def chunked(answer: Answer, sizes: list[int], end: bytes) -> Answer:
    if answer.framed:
        return answer
    body, parts, start = answer.body, [], 0
    for size in [*sizes, len(body)]:
        part = body[start : start + size]
        start += size
        parts += [b"%x\r\n%s\r\n" % (len(part), part)] if part else []
    whole = end == b"0\r\n\r\n"
    return answer.having(
        ("transfer-encoding", "chunked"), framed=True, body=b"".join(parts) + end,
        harmless=answer.harmless and whole,
    )  # fmt: skip


def packed(answer: Answer, claimed: str, cut: int) -> Answer:
    if answer.framed or answer.body.startswith(b"\x1f"):
        return answer
    body = gzip.compress(answer.body)
    good = claimed == "gzip" and not cut
    body = body[: len(body) - cut]
    harmless = answer.harmless and good
    return answer.having(("content-encoding", claimed), body=body, harmless=harmless)


HUGE, NAN = 10**400, float("nan")
odd_values = st.sampled_from([
    None, True, -1, 0, HUGE, 1e308, NAN, float("inf"), "", "\ud800", KEY, f"Bearer {KEY}", [], {},
    [[]], "9" * 5000, "STOP", "SAFETY", "length", "content_filter",
    {"message": KEY, "code": 429, "retry_after": NAN},
    {"code": "429", "metadata": {"headers": {"Retry-After": "1e5"}, "retry_after": HUGE}},
    {"code": HUGE, "message": ["x" * 9000]},
    {"prompt_tokens": HUGE, "completion_tokens": NAN},
    {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
    {"promptTokenCount": HUGE, "candidatesTokenCount": 10**18, "thoughtsTokenCount": -1},
    {"promptTokenCount": 7, "candidatesTokenCount": 10**300},
])  # fmt: skip


@st.composite
def edited(draw: st.DrawFn) -> Mutation:
    """A value of the JSON, or a new one, is another."""
    places, value, new = (
        draw(st.lists(st.integers(0, 9), max_size=5)),
        draw(odd_values),
        draw(st.sampled_from(["", "error", "choices", "candidates", "usage", "usageMetadata"])),
    )

    def edit(answer: Answer) -> Answer:
        try:
            root = json.loads(answer.body)
        except ValueError:
            return answer
        at: Any = root
        for place in places:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = keys[place % len(keys)]
            if not isinstance(at[key], dict | list) or not at[key] or place == places[-1]:
                at[key] = value
                break
            at = at[key]
        if new:
            root[new] = value
        return replace(answer, body=json.dumps(root).encode(), harmless=False)

    return edit


@st.composite
def damaged(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bytes of the whole answer are flipped, cut off, left out, repeated or put in."""
    share, length = draw(st.floats(0, 1)), draw(st.integers(1, 60))
    kind, bits = (
        draw(st.sampled_from(["flip", "cut", "out", "twice", "in"])),
        draw(
            st.one_of(
                st.binary(min_size=1, max_size=6), st.sampled_from([b"\r\n", b"\r\n\r\n", b"\0"])
            )
        ),
    )

    def damage(data: bytes) -> bytes:
        start = int(share * len(data))
        end = min(len(data), start + length)
        return {
            "flip": data[:start] + bytes(b ^ bits[0] for b in data[start:end]) + data[end:],
            "cut": data[:start],
            "out": data[:start] + data[end:],
            "twice": data[:end] + data[start:],
            "in": data[:start] + bits + data[start:],
        }[kind]

    return damage


header_values = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
    st.sampled_from(["", "x" * 9000, "-1", "1" * 400, KEY, "gzip, gzip", "chunked, chunked"]),
)
header_names = st.sampled_from([
    "content-type", "content-length", "content-encoding", "transfer-encoding", "connection",
    "retry-after", "location", "set-cookie", "x y", "", "upgrade", "keep-alive", "trailer",
])  # fmt: skip
harmless_headers = st.sampled_from([
    ("Server", "any"), ("x-request-id", KEY), ("set-cookie", f"a={KEY}"), ("Date", "never"),
    ("Retry-After", "soon"), ("Connection", "keep-alive"),
])  # fmt: skip
statuses = st.one_of(
    st.integers(200, 599).map(lambda status: f"HTTP/1.1 {status} {KEY}"),
    st.sampled_from([
        "HTTP/1.0 200 OK", "HTTP/1.1 200", "HTTP/2 200 OK", "HTTP/1.1 2000 OK", "ICY 200 OK", "",
        "HTTP/1.1 -20 OK", "HTTP/1.1 429 Slow", "HTTP/1.1 101 Switching", "HTTP/1.1 100 Go on",
    ]),
)  # fmt: skip
mutations: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(
        lambda sizes, end: lambda answer: chunked(answer, sizes, end),
        st.lists(st.integers(1, 90), max_size=6),
        st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", b"", b"0\r\n", b"zz\r\n", b"-1\r\n\r\n"]),
    ),
    st.builds(
        lambda claimed, cut: lambda answer: packed(answer, claimed, cut),
        st.sampled_from(["gzip", "gzip", "deflate", "br", "x"]),
        st.sampled_from([0, 0, 1, 8, 30]),
    ),
    st.builds(lambda header: lambda answer: answer.having(header), harmless_headers),
    st.builds(
        lambda name, value: lambda answer: answer.having((name, value), harmless=False),
        header_names,
        header_values,
    ),
    st.builds(lambda start: lambda answer: replace(answer, start=start, harmless=False), statuses),
    st.builds(
        lambda more: (
            lambda answer: answer.having(
                ("content-length", str(max(len(answer.body) + more, 0))),
                framed=True,
                harmless=False,
            )
        ),
        st.integers(-400, 400),
    ),
    edited(),
)


@dataclass
class Conversation:
    """One endpoint of a backend, its event loop, and the server that it talks to.

    Attributes:
        parts: what the next request is answered with before the connection is closed; None for
            an unharmed answer.
        behind: what follows an unharmed answer on its connection.
    """

    endpoint: Endpoint
    runner: asyncio.Runner
    parts: Iterable[bytes] | None = None
    behind: bytes = b""
    asked: list[int] = field(default_factory=lambda: [0])

    def respond(self, request: Received) -> bytes | Iterable[bytes]:
        if self.parts is not None:
            return self.parts
        return Answer(json.dumps(body_of(self.asked[0])).encode()).bytes() + self.behind

    def ask(self) -> Reply:
        self.asked[0] += 1
        request = self.endpoint.request(Question(PROMPT), PICTURE, self.endpoint.negotiation.terms)
        return self.runner.run(self.endpoint.send(request))

    @property
    def expected(self) -> Reply:
        """What the latest unharmed answer says."""
        return Reply(TEXT.format(self.asked[0]))


@pytest.fixture(scope="module", params=BACKENDS)
def talk(request: pytest.FixtureRequest) -> Iterator[Conversation]:
    with Wire() as wire, asyncio.Runner() as runner:
        talking = Conversation(make_endpoint(request.param, wire.url), runner)
        wire.respond = talking.respond
        yield talking
        runner.run(talking.endpoint.close())


def check_reply(reply: Reply) -> None:
    assert KEY not in reply.text
    assert reply.text or reply.finish is Finish.LENGTH
    for count in vars(reply.usage).values():
        assert type(count) is int and 0 <= count < 10**12


def check_error(error: EndpointError) -> None:
    for text in (str(error), error.remedy, error.server_text, error.reason):
        assert KEY not in text
        assert text.isprintable() or text.encode(errors="replace")
    assert str(error) and len(str(error)) < 1000
    if isinstance(error, BusyError) and error.retry_after is not None:
        assert error.retry_after >= 0 and not math.isnan(error.retry_after)


def check_next(talk: Conversation) -> None:
    """An unharmed call has its own answer, once no broken connection is used again."""
    talk.parts = None
    for last in (False, False, True):
        try:
            reply = talk.ask()
        except EndpointError as error:
            check_error(error)
            assert error.transient and not last, error
        else:
            assert (reply.text, reply.finish) == (talk.expected.text, Finish.STOP)
            assert (reply.usage.input_tokens, reply.usage.output_tokens) == (7, 5)
            return


@settings(max_examples=120)
@given(
    st.lists(mutations, min_size=1, max_size=3),
    st.lists(damaged(), max_size=2),
    st.lists(st.floats(0, 1), max_size=2),
)
def test_a_mutated_answer(
    talk: Conversation,
    mutate: list[Mutation],
    damage: list[Callable[[bytes], bytes]],
    splits: list[float],
) -> None:
    answer = Answer(json.dumps(body_of(talk.asked[0] + 1)).encode())
    for mutation in mutate:
        answer = mutation(answer)
    data = answer.bytes()
    for change in damage:
        data = change(data)
    cuts = sorted(int(share * len(data)) for share in splits)
    edges = [0, *cuts, len(data)]
    talk.parts = [data[start:end] for start, end in pairwise(edges)]
    try:
        reply = talk.ask()
    except EndpointError as error:
        check_error(error)
        assert damage or not answer.harmless, error
    else:
        check_reply(reply)
        if answer.harmless and not damage:
            assert reply.text == talk.expected.text
    check_next(talk)


@settings(max_examples=40)
@given(st.one_of(
    st.binary(min_size=1, max_size=40),
    st.integers(0, 99).map(lambda number: Answer(json.dumps(body_of(-number)).encode()).bytes()),
    st.sampled_from([b"\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 408 Late\r\n\r\n"]),
))  # fmt: skip
def test_what_follows_an_answer_is_no_answer(talk: Conversation, behind: bytes) -> None:
    """Bytes behind its end spoil it at worst; the next request's answer they are not."""
    talk.parts, talk.behind = None, behind
    try:
        assert talk.ask().text == talk.expected.text
    except EndpointError as error:
        assert error.transient, error
    talk.behind = b""
    check_next(talk)


# What no server can mean by tokens, or by seconds to wait.
NO_NUMBERS = {"huge": HUGE, "not a number": NAN, "endless": float("inf"), "below 0": -5}


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=list(NO_NUMBERS))
@pytest.mark.parametrize("backend", BACKENDS)
def test_tokens_that_cannot_be_meant_are_not_counted(backend: str, number: float) -> None:
    """Their sum would be no number that a cost can be made of."""
    counts = {"prompt_tokens": number, "completion_tokens": 5}
    other = {
        "promptTokenCount": number if number in (HUGE, -5) else None,
        "candidatesTokenCount": 5,
    }
    body = {**body_of(1), "usage": counts, "usageMetadata": other}
    with Wire(lambda request: Answer(json.dumps(body).encode()).bytes()) as wire:
        usage = asyncio.run(ask_with(make_endpoint(backend, wire.url))).usage
    assert (usage.input_tokens, usage.output_tokens) == (0, 5)


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=list(NO_NUMBERS))
def test_a_wait_that_cannot_be_meant_is_none(number: float) -> None:
    body = {"error": {"code": 429, "message": "slow", "retry_after": number}}
    busy = Answer(json.dumps(body).encode()).bytes()
    with Wire(lambda request: busy) as wire, pytest.raises(RateLimitedError) as caught:
        asyncio.run(ask_with(make_endpoint("openai", wire.url)))
    assert caught.value.retry_after is None


async def ask_with(endpoint: Endpoint) -> Reply:
    try:
        request = endpoint.request(Question(PROMPT), PICTURE, endpoint.negotiation.terms)
        return await endpoint.send(request)
    finally:
        await endpoint.close()
