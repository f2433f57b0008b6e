# SPDX-License-Identifier: Apache-2.0
"""The two backends through their real SDKs, against the loopback server."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from image_grounding.asking.asker import Asker, RetryPolicy
from image_grounding.asking.capacity import Capacity
from image_grounding.asking.endpoints.gemini import GeminiEndpoint
from image_grounding.asking.endpoints.openai import OpenAIEndpoint
from image_grounding.asking.limits import Gate
from image_grounding.boxes.frames import Transport
from image_grounding.errors import (
    BlockedError,
    EndpointError,
    EndpointTimeoutError,
    KeyRefusedError,
    RateLimitedError,
    RejectedRequestError,
    ServerFaultError,
    UnknownModelError,
    UnreachableError,
)
from image_grounding.images.encoding import EncodedImage, encode_image
from image_grounding.spec import Gemini, OpenAI
from image_grounding.spec.secrets import Secret
from image_grounding.steps.prompts import extraction_prompt, extraction_schema
from image_grounding.steps.question import Finish, Question, Reply, Usage
from support.loopback import Answer, Call, Loopback
from support.scenes import make_scene

KEY = "secret-key-0123456789"
BACKENDS = ("openai", "gemini")


def openai_settings(server: Loopback | str, **changes: Any) -> OpenAI:
    url = server if isinstance(server, str) else server.base_url
    values: dict[str, Any] = {
        "api_key": KEY, "base_url": url, "model_name": "test-vlm",
        "temperature": 0.3, "max_tokens": 512, "timeout": 10.0,
    }  # fmt: skip
    return OpenAI(**{**values, **changes})


def gemini_settings(server: Loopback | str, **changes: Any) -> Gemini:
    url = server if isinstance(server, str) else server.gemini_url
    values: dict[str, Any] = {
        "api_key": KEY, "model": "test-vlm", "media_resolution": "MEDIA_RESOLUTION_HIGH",
        "temperature": 0.3, "max_output_tokens": 512, "timeout": 10.0, "base_url": url,
        "thinking_level": "auto",
    }  # fmt: skip
    return Gemini(**{**values, **changes})


def make_endpoint(
    backend: str, server: Loopback | str, said: list[str] | None = None, **changes: Any
) -> OpenAIEndpoint | GeminiEndpoint:
    structured = changes.pop("structured_output", "auto")
    say: Callable[[str], None] = said.append if said is not None else lambda text: None
    if backend == "openai":
        return OpenAIEndpoint(openai_settings(server, **changes), structured, say)
    return GeminiEndpoint(gemini_settings(server, **changes), structured, say)


def send(
    endpoint: OpenAIEndpoint | GeminiEndpoint, question: Question, image: EncodedImage | None = None
) -> Reply:
    async def go() -> Reply:
        asker = Asker(lambda: endpoint, Gate(1), RetryPolicy(attempts=1))
        try:
            return await asker.ask(question, image)
        finally:
            await asker.close()

    return asyncio.run(go())


def thinking_level(call: Call) -> str:
    """The level in a request; the SDK writes its key in either of protobuf's two ways."""
    (level,) = call.body["generationConfig"]["thinkingConfig"].values()
    return str(level)


@pytest.fixture
def picture(tmp_path: Path) -> EncodedImage:
    path = make_scene((320, 240)).save(tmp_path / "scene.png")
    return encode_image(path, Transport(max_pixels=1_000_000))


PLAIN = Question(extraction_prompt("a red cup"))
QUESTION = replace(PLAIN, schema=extraction_schema())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reply_has_text_usage_and_latency(backend: str, server: Loopback) -> None:
    reply = send(make_endpoint(backend, server), QUESTION)
    assert '"A red cup"' in reply.text
    assert reply.finish is Finish.STOP
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 20)
    assert reply.latency > 0


