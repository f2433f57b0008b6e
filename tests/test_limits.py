# SPDX-License-Identifier: Apache-2.0
"""The gate for requests in flight, buckets for rates, the meter, negotiation."""

import asyncio
import time
from collections import deque

import pytest

from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.asking.endpoints.token_limit import lower_limit
from image_grounding.asking.limits import Bucket, Gate
from image_grounding.asking.meter import Meter
from image_grounding.errors import (
    EndpointError,
    RejectedRequestError,
    ServerFaultError,
    SpecError,
)
from image_grounding.spec import load_spec
from image_grounding.steps.question import Finish, Reply, Usage


async def crowd(gate: Gate, count: int) -> int:
    """Send so many through a gate; the most that were inside at once."""
    most = 0

    async def one() -> None:
        nonlocal most
        async with gate.slot():
            most = max(most, gate.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(count)))
    return most


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_a_gate_is_full_but_not_over_full(limit: int) -> None:
    gate = Gate(limit)
    assert asyncio.run(crowd(gate, 20)) == min(limit, 20)
    assert gate.in_flight == 0


def test_a_place_is_given_back_whatever_happens() -> None:
    gate = Gate(1)

    async def go() -> None:
        with pytest.raises(ValueError, match="inside"):
            async with gate.slot():
                raise ValueError("inside")
        held = asyncio.create_task(crowd(gate, 1))
        await held
        async with gate.slot():
            waiting = asyncio.create_task(crowd(gate, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert gate.in_flight == 1
        assert await crowd(gate, 3) == 1

    asyncio.run(go())


def test_a_place_held_by_someone_cancelled_goes_to_the_next() -> None:
    gate = Gate(1)

    async def hold() -> None:
        async with gate.slot():
            await asyncio.Event().wait()

    async def go() -> None:
        holder = asyncio.create_task(hold())
        await asyncio.sleep(0)
        others = asyncio.create_task(crowd(gate, 5))
        await asyncio.sleep(0)
        assert gate.in_flight == 1
        holder.cancel()
        assert await asyncio.wait_for(others, 10) == 1

    asyncio.run(go())


def test_a_limit_can_grow_and_shrink() -> None:
    gate = Gate(4)

    async def go() -> list[int]:
        found = [await crowd(gate, 10)]
        for limit in (2, 6):
            gate.set_limit(limit)
            found.append(await crowd(gate, 10))
        return found

    assert asyncio.run(go()) == [4, 2, 6]


def test_a_higher_limit_wakes_those_who_wait() -> None:
    gate = Gate(1)

    async def hold(inside: asyncio.Event) -> None:
        async with gate.slot():
            inside.set()
            await asyncio.Event().wait()

    async def go() -> None:
        events = [asyncio.Event() for _ in range(3)]
        holders = [asyncio.create_task(hold(event)) for event in events]
        await events[0].wait()
        gate.set_limit(3)
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in events)), 10)
        for holder in holders:
            holder.cancel()

    asyncio.run(go())
    assert gate.most_in_flight == 3


def test_nobody_starts_in_a_pause_and_all_do_after_it() -> None:
    gate = Gate(2)
    starts: list[float] = []

    async def one() -> None:
        async with gate.slot():
            starts.append(time.monotonic())

    async def go() -> None:
        gate.pause(0.05)
        gate.pause(0.01)  # a shorter one does not end the longer one
        await asyncio.gather(*(one() for _ in range(5)))

    asyncio.run(go())
    assert len(starts) == 5
    assert min(starts) >= gate.opened_at


def test_a_pause_lets_those_inside_finish() -> None:
    gate = Gate(1)

    async def go() -> list[str]:
        order = []
        async with gate.slot():
            gate.pause(0.02)
            order.append("inside")
        async with gate.slot():
            order.append("after")
        return order

    assert asyncio.run(go()) == ["inside", "after"]
    assert time.monotonic() >= gate.opened_at


def test_who_waits_in_a_place_is_not_in_flight() -> None:
    gate, let_go = Gate(2), asyncio.Event()

    async def wait() -> None:
        await let_go.wait()

    async def one() -> None:
        async with gate.slot(ready=wait):
            await asyncio.sleep(0)

    async def go() -> None:
        async with gate.slot():
            waiting = [asyncio.create_task(one()) for _ in range(2)]
            for _ in range(3):
                await asyncio.sleep(0)
            assert gate.in_flight == 1
            let_in = asyncio.create_task(crowd(gate, 1))
            await asyncio.sleep(0)
            assert not let_in.done(), "the place is kept"
            waiting[0].cancel()
            await asyncio.gather(waiting[0], return_exceptions=True)
            assert gate.in_flight == 1
        let_go.set()
        await asyncio.gather(waiting[1], let_in)
        assert gate.in_flight == 0
        assert await crowd(gate, 5) == 2, "no place is lost"

    asyncio.run(go())


