# SPDX-License-Identifier: Apache-2.0
"""The gate for requests in flight, the buckets for rates, the meter. No clock is faked."""

import asyncio
import time
from collections import deque

import pytest

from image_grounding.endpoints import Finish, Reply, Usage
from image_grounding.endpoints.limits import Bucket, Gate
from image_grounding.endpoints.meter import Meter
from image_grounding.endpoints.negotiation import Negotiation


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
            gate.limit = limit
            found.append(await crowd(gate, 10))
        return found

    assert asyncio.run(go()) == [4, 2, 6]


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
    assert Meter(input_tokens=2000, output_tokens=1000).cost(price_in, price_out) == cost


# What the server says, what was sent, what is given up.
REFUSALS = [
    ("Unsupported value: 'temperature' does not support 0.3", ["temperature"], "temperature"),
    ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
     ["max_tokens", "token_limit"], "max_tokens"),
    ("max_tokens is too large: 9000. This model's maximum context length is 4096 tokens.",
     ["max_tokens", "token_limit"], "token_limit"),
    ("Invalid value for maxOutputTokens", ["token_limit"], "token_limit"),
    ("response_format: json_schema is not supported", ["schema", "temperature"], "schema"),
    ("Invalid JSON payload: Unknown name \"responseJsonSchema\"", ["schema"], "schema"),
    ("failed to parse grammar", ["schema"], "schema"),
    ("Thinking level MINIMAL is not supported", ["thinking"], "thinking"),
    ("Media resolution is not enabled for this model", ["media_resolution"], "media_resolution"),
    ("temperature must not be set", ["schema"], None),
    ("The image is too large", ["temperature", "schema", "token_limit"], None),
    ("", ["temperature"], None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "sent", "given_up"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_what_a_refusal_names_is_given_up(
    message: str, sent: list[str], given_up: str | None
) -> None:
    said: list[str] = []
    negotiation = Negotiation(say=said.append)
    assert negotiation.give_in(message, dict.fromkeys(sent, 0)) is (given_up is not None)
    assert [one.parameter for one in negotiation.report(sent) if not one.taken] == (
        [given_up] if given_up else []
    )
    assert len(said) == (given_up is not None)


def test_many_refusals_of_one_thing_count_once() -> None:
    """Requests that were under way together meet the same refusal: it is believed once."""
    said: list[str] = []
    negotiation = Negotiation(say=said.append)
    for _ in range(3):
        assert negotiation.give_in("no temperature please", {"temperature": 0})
    assert (negotiation.times_refused("temperature"), len(said)) == (1, 1)
    assert negotiation.give_in("no temperature please", {"temperature": 1})
    assert negotiation.times_refused("temperature") == 2


def test_what_is_fixed_is_kept() -> None:
    negotiation = Negotiation(("schema",), lambda text: None)
    assert not negotiation.give_in("response_format is not supported", {"schema": 0})
    assert negotiation.takes("schema")