@pytest.mark.parametrize(
    ("backend", "usage", "cached"),
    [
        ("openai", {"prompt_tokens": 2000, "prompt_tokens_details": {"cached_tokens": 1536}}, 1536),
        ("openai", {"prompt_tokens": 2000, "prompt_tokens_details": {"cached_tokens": None}}, 0),
        ("openai", {"prompt_tokens": 2000, "prompt_tokens_details": "none"}, 0),
        ("gemini", {"promptTokenCount": 2000, "cachedContentTokenCount": 1536}, 1536),
        ("gemini", {"promptTokenCount": 2000}, 0),
    ],
)
def test_what_was_in_the_servers_cache(
    backend: str, usage: dict[str, Any], cached: int, server: Loopback
) -> None:
    name = {"openai": "usage", "gemini": "usageMetadata"}[backend]
    server.fault = lambda call: Answer(patch={name: usage})
    reply = send(make_endpoint(backend, server), PLAIN)
    assert (reply.usage.input_tokens, reply.usage.cached_tokens) == (2000, cached)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_image_arrives_byte_for_byte(
    backend: str, server: Loopback, picture: EncodedImage
) -> None:
    send(make_endpoint(backend, server), Question("look"), picture)
    assert server.calls[0].image == picture.data
    assert server.calls[0].mime_type == "image/png"


def test_gemini_settings_reach_the_request(server: Loopback, picture: EncodedImage) -> None:
    settings = {"media_resolution": "MEDIA_RESOLUTION_LOW", "temperature": 0.25}
    endpoint = make_endpoint("gemini", server, **settings, max_output_tokens=321)
    send(endpoint, Question("look", schema=extraction_schema()), picture)
    sent = server.calls[0].body["generationConfig"]
    assert sent["mediaResolution"] == "MEDIA_RESOLUTION_LOW"
    assert sent["temperature"] == 0.25
    assert sent["maxOutputTokens"] == 321
    assert thinking_level(server.calls[0]) == "MINIMAL"
    assert sent["responseMimeType"] == "application/json"
    assert sent["responseJsonSchema"]["required"] == ["cleaned_caption", "expressions"]


def test_openai_settings_reach_the_request(server: Loopback) -> None:
    send(make_endpoint("openai", server, temperature=0.25, max_tokens=321), QUESTION)
    body = server.calls[0].body
    assert (body["temperature"], body["max_tokens"]) == (0.25, 321)
    assert body["response_format"]["json_schema"]["name"] == "expression_extraction"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cut_question_has_more_room(backend: str, server: Loopback) -> None:
    send(make_endpoint(backend, server), QUESTION.with_room())
    body = server.calls[0].body
    assert body.get("max_tokens", body.get("generationConfig", {}).get("maxOutputTokens")) == 1024


FAULTS: list[tuple[str, Answer, type[EndpointError], str]] = [
    ("401", Answer(status=401, message=f"Incorrect API key: {KEY}"), KeyRefusedError, "key"),
    ("403", Answer(status=403, message="no access"), KeyRefusedError, "no access"),
    ("404", Answer(status=404, message="model gone"), UnknownModelError, "model gone"),
    ("400", Answer(status=400, message="too long"), RejectedRequestError, "too long"),
    ("422", Answer(status=422, message="odd"), RejectedRequestError, "odd"),
    ("429", Answer(status=429, message="slow down"), RateLimitedError, "slow down"),
    ("500", Answer(status=500, message="oops"), ServerFaultError, "oops"),
    ("503", Answer(status=503, message="loading"), ServerFaultError, "loading"),
    ("html", Answer(raw=b"<html>gateway</html>"), ServerFaultError, ""),
    ("empty body", Answer(raw=b""), ServerFaultError, ""),
    ("no choices", Answer(patch={"choices": [], "candidates": []}), ServerFaultError, "without"),
    *(
        (f"odd {odd!r}", Answer(patch={"choices": odd, "candidates": odd}), ServerFaultError, "")
        for odd in (None, "x", 7, {"a": 1}, ["x"], [None], [{"message": "x", "content": "x"}])
    ),
    ("a list", Answer(raw=b"[1]"), ServerFaultError, ""),
    ("a number", Answer(raw=b"7"), ServerFaultError, ""),
    ("image", Answer(status=500, message="you may need the mmproj"), RejectedRequestError, "mmp"),
    ("empty text", Answer(text=""), ServerFaultError, "empty"),
    ("dropped", Answer(drop=True), UnreachableError, "dropped"),
    ("string error", Answer(status=401, raw=b'{"error": "Unauthorized"}'), KeyRefusedError, ""),
    ("text error", Answer(status=500, raw=b"Internal Server Error"), ServerFaultError, ""),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "answer", "kind", "words"), FAULTS, ids=[f[0] for f in FAULTS])