def test_a_pause_that_begins_in_a_place_counts() -> None:
    """And what was due before it is due no more."""
    gate, asked = Gate(2), list[float]()

    async def ready() -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            gate.pause(0.03)

    async def go() -> None:
        async with gate.slot(ready=ready):
            assert time.monotonic() >= gate.opened_at

    asyncio.run(go())
    assert len(asked) == 2
    assert asked[1] >= gate.opened_at


def taken(bucket: Bucket, units: list[float]) -> list[int]:
    """The order in which takers get their units."""
    order: list[int] = []

    async def one(index: int, amount: float) -> None:
        await bucket.take(amount)
        order.append(index)

    async def go() -> None:
        await asyncio.gather(*(one(index, amount) for index, amount in enumerate(units)))

    asyncio.run(go())
    return order


def test_takers_are_served_in_their_order() -> None:
    assert taken(Bucket(60_000), [1] * 5 + [6000] + [50] * 5) == list(range(11))


def test_a_bucket_holds_a_tenth_of_a_minute() -> None:
    """What is in it is had at once; a unit more has to flow in first."""
    started = time.monotonic()
    assert taken(Bucket(6000), [1] * 600 + [5]) == list(range(601))
    assert time.monotonic() - started >= 4 / 100


def test_what_is_spent_is_waited_for() -> None:
    bucket = Bucket(60_000)
    bucket.spend(6000 + 50)
    started = time.monotonic()
    taken(bucket, [0])
    assert time.monotonic() - started >= 40 / 1000


def test_a_small_rate_still_lets_one_through() -> None:
    assert taken(Bucket(1), [1]) == [0]


def reply(latency: float, tokens: int = 10) -> Reply:
    return Reply("text", Finish.STOP, Usage(tokens, 1), latency)


def test_a_meter_counts() -> None:
    meter = Meter()
    assert meter.latency() is None
    for index in range(100):
        meter.count(reply(index / 100))
    assert (meter.input_tokens, meter.output_tokens) == (1000, 100)
    assert meter.latency() == {"p50_s": 0.495, "p95_s": 0.95}
    assert Meter(latencies=deque([2.0])).latency() == {"p50_s": 2, "p95_s": 2}


def test_a_meter_of_a_million_keeps_the_latest() -> None:
    meter = Meter()
    for index in range(10_500):
        meter.count(reply(float(index >= 500)))
    assert len(meter.latencies) == 10_000
    assert meter.latency() == {"p50_s": 1.0, "p95_s": 1.0}
    assert meter.input_tokens == 105_000


@pytest.mark.parametrize(
    ("price_in", "price_out", "cost"),
    [(None, None, None), (1.0, None, None), (None, 1.0, None), (0, 0, 0), (0.1, 0.4, 0.0006)],
)
def test_cost_is_unknown_without_both_prices(
    price_in: float | None, price_out: float | None, cost: float | None
) -> None:
    assert Meter(input_tokens=2000, output_tokens=1000).plain(price_in, price_out)["cost"] == cost


SETTINGS = ("temperature", "max_tokens", "schema", "thinking", "media_resolution")


def refusal(message: str, status: int = 400) -> EndpointError:
    kind = ServerFaultError if status >= 500 else RejectedRequestError
    return kind(message, status=status, server_text=message)


def request(*optional: str, limit: int = 4096) -> Request:
    return Request({}, frozenset(optional), limit, "a" if "schema" in optional else None)


