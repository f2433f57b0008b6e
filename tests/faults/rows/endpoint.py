# SPDX-License-Identifier: Apache-2.0
"""Faults of the endpoint: its statuses, its address, the times when it is away."""

import socket
import threading
from collections.abc import Callable
from functools import partial

from faults.fault import BOTH, OPENAI, Fault, Inject, Outcome, fails, goes_on, stops
from faults.injections import always, at, both, everything, given, once
from faults.stage import KEY, Stage
from support.http_answer import answer
from support.loopback import Answer, Call, Loopback

row = partial(Fault, "endpoint")
ONE = given("workflow.max_attempts=1")


def status(code: int, **headers: str) -> Answer:
    return Answer(status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})


def wire(*parts: bytes) -> Answer:
    """These bytes, then nothing."""
    return Answer(parts=lambda: parts)


def address(make: Callable[[Stage], str]) -> Inject:
    """The address of the spec."""

    def inject(stage: Stage) -> None:
        end = "/v1" if stage.backend == "openai" else ""
        stage.more.append(f"vlm.{stage.backend}.base_url={make(stage)}{end}")

    return inject


def away(seconds: float | None) -> Inject:
    """The server goes away, for so long or until it is mended."""

    def act(stage: Stage) -> None:
        stage.server.go_down()
        if seconds is not None:
            threading.Timer(seconds, stage.server.come_back).start()

    return act


def redirected(code: int) -> Inject:
    """To another server, which must not be asked anything."""

    def inject(stage: Stage) -> None:
        stranger = stage.keep("stranger", Loopback())
        stage.strangers.append(stranger)
        there = answer(status=code, location=f"{stranger.base_url}/chat/completions?key={KEY}")
        everything(wire(there))(stage)

    return inject


def refused(parameter: str) -> Inject:
    """A 400 wherever a request holds a parameter."""

    def inject(stage: Stage) -> None:
        words = f"Unsupported parameter: '{parameter}' is not supported with this model."
        stage.server.refused[parameter] = words

    return inject


def from_then(number: int, given_answer: Answer) -> Inject:
    """From the ``number``-th request on."""

    def inject(stage: Stage) -> None:
        def rule(call: Call) -> Answer | None:
            return given_answer if stage.asked > number else None

        stage.rules.append(rule)

    return inject


def many(count: int) -> Inject:
    """So many more samples."""

    def inject(stage: Stage) -> None:
        for number in range(count):
            stage.add({"caption": f"a red rectangle {number}"})

    return inject


def wrong_convention(stage: Stage) -> None:
    stage.server.model.convention = "norm1000_yxyx"


def see_again(stage: Stage) -> None:
    stage.server.model.convention = "norm1000_xyxy"
    stage.server.model.blind = False


def blind(stage: Stage) -> None:
    stage.server.model.blind = True


def closed_port(stage: Stage) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def proxy(url: str, where: str = "http://model.invalid") -> Inject:
    """A proxy in the environment."""
    return both(address(lambda stage: where), given(ALL_PROXY=url, HTTP_PROXY=url, NO_PROXY=""))


PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
OWN = {
    400: "rejected_request", 401: "key_refused", 402: "endpoint_unusable", 403: "key_refused",
    404: "unknown_model", 413: "rejected_request", 422: "rejected_request", 500: "server_fault",
}  # fmt: skip
FIRST = {
    400: "HTTP 400", 401: "the endpoint refused the key", 402: "wants to be paid first",
    403: "the endpoint refused the key", 404: "no such model or path", 407: "a proxy on the way",
    429: "rate limit reached", 500: "the endpoint failed", 503: "the endpoint failed",
}  # fmt: skip

# fmt: off
FAULTS = (
    *(row(f"HTTP {code} once", once(status(code)), goes_on("asked again"),
        BOTH if code in (429, 503) else OPENAI) for code in PASSING),
    *(row(f"HTTP {code} for one sample", both(ONE, always(status(code))), fails(reason),
        BOTH if code in (400, 403, 500) else OPENAI) for code, reason in OWN.items()),
    *(row(f"HTTP {code} from the first request on", both(ONE, everything(status(code))),
        stops(words), BOTH if code in (401, 404, 500) else OPENAI) for code, words in
        FIRST.items()),
    row("HTTP 402 after good answers, for everything", both(ONE, many(10), from_then(4,
        status(402))), Outcome(4, "the run stops after some samples in a row that failed so",
        "in a row", None)),
    row("HTTP 503 with Retry-After that is no time", once(status(503, retry_after="soon")),
        goes_on("asked again"), BOTH),
    row("HTTP 429 with Retry-After below zero", once(status(429, retry_after="-3600")),
        goes_on("asked again")),
    row("HTTP 429 with Retry-After in the past", once(status(429,
        retry_after="Sat, 01 Jan 2000 00:00:00 GMT")), goes_on("asked again")),
    *(row(f"a redirect to another host ({code})", redirected(code),
        stops("the endpoint redirects to"), BOTH if code in (302, 307) else OPENAI) for code
        in (301, 302, 303, 307, 308)),
    row("nothing listens", address(closed_port), stops("nothing listens there"), BOTH),
    row("no such host", address(lambda stage: "http://no-such-host.invalid"),
        stops("there is no such host")),
    row("TLS where the server speaks none", address(lambda stage:
        f"https://127.0.0.1:{stage.server.port}"), stops("TLS"), BOTH),
    row("an address without its API", address(lambda stage:
        f"{stage.server.gemini_url}/nowhere"), stops("no such API at"), BOTH),
    row("a model that it does not serve", given("vlm.openai.model_name=another"),
        stops("does not serve 'another'; it serves test-vlm")),
    row("a dead proxy", proxy("http://me:password@127.0.0.1:9"), stops("cannot reach the proxy"),
        BOTH),
    row("a SOCKS proxy", proxy("socks5://127.0.0.1:9"), stops("is none that speaks HTTP")),
    row("a model that does not see", blind, stops("this model does not see images"),
        mend=see_again),
    row("another box convention than the spec names", wrong_convention,
        stops("the spec says norm1000_xyxy"), mend=see_again),
    *(row(f"a server that refuses the parameter {name}", refused(name),
        goes_on("it is left out"), (backend,)) for name, backend in (("temperature", "openai"),
        ("response_format", "openai"), ("responseJsonSchema", "gemini"), ("mediaResolution",
        "gemini"))),
    row("it goes away in mid-run and comes back", at(2, away(0.5)), goes_on("the run waits")),
    row("it goes away in mid-run and stays away", both(given("workflow.max_outage=0.5"), at(2,
        away(None))), stops("longer than workflow.max_outage"), mend=lambda stage:
        stage.server.come_back()),
    row("HTTP 502 from mid-run on", both(given("workflow.max_outage=0.5"), from_then(2,
        status(502))), stops("longer than workflow.max_outage")),
    row("every connection is dropped", everything(Answer(drop=True)),
        stops("the connection failed or was dropped"), BOTH),
    row("a connection is dropped once", once(Answer(drop=True)), goes_on("asked again"), BOTH),
    row("the budget of requests is reached", given("workflow.max_requests=2"),
        stops("workflow.max_requests is reached", code=3)),
)