def test_faults_become_our_errors(
    backend: str, name: str, answer: Answer, kind: type[EndpointError], words: str,
    server: Loopback,
) -> None:  # fmt: skip
    server.fault = lambda call: answer
    with pytest.raises(kind) as caught:
        send(make_endpoint(backend, server), PLAIN)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__)
    assert len(server.calls) == 1, "the SDK retried behind our back"


@pytest.mark.parametrize("backend", BACKENDS)
def test_retry_after_is_read(backend: str, server: Loopback) -> None:
    server.fault = lambda call: Answer(status=429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimitedError) as caught:
        send(make_endpoint(backend, server), QUESTION)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_answer_in_time(backend: str, server: Loopback) -> None:
    server.delay = 1.0
    with pytest.raises(EndpointTimeoutError, match=r"within 0\.2 s"):
        send(make_endpoint(backend, server, timeout=0.2), QUESTION)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_listens(backend: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnreachableError, match="refused"):
        send(make_endpoint(backend, url), QUESTION)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_such_host(backend: str) -> None:
    with pytest.raises(UnreachableError, match="no such host"):
        send(make_endpoint(backend, "http://no-such-host.invalid/v1"), QUESTION)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tls_against_a_plain_server(backend: str, server: Loopback) -> None:
    with pytest.raises(UnreachableError, match="TLS"):
        send(make_endpoint(backend, f"https://127.0.0.1:{server.port}/v1"), QUESTION)