# What the server says, what was sent, what is given up.
REFUSALS = [
    ("Unsupported value: 'temperature' does not support 0.3", ["temperature"], "temperature"),
    ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
     ["max_tokens"], "max_tokens"),
    ("Unrecognized request argument supplied: max_tokens", ["max_tokens"], "max_tokens"),
    ("{'type': 'extra_forbidden', 'loc': ['body', 'max_tokens'], 'msg': 'Extra inputs are not "
     "permitted', 'input': 4096}", ["max_tokens"], "max_tokens"),
    ('json: unknown field "max_tokens"', ["max_tokens"], "max_tokens"),
    ("use max_completion_tokens instead", ["max_tokens"], "max_tokens"),
    ("response_format: json_schema is not supported", ["schema", "temperature"], "schema"),
    ('Invalid JSON payload: Unknown name "responseJsonSchema"', ["schema"], "schema"),
    ("failed to parse grammar", ["schema"], "schema"),
    ("The specified constraint has too many states for serving", ["schema"], "schema"),
    ("invalid argument", ["schema", "temperature"], "schema"),  # a guess
    ("Thinking level MINIMAL is not supported", ["thinking"], "thinking"),
    ("Media resolution is not enabled for this model", ["media_resolution"], "media_resolution"),
    ("temperature must not be set", ["max_tokens"], None),
    ("The image is too large", ["temperature", "max_tokens"], None),
    ("", ["temperature"], None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "sent", "given_up"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_what_a_refusal_names_is_given_up(
    message: str, sent: list[str], given_up: str | None
) -> None:
    said: list[str] = []
    negotiation = Negotiation(say=said.append)
    asked = request(*sent)
    terms = negotiation.concession(refusal(message), asked, Terms())
    assert ([*terms.refused] if terms else []) == ([given_up] if given_up else [])
    assert not negotiation.supports(SETTINGS) and not said, "it is only tried so far"
    if terms:
        negotiation.answered(asked, terms)
        negotiation.answered(asked, terms)  # others that were under way together
        lost = [name for name, taken in negotiation.supports(SETTINGS).items() if not taken]
        assert (lost, len(said)) == ([given_up], 1)


@pytest.mark.parametrize(
    ("status", "last", "taken_before", "tried"),
    [
        (400, False, False, True),
        (422, False, False, True),
        (413, False, False, False),
        (400, False, True, False),
        (500, False, False, False),
        (500, True, False, True),
        (500, True, True, False),
        (503, True, False, False),
    ],
)
def test_a_refusal_that_names_nothing_may_be_for_the_schema(
    status: int, last: bool, taken_before: bool, tried: bool
) -> None:
    negotiation = Negotiation(say=lambda text: None)
    asked = request("schema")
    if taken_before:
        negotiation.answered(asked, Terms())
    terms = negotiation.concession(refusal("oh no", status), asked, Terms(), last=last)
    assert (terms is not None) is tried


def test_what_is_fixed_is_kept() -> None:
    negotiation = Negotiation(("schema",), lambda text: None)
    for message in ("response_format is not supported", "oh no"):
        assert negotiation.concession(refusal(message), request("schema"), Terms()) is None
    assert negotiation.terms.supports("schema")


CONTEXT = "This model's maximum context length is 4096 tokens. "
# The server's words, the limit that was sent; the lower limit, whether it holds for all.
LIMITS: list[tuple[str, int, tuple[int, bool] | None]] = [
    (CONTEXT + "However, you requested 4904 tokens (808 in the messages, 4096 in the completion). "
     "Please reduce the length of the messages or completion.", 4096, (3288, False)),
    ("'max_tokens' or 'max_completion_tokens' is too large: 4096. " + CONTEXT.strip(" .")
     + " and your request has 300 input tokens (4096 > 4096 - 300).", 4096, (3796, False)),
    (CONTEXT + "However, you requested about 5000 tokens (904 of text input, 4096 in the output).",
     4096, (3192, False)),
    (CONTEXT + "However, you requested 4096 output tokens and your prompt contains at least 1 "
     "input tokens, for a total of at least 4097 tokens.", 4096, (2048, True)),
    (CONTEXT + "However, you requested 1000 output tokens and your prompt contains at least 3097 "
     "input tokens.", 1000, (500, False)),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens and 2000 "
     "`max_new_tokens`", 2000, (1096, False)),
    (CONTEXT + "However, your messages resulted in 5000 tokens.", 1000, None),
    (CONTEXT + "However, your request has 5000 input tokens. Please reduce the length of the "
     "input messages.", 1000, None),
    (CONTEXT, 1000, None),
    ("the request exceeds the available context size, try increasing it", 1000, None),
    ("max_tokens is too large: 100000. This model supports at most 16384 completion tokens, "
     "whereas you provided 100000.", 100000, (16384, True)),
    ("Unable to submit request because it has a maxOutputTokens value of 100000 but the supported "
     "range is from 1 (inclusive) to 65537 (exclusive).", 100000, (65536, True)),
    ("max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for "
     "claude-3-5-sonnet-20241022", 100000, (8192, True)),
    ("`max_tokens` must be less than or equal to `8192`", 10000, (8192, True)),
    ("Invalid value for maxOutputTokens", 4096, (2048, True)),
    ("max_tokens must be positive", 100, None),
    ("the image is too large: 9000 x 100", 4096, None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "sent", "lower"), LIMITS, ids=[row[0][-60:] for row in LIMITS])
def test_the_token_limit_is_lowered_by_what_the_server_says(
    said: str, sent: int, lower: tuple[int, bool] | None
) -> None:
    found = lower_limit(said.lower(), sent)
    assert (found and (found.limit, found.for_all)) == lower
    assert lower_limit(said.lower(), 0) is None, "no limit was sent"
    again = lower_limit(said.lower(), sent, again=True)
    assert again is None or again.limit <= sent // 2


@pytest.mark.parametrize(
    "written", ["127.0.0.1:8471", "limits.example.com:8471", "host:80/lease", "[::1]:8471"]
)
def test_an_address_without_its_scheme_is_no_file(written: str) -> None:
    overrides = ["results_dir=r", "data.input_jsonl=i", "workflow.requests_per_minute=60"]
    with pytest.raises(SpecError, match="with http://"):
        load_spec(None, [*overrides, f"workflow.shared_limit='{written}'"])
    file = f"./{written.replace('/', '_')}"
    assert load_spec(None, [*overrides, f"workflow.shared_limit='{file}'"])
