# SPDX-License-Identifier: Apache-2.0
"""The limit that is found: simulated endpoints on a clock of their own, nothing is waited for."""

from typing import Any

import pytest

from image_grounding.asking.capacity import Capacity
from image_grounding.errors import EndpointTimeoutError, RateLimitedError, ServerFaultError
from image_grounding.spec.model import MOST_WORKERS_FOUND
from support.endpoint_model import Simulation

# Requests of 2,000 records.
REQUESTS = 4000
LATENCY = 0.2


def steady(serves: int, **kind: Any) -> Simulation:
    """Against an endpoint that always serves so many, for as long as the requests last."""
    simulation = Simulation(lambda now: serves, latency=LATENCY, **kind)
    return simulation.run(REQUESTS * simulation.mean_latency / serves)


@pytest.mark.parametrize("serves", [4, 8, 64])
@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_a_capacity_is_used_from_the_begin(serves: int, jitter: float) -> None:
    ran = steady(serves, jitter=jitter)
    assert ran.share(0, ran.now) >= 0.9
    assert ran.refused_share < 0.01
    assert ran.capacity.why == f"refused above {serves}"


def test_a_large_capacity_is_found_within_two_seconds() -> None:
    ran = Simulation(lambda now: 256).run(12)
    assert ran.share(2, 12) >= 0.98
    assert ran.refused_share < 0.01


@pytest.mark.parametrize("serves", [8, 64])
def test_late_refusals_cut_no_deeper_than_early_ones(serves: int) -> None:
    ran = steady(serves, refusal=LATENCY)
    assert ran.share(2, ran.now) >= 0.98
    assert ran.capacity.limit in (serves, serves + 1)


@pytest.mark.parametrize("serves", [8, 64])
def test_slow_answers_are_not_taken_for_a_full_endpoint(serves: int) -> None:
    ran = steady(serves, slow=0.05)
    assert ran.share(0, ran.now) >= 0.85
    assert ran.capacity.limit >= serves
    assert ran.refused_share < 0.01


@pytest.mark.parametrize(
    ("serves", "retry_after"), [(8, 0.0), (8, 30.0), (32, 0.0), (32, 30.0), (200, 0.0)]
)
def test_a_capacity_that_changes_is_followed(serves: int, retry_after: float) -> None:
    """Halved after 8 s, whole again after 28 s; 0.85 of it within 15 s."""
    ran = Simulation(
        lambda now: serves // 2 if 8 <= now < 28 else serves, retry_after=retry_after
    ).run(60)
    assert ran.share(8, 28) >= 0.95
    assert ran.share(43, 60) >= 0.95
    assert min(ran.share(begin, begin + 2) for begin in range(43, 58)) >= 0.85
    assert ran.refused_share < 0.012


def test_refusals_of_everything_pause_all_until_they_end() -> None:
    ran = Simulation(lambda now: 0 if 5 <= now < 30 else 8, retry_after=4.0).run(60)
    during = [at for at in ran.refused if 6 <= at < 30]
    assert len(during) <= 25 / 4 + 1, "one request a pause"
    assert ran.share(38, 60) >= 0.95


@pytest.mark.parametrize("serves", [1, 3, 10, 40])
@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_an_endpoint_that_only_queues_is_not_flooded(serves: int, jitter: float) -> None:
    ran = Simulation(lambda now: serves, queues=True, jitter=jitter).run(90)
    assert ran.share(5, 90) >= 0.9
    assert ran.most() <= max(20, 4 * serves)
    assert ran.most(45) <= max(20, 2.5 * serves)
    assert ran.capacity.why.startswith(("no faster above", "rising"))


def test_an_endpoint_that_answers_too_late_is_asked_less() -> None:
    ran = Simulation(lambda now: 10, queues=True, patience=0.5).run(60)
    assert ran.share(10, 60) >= 0.95
    assert ran.most(20) <= 20


def test_the_limit_goes_no_further_than_it_may() -> None:
    ran = Simulation(lambda now: 5000).run(10)
    assert ran.most() == MOST_WORKERS_FOUND
    assert ran.capacity.why == "1024 is the most"


def test_each_refusal_takes_one_place() -> None:
    capacity = Capacity(start=32)
    refusal = RateLimitedError("429")
    assert [capacity.failed(refusal, 32, 0.0) for _ in range(3)] == [31, 30, 29]
    assert capacity.failed(ServerFaultError("a bug", status=500), 40, 0.0) == 29
    busy = ServerFaultError("busy", status=503)
    assert capacity.failed(busy, 10, 0.0) == 9, "no more than ten were in flight"
    assert capacity.why == "refused above 9"


def test_what_was_in_flight_together_and_is_late_halves_once() -> None:
    capacity = Capacity(start=8, clock=lambda: 10.0)
    late = EndpointTimeoutError("late")
    assert [capacity.failed(late, 8, 5.0) for _ in range(8)] == [7, 6, 5, 4, 4, 4, 4, 4]
    assert capacity.failed(late, 4, 11.0) == 3
    assert capacity.why == "not answered in time above 3"


def test_all_are_refused_once_as_many_as_were_in_flight_are() -> None:
    capacity = Capacity(start=4)
    seen = []
    for _ in range(4):
        capacity.failed(RateLimitedError("429"), 4, 0.0)
        seen.append(capacity.refuses_all)
    assert seen == [False, False, False, True]
    capacity.answered(1, 0.0)
    assert not capacity.refuses_all


def test_a_run_that_is_not_busy_learns_nothing() -> None:
    capacity = Capacity(clock=lambda: 1.0)
    assert {capacity.answered(1, 0.9) for _ in range(100)} == {4}