def test_gemini_tells_blocked_empty_and_cut_apart(server: Loopback) -> None:
    blocked = {"candidates": None, "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    server.fault = lambda call: Answer(patch=blocked)
    with pytest.raises(BlockedError, match="PROHIBITED_CONTENT"):
        send(make_endpoint("gemini", server), QUESTION)
    server.fault = lambda call: Answer(text="", finish="SAFETY")
    with pytest.raises(BlockedError, match="SAFETY"):
        send(make_endpoint("gemini", server), QUESTION)
    server.fault = lambda call: Answer(text="", finish="OTHER")
    with pytest.raises(ServerFaultError, match="empty"):
        send(make_endpoint("gemini", server), QUESTION)
    server.fault = lambda call: Answer(cut=0.5, finish="MAX_TOKENS")
    reply = send(make_endpoint("gemini", server), QUESTION)
    assert reply.finish is Finish.LENGTH
    assert reply.text


def test_openai_tells_blocked_and_cut_apart(server: Loopback) -> None:
    server.fault = lambda call: Answer(text="", finish="content_filter")
    with pytest.raises(BlockedError):
        send(make_endpoint("openai", server), QUESTION)
    server.fault = lambda call: Answer(cut=0.5, finish="length")
    assert send(make_endpoint("openai", server), QUESTION).finish is Finish.LENGTH


THOUGHTS = {"role": "assistant", "content": None, "reasoning_content": '{"instances": []}'}
ODD_ANSWERS: list[tuple[str, dict[str, Any], type[EndpointError], str]] = [
    ("thoughts alone", {"choices": [{"message": THOUGHTS, "finish_reason": "stop"}]},
     ServerFaultError, "thoughts alone"),
    ("an error beside choices", {"error": {"code": 429, "message": "slow down"}},
     RateLimitedError, "slow down"),
    ("an error in a choice",
     {"choices": [{"error": {"code": 502, "message": "upstream died"}, "message": THOUGHTS}]},
     ServerFaultError, "upstream died"),
    ("a code as text", {"choices": [], "error": {"code": "401", "message": "no"}},
     KeyRefusedError, "refused the key"),
    ("an error of one word", {"error": "overloaded"}, ServerFaultError, "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("patch", "kind", "words"),
    [row[1:] for row in ODD_ANSWERS],
    ids=[row[0] for row in ODD_ANSWERS],
)
def test_a_200_that_is_no_answer(
    patch: dict[str, Any], kind: type[EndpointError], words: str, server: Loopback
) -> None:
    server.fault = lambda call: Answer(patch=patch)
    with pytest.raises(kind, match=words):
        send(make_endpoint("openai", server), QUESTION)


def test_thoughts_alone_name_the_reasoning_parser(server: Loopback) -> None:
    server.fault = lambda call: Answer(patch=ODD_ANSWERS[0][1])
    with pytest.raises(ServerFaultError) as caught:
        send(make_endpoint("openai", server), QUESTION)
    assert "--reasoning-parser" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "wait", [{"retry_after": 7}, {"metadata": {"headers": {"Retry-After": "7"}}}]
)
def test_the_pause_of_an_error_in_a_200_is_kept(wait: dict[str, Any], server: Loopback) -> None:
    error = {"code": 429, "message": "slow down", **wait}
    server.fault = lambda call: Answer(patch={"error": error})
    with pytest.raises(RateLimitedError) as caught:
        send(make_endpoint("openai", server), QUESTION)
    assert caught.value.retry_after == 7


def test_gemini_without_a_key_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with pytest.raises(KeyRefusedError, match="GOOGLE_API_KEY"):
        make_endpoint("gemini", "http://127.0.0.1:1", api_key="")


@pytest.mark.parametrize("variable", ["GOOGLE_API_KEY", "GEMINI_API_KEY"])
def test_gemini_takes_its_key_from_the_environment(
    variable: str, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, KEY)
    server.key = KEY
    send(make_endpoint("gemini", server, api_key=""), QUESTION)
    assert server.calls[0].headers["x-goog-api-key"] == KEY


def test_the_users_openai_key_goes_to_no_other_host(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NVIDIA_API_KEY", KEY)
    send(make_endpoint("openai", server, api_key=""), QUESTION)
    assert server.calls[0].headers["authorization"] == "Bearer EMPTY"


def test_extras_are_passed_on_with_every_request(server: Loopback) -> None:
    extras = {
        "extra_body": {
            "enable_thinking": False,
            "chat_template_kwargs": {"enable_thinking": False},
        },
        "extra_query": {"api-version": "2024-10-21"},
        "extra_headers": {"api-key": KEY, "X-Title": "me"},
    }
    send(make_endpoint("openai", server, api_key="", **extras), QUESTION)
    (call,) = server.calls
    assert call.body["enable_thinking"] is False
    assert call.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert call.body["model"] == "test-vlm"
    assert call.query == "api-version=2024-10-21"
    assert (call.headers["api-key"], call.headers["x-title"]) == (KEY, "me")
    assert "authorization" not in call.headers  # a filler beside the credential may be refused
    asyncio.run(make_endpoint("openai", server, **extras).models())
    assert server.gets == ["/v1/models?api-version=2024-10-21"]


def test_the_body_is_json_whatever_is_in_it(server: Loopback, picture: EncodedImage) -> None:
    prompt = 'a "cup" \\ {"x": 1}]}], \n \u00e9 \ud83d \u4e2d'
    extras = {"response_format": {"type": "text"}, "seed": 7}
    endpoint = make_endpoint("openai", server, extra_body=extras)
    send(endpoint, Question(prompt, schema=extraction_schema()), picture)
    (call,) = server.calls
    assert call.prompt == prompt
    assert call.image == picture.data
    assert {name: call.body[name] for name in extras} == extras


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_header_of_the_spec_wins(name: str, server: Loopback) -> None:
    server.key = "another"
    send(make_endpoint("openai", server, extra_headers={name: "Bearer another"}), QUESTION)
    assert server.calls[0].headers["authorization"] == "Bearer another"


@pytest.mark.parametrize("status", [200, 400])
def test_secrets_of_the_extras_are_in_no_text(status: int, server: Loopback) -> None:
    text = f'{{"expressions": [{{"text": "{KEY}"}}]}}'
    server.fault = lambda call: Answer(status=status, text=text, message=f"who is {KEY}?")
    endpoint = make_endpoint(
        "openai", server, api_key="", extra_headers={"X-Token": Secret(f"Bearer {KEY}")}
    )
    if status == 200:
        assert KEY not in send(endpoint, QUESTION).text
    else:
        with pytest.raises(RejectedRequestError) as caught:
            send(endpoint, QUESTION)
        assert KEY not in str(caught.value) + caught.value.server_text
        assert "who is (key)?" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"), [({"api_key": ""}, True), ({"extra_headers": {"api-key": "x"}}, False)]
)
def test_a_refusal_tells_of_the_openai_key_that_was_not_sent(
    changes: dict[str, Any], named: bool, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = KEY
    for there in (True, False):
        monkeypatch.setenv("OPENAI_API_KEY", KEY if there else "")
        with pytest.raises(KeyRefusedError) as caught:
            send(make_endpoint("openai", server, **{"api_key": "", **changes}), QUESTION)
        wanted = "vlm.openai.api_key='${oc.env:OPENAI_API_KEY}'"
        assert (wanted in caught.value.remedy) == (named and there)


QUICK = RetryPolicy(attempts=4, first_pause=0.01)


REFUSALS = [
    ("openai", "temperature", "Unsupported parameter: temperature", "temperature"),
    ("openai", "response_format", "response_format is not supported", "JSON-schema"),
    (
        "openai",
        "max_tokens",
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "max_tokens",
    ),
    ("openai", "max_tokens", "Unrecognized request argument supplied: max_tokens", "max_tokens"),
    ("openai", "max_tokens", 'json: unknown field "max_tokens"', "max_tokens"),
    ("openai", "max_tokens", "use max_completion_tokens instead", "max_tokens"),
    ("openai", "response_format", "Invalid argument", "JSON-schema"),
    ("gemini", "responseJsonSchema", "too many states for serving", "JSON-schema"),
    ("gemini", "temperature", "temperature may not be set", "temperature"),
    ("gemini", "mediaResolution", "media_resolution is not supported", "media_resolution"),
    ("gemini", "thinkingConfig", "Thinking is not supported by this model", "thinking"),
    ("gemini", "responseJsonSchema", "response_json_schema is not supported", "JSON-schema"),
]


@pytest.mark.parametrize(("backend", "parameter", "message", "words"), REFUSALS)
def test_a_refused_parameter_is_given_up_once_and_remembered(
    backend: str, parameter: str, message: str, words: str, server: Loopback, picture: EncodedImage
) -> None:
    server.refused = {parameter: message}
    said: list[str] = []
    endpoint = make_endpoint(backend, server, said)

    async def twice() -> None:
        asker = Asker(lambda: endpoint, Gate(1))
        await asker.ask(QUESTION, picture)
        asked = len(server.calls)
        assert asker.meter.requests == asked, "every request is counted"
        await asker.ask(QUESTION, picture)
        assert len(server.calls) == asked + 1, "what was learnt was forgotten"
        await asker.close()

    asyncio.run(twice())
    last = {**server.calls[-1].body, **server.calls[-1].body.get("generationConfig", {})}
    assert parameter not in last
    assert words in said[0]
    assert len(said) == 1
    if parameter == "max_tokens":
        assert last["max_completion_tokens"] == 512


def test_a_thinking_level_that_is_refused_is_raised(server: Loopback) -> None:
    def fault(call: Call) -> Answer | None:
        refused = Answer(status=400, message="thinking level MINIMAL is not supported")
        return refused if thinking_level(call) == "MINIMAL" else None

    server.fault = fault
    send(make_endpoint("gemini", server), QUESTION)
    assert thinking_level(server.calls[-1]) == "LOW"


def in_turn(server: Loopback, *questions: Question, **settings: Any) -> Asker:
    """Ask one after the other; what they fail with is let go."""

    async def go() -> Asker:
        asker = Asker(lambda: make_endpoint("openai", server, **settings), Gate(4), QUICK)
        for question in questions:
            await asyncio.gather(asker.ask(question), return_exceptions=True)
        await asker.close()
        return asker

    return asyncio.run(go())


def context(tokens: int) -> Callable[[Call], Answer | None]:
    """A fault: vLLM with a context of so many tokens, of which a character takes one."""

    def fault(call: Call) -> Answer | None:
        prompt, asked = len(call.prompt), call.body["max_tokens"]
        if prompt + asked <= tokens:
            return None
        return Answer(
            status=400,
            message=f"This model's maximum context length is {tokens} tokens. However, you "
            f"requested {prompt + asked} tokens ({prompt} in the messages, {asked} in the "
            "completion). Please reduce the length of the messages or completion.",
        )

    return fault


@pytest.mark.parametrize(
    ("questions", "limits"),
    [
        # A long prompt gets what room there is, the next one all of it again.
        ((Question("x" * 1700), Question("x")), [512, 300, 512]),
        # One that is too long by itself fails, and changes nothing.
        ((Question("x" * 1950), Question("x")), [512, 512]),
        # More room after a cut reply does not fit: what does is taken, for this reply.
        ((Question("x" * 1000, token_factor=4), Question("x")), [2048, 1000, 512]),
    ],
    ids=["long", "too long", "more room"],
)
def test_a_long_prompt_costs_the_others_nothing(
    questions: tuple[Question, ...], limits: list[int], server: Loopback
) -> None:
    server.fault = context(2000)
    asker = in_turn(server, *questions)
    assert [call.body["max_tokens"] for call in server.calls] == limits
    assert asker.meter.requests == len(limits), "every request is counted"
    assert asker.supported()["token_limit"]


def test_a_token_limit_that_is_too_high_for_the_model_is_lowered_for_all(
    server: Loopback,
) -> None:
    def fault(call: Call) -> Answer | None:
        message = "max_tokens is too large: 512. This model supports at most 200 completion tokens"
        return Answer(status=400, message=message) if call.body["max_tokens"] > 200 else None

    server.fault = fault
    asker = in_turn(server, PLAIN, PLAIN)
    assert [call.body["max_tokens"] for call in server.calls] == [512, 200, 200]
    assert not asker.supported()["token_limit"]


@pytest.mark.parametrize(
    ("message", "requests"),
    # Nothing is named: a guess that is made last.
    [("Failed to compile the json schema", 2), ("Internal Server Error", 5)],
)
def test_a_server_that_fails_over_a_schema_is_asked_without(
    message: str, requests: int, server: Loopback
) -> None:
    def fault(call: Call) -> Answer | None:
        return Answer(500, message) if "response_format" in call.body else None

    server.fault = fault
    asker = in_turn(server, QUESTION, QUESTION)
    assert not asker.supported()["schema"]
    assert len(server.calls) == requests + 1, "it is remembered"


def test_a_guess_that_does_not_help_teaches_nothing(server: Loopback) -> None:
    server.fault = lambda call: Answer(400, "bad picture") if call.number < 2 else None
    asker = in_turn(server, QUESTION, QUESTION)
    assert ["response_format" in call.body for call in server.calls] == [True, False, True]
    assert asker.supported()["schema"]


def test_what_the_user_asked_for_is_not_given_up(server: Loopback) -> None:
    server.refused = {"response_format": "response_format is not supported"}
    with pytest.raises(RejectedRequestError):
        send(make_endpoint("openai", server, structured_output=True), QUESTION)


def test_structured_output_can_be_off(server: Loopback) -> None:
    send(make_endpoint("openai", server, structured_output=False), QUESTION)
    assert "response_format" not in server.calls[0].body


def ask(
    server: Loopback,
    *,
    gate: int = 4,
    count: int = 1,
    capacity: Capacity | None = None,
    **policy: Any,
) -> tuple[Asker, Any]:
    """Ask ``count`` times at once; the asker and the outcomes."""

    async def go() -> tuple[Asker, Any]:
        asker = Asker(
            lambda: make_endpoint("openai", server),
            Gate(gate),
            replace(QUICK, **policy),
            capacity=capacity,
        )
        tasks = [asker.ask(PLAIN) for _ in range(count)]
        outcome = await asyncio.gather(*tasks, return_exceptions=True)
        await asker.close()
        return asker, outcome

    return asyncio.run(go())


def test_transient_errors_are_tried_again_and_counted(server: Loopback) -> None:
    server.fault = lambda call: Answer(status=500) if call.number < 2 else None
    asker, outcome = ask(server)
    assert isinstance(outcome[0], Reply)
    assert (asker.meter.requests, asker.meter.retries) == (3, 2)
    assert asker.meter.errors == {"server_fault": 2}


def test_attempts_are_bounded(server: Loopback) -> None:
    server.fault = lambda call: Answer(status=500)
    _, outcome = ask(server)
    assert isinstance(outcome[0], ServerFaultError)
    assert outcome[0].attempts == 4
    assert len(server.calls) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_another_attempt_would_not_change_is_asked_once(status: int, server: Loopback) -> None:
    server.fault = lambda call: Answer(status=status, message="no")
    _, outcome = ask(server)
    assert isinstance(outcome[0], EndpointError)
    assert len(server.calls) == 1


def test_a_pause_longer_than_the_patience_is_not_begun(server: Loopback) -> None:
    server.fault = lambda call: Answer(status=429, headers={"Retry-After": "3600"})
    _, outcome = ask(server, seconds=60.0)
    assert isinstance(outcome[0], RateLimitedError)
    assert len(server.calls) == 1


def test_retry_after_holds_everyone_back(server: Loopback) -> None:
    """After a 429 that names a pause nobody asks until it is over."""
    server.fault = lambda call: (
        Answer(status=429, headers={"Retry-After": "0.2"}) if call.number == 0 else None
    )
    asker, outcome = ask(server, gate=1, count=4)
    assert all(isinstance(one, Reply) for one in outcome)
    assert asker.meter.requests == 5
    assert asker.gate.opened_at > 0


def test_retry_after_for_a_few_holds_back_only_them(server: Loopback) -> None:
    """Where the limit is looked for, a few are refused: the others are asked on."""
    server.delay = 0.01
    server.fault = lambda call: (
        Answer(status=429, headers={"Retry-After": "0.2"}) if server.in_flight > 6 else None
    )
    asker, outcome = ask(server, count=100, capacity=Capacity(), seconds=60.0)
    assert all(isinstance(one, Reply) for one in outcome)
    assert asker.meter.errors["rate_limited"] > 0
    assert asker.gate.opened_at == 0, "there was no pause for all"


def test_retry_after_for_all_holds_all_back(server: Loopback) -> None:
    server.delay = 0.01
    until: list[float] = []

    def full(call: Call) -> Answer | None:
        if call.number < 20:
            return None
        until.append(time.monotonic() + 0.1)
        refused = Answer(status=429, headers={"Retry-After": "0.2"})
        return refused if time.monotonic() < until[0] else None

    server.fault = full
    asker, outcome = ask(server, count=40, capacity=Capacity(), seconds=60.0)
    assert all(isinstance(one, Reply) for one in outcome)
    assert asker.gate.opened_at > 0


def test_the_pause_that_a_busy_server_asks_for_is_waited(server: Loopback) -> None:
    """Not less than it: a clock that sleeps never wakes early."""
    seen: list[float] = []

    def busy(call: Call) -> Answer | None:
        seen.append(time.monotonic())
        return Answer(503, headers={"Retry-After": "0.1"}) if 0 < call.number < 4 else None

    server.fault = busy
    _, outcome = ask(server, gate=1, count=2)
    assert all(isinstance(one, Reply) for one in outcome)
    _, *asked = seen
    assert [later - earlier >= 0.1 for earlier, later in pairwise(asked)] == [True] * 3


def test_no_more_requests_in_flight_than_allowed(server: Loopback) -> None:
    server.delay = 0.02
    _, outcome = ask(server, gate=3, count=20)
    assert all(isinstance(one, Reply) for one in outcome)
    assert server.most_in_flight == 3


def google_error(code: int, status: str, message: str, **detail: Any) -> Answer:
    """An error as Google writes it."""
    error = {"code": code, "message": message, "status": status, "details": ["odd", detail]}
    return Answer(status=code, raw=json.dumps({"error": error}).encode())


def test_the_delay_that_gemini_asks_for_is_kept(server: Loopback) -> None:
    server.fault = lambda call: google_error(429, "RESOURCE_EXHAUSTED", "q", retryDelay="12.5s")
    with pytest.raises(RateLimitedError) as caught:
        send(make_endpoint("gemini", server), PLAIN)
    assert caught.value.retry_after == 12.5


@pytest.mark.parametrize(
    ("message", "reason"),
    [("API key expired. Please renew the API key.", ""), ("Bad request", "API_KEY_INVALID")],
)
def test_a_key_that_gemini_refuses_with_400_is_refused(
    message: str, reason: str, server: Loopback
) -> None:
    server.fault = lambda call: google_error(400, "INVALID_ARGUMENT", message, reason=reason)
    with pytest.raises(KeyRefusedError):
        send(make_endpoint("gemini", server), PLAIN)


def test_429_outlasts_the_attempts_once_there_was_an_answer(server: Loopback) -> None:
    server.fault = lambda call: Answer(429) if 0 < call.number < 8 else None

    async def go() -> Asker:
        quicker = replace(QUICK, longest_pause=0.02)
        asker = Asker(lambda: make_endpoint("openai", server), Gate(1), quicker)
        await asker.ask(PLAIN)
        await asker.ask(PLAIN)
        await asker.close()
        return asker

    assert asyncio.run(go()).meter.retries == 7
    server.fault = lambda call: Answer(429)
    _, (outcome,) = ask(server)
    assert isinstance(outcome, RateLimitedError)
    assert outcome.attempts == 4, "an endpoint that never answered is not waited for"


def test_a_server_that_never_answered_does_not_set_the_pause(server: Loopback) -> None:
    server.fault = lambda call: Answer(503, headers={"Retry-After": "60"})
    _, (outcome,) = ask(server, seconds=30.0)  # in which such a pause is not begun
    assert isinstance(outcome, ServerFaultError)
    assert outcome.attempts == 4


def test_patience_begins_when_a_request_is_sent(server: Loopback) -> None:
    """The last of many has waited in the queue for longer than it may be tried."""
    server.delay = 0.02
    server.fault = lambda call: Answer(500) if call.number == 19 else None
    _, outcome = ask(server, gate=1, count=20, seconds=0.3)
    assert all(isinstance(one, Reply) for one in outcome)
    assert len(server.calls) == 21


def test_tokens_are_reserved_before_they_are_spent(server: Loopback) -> None:
    """Of the 60 that are there the first takes 50; what the others will take is not there yet."""
    server.fault = lambda call: Answer(patch={"usage": {"prompt_tokens": 50}})

    async def go() -> None:
        endpoint = make_endpoint("openai", server)
        asker = Asker(lambda: endpoint, Gate(4), tokens_per_minute=600)
        await asker.ask(PLAIN)
        others = [asyncio.create_task(asker.ask(PLAIN)) for _ in range(3)]
        await asyncio.wait(others, timeout=0.15)
        assert len(server.calls) == 1
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asker.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    "usage", [None, "x", [], {"prompt_tokens": "7", "completion_tokens": None}, {"a": 1}, 5]
)
def test_odd_usage_counts_nothing(usage: Any, server: Loopback) -> None:
    server.fault = lambda call: Answer(patch={"usage": usage})
    assert send(make_endpoint("openai", server), PLAIN).usage == Usage()


def test_an_error_in_a_200_is_an_error(server: Loopback) -> None:
    body = {"error": {"message": "slow down", "code": 429}}
    server.fault = lambda call: Answer(raw=json.dumps(body).encode())
    with pytest.raises(RateLimitedError, match="slow down"):
        send(make_endpoint("openai", server), PLAIN)


@pytest.mark.parametrize(
    "body",
    [
        b'["a", {"id": "b"}]',
        b'{"data": ["a", "b", 7]}',
        b'{"models": [{"name": "a"}, {"id": "b"}]}',
    ],
)
def test_lists_of_models_of_all_shapes(body: bytes, server: Loopback) -> None:
    server.paths["/v1/models"] = (200, body)
    assert asyncio.run(make_endpoint("openai", server).models()) == ["a", "b"]


@pytest.mark.parametrize("body", [b"<html>", b'{"data": "x"}', b"7", b'"x"', b"null", b"{}"])
def test_what_is_no_list_of_models_is_an_error(body: bytes, server: Loopback) -> None:
    server.paths["/v1/models"] = (200, body)
    with pytest.raises(ServerFaultError):
        asyncio.run(make_endpoint("openai", server).models())


def test_the_capacity_of_a_server_is_found(server: Loopback) -> None:
    """It says 429 to more than six at once: everything is answered, and six is where it ends."""
    server.delay = 0.05  # so that the client's own work is little beside it
    server.fault = lambda call: Answer(429) if server.in_flight > 6 else None
    capacity = Capacity()
    asker, outcome = ask(server, count=120, capacity=capacity, longest_pause=0.05)
    assert all(isinstance(one, Reply) for one in outcome)
    assert asker.gate.limit == capacity.limit <= 7
    assert server.most_in_flight <= 12
    assert asker.gate.most_in_flight > 4
