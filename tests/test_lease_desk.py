# SPDX-License-Identifier: Apache-2.0
"""The law of a limit server, in simulated time: never passed, whenever it is killed."""

import asyncio
import random
from bisect import bisect_right

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_grounding.asking.lease_desk import HORIZON_S, Desk, Given, still_known
from image_grounding.asking.leases import LATEST_S, LEASE_S, SHARE, Flow
from image_grounding.errors import SharedLimitError
from support.simulated import simulate

# An answer that was on its way for longer is not used; a request takes some time to come, too.
ON_ITS_WAY_S, TO_ENDPOINT_S = 0.5, 0.4


class Server:
    """A desk that may be killed, at any moment, and is there again at once."""

    def __init__(self) -> None:
        self._asking: set[asyncio.Task[Given | None]] = set()
        self.kill()

    def kill(self) -> None:
        for task in self._asking:
            task.cancel()
        self.desk = Desk({}, asyncio.get_running_loop().time)

    async def lease(self, per_minute: float, units: float) -> Given | None:
        """A lease; None where the server was killed meanwhile."""
        task = asyncio.create_task(self.desk.lease("requests", per_minute, units, 0))
        self._asking.add(task)
        await asyncio.wait({task})
        self._asking.discard(task)
        return None if task.cancelled() else task.result()


async def use(
    server: Server, per_minute: float, seed: int, until: float, sent: list[float], *, busy: bool
) -> None:
    """Lease and send; a busy one always wants more, the others may be killed or idle."""
    draw, loop = random.Random(seed), asyncio.get_running_loop()
    gap = 60 / (per_minute * SHARE)
    while loop.time() < until:
        units = draw.randint(1, max(1, int(per_minute / 60 * LEASE_S)))
        way = draw.uniform(0, ON_ITS_WAY_S / 10 if busy else ON_ITS_WAY_S)
        there = draw.uniform(0, way)
        await asyncio.sleep(there)
        given = await server.lease(per_minute, units)
        await asyncio.sleep(way - there)
        if given is None or (not busy and draw.random() < 0.05):
            continue
        now = loop.time()
        slots = [now + given.in_s + n * gap for n in range(units)]
        for slot in slots:
            if slot >= now - LATEST_S:
                late = 0.0 if busy else draw.uniform(0, slot + LATEST_S - max(slot, now))
                sent.append(max(slot, now) + late + draw.uniform(0, TO_ENDPOINT_S))
        idle = 0.0 if busy else draw.choice([0, 0, 0, draw.uniform(0, 3), draw.uniform(0, 90)])
        await asyncio.sleep(max(slots[-1] - now, 0) + idle)


def sent_by(
    per_minute: float, processes: int, seed: int, minutes: float, kills: int, *, busy: bool
) -> list[float]:
    """When requests came to the endpoint, of processes that share a server."""
    sent: list[float] = []

    async def go() -> None:
        loop, draw, server = asyncio.get_running_loop(), random.Random(seed), Server()
        end = loop.time() + minutes * 60
        async with asyncio.TaskGroup() as group:
            for number in range(processes):
                group.create_task(
                    use(server, per_minute, seed * 100 + number, end, sent, busy=busy)
                )
            for _ in range(kills):
                await asyncio.sleep(draw.uniform(0, 2 * minutes * 60 / kills))
                server.kill()

    simulate(go())
    return sorted(sent)


def most_within(times: list[float], seconds: float) -> int:
    return max((n + 1 - bisect_right(times, t - seconds) for n, t in enumerate(times)), default=0)


@example(per_minute=1, processes=12, seed=0, kills=30)
@example(per_minute=7, processes=8, seed=0, kills=0)
@example(per_minute=600, processes=12, seed=1, kills=30)
@settings(max_examples=12)
@given(
    per_minute=st.sampled_from([1, 7, 60, 600]),
    processes=st.integers(1, 12),
    seed=st.integers(0, 1000),
    kills=st.integers(0, 30),
)
def test_no_minute_holds_more_than_the_quota(
    per_minute: int, processes: int, seed: int, kills: int
) -> None:
    """Whoever is killed when, runs or the server, and however late answers and requests come."""
    minutes = 10 if per_minute < 60 else 2
    times = sent_by(per_minute, processes, seed, minutes, kills, busy=False)
    assert times or kills  # at one a minute, a server has to live for one
    assert most_within(times, 60) <= per_minute


@pytest.mark.parametrize("processes", [1, 8, 100])
@pytest.mark.parametrize("per_minute", [6, 60, 1200])
def test_those_who_want_more_use_it_all(processes: int, per_minute: int) -> None:
    times = sent_by(per_minute, processes, 5, 4, 0, busy=True)
    within = [time for time in times if 1000 + 60 <= time < 1000 + 240]
    assert len(within) >= 0.97 * per_minute * 3 - 1


def test_a_restart_costs_a_second_and_gives_nothing_twice() -> None:
    kills = 10
    times = sent_by(600, 8, 3, 2, kills, busy=True)
    assert most_within(times, 60) <= 600
    assert len(times) >= (120 - kills * (HORIZON_S + 0.5)) * 600 * SHARE / 60


def test_who_comes_first_is_served_first_and_who_leaves_leaves_its_place() -> None:
    served: list[tuple[int, float]] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        desk, began = Desk({}, loop.time), loop.time()

        async def ask(number: int) -> None:
            given = await desk.lease("requests", 60 / SHARE, 1, 0)
            assert given
            assert given.held_s == pytest.approx(loop.time() - began, abs=1e-6)
            served.append((number, loop.time() + given.in_s - began))

        tasks = [asyncio.create_task(ask(number)) for number in range(5)]
        await asyncio.sleep(1.5)
        tasks[2].cancel()
        await asyncio.wait(tasks)

    simulate(go())
    assert [number for number, _ in served] == [0, 1, 3, 4]
    assert [moment for _, moment in served] == pytest.approx([1, 2, 3, 4])


def test_what_is_owed_is_paid_by_those_who_come_after() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        desk = Desk({}, loop.time)
        first = await desk.lease("tokens", 6000 / SHARE, 10, 50)  # half a second is gone
        assert first and first.in_s == pytest.approx(HORIZON_S + 0.5 - first.held_s)
        assert await desk.lease("tokens", 6000 / SHARE, 0, 100) == Given()
        second = await desk.lease("tokens", 6000 / SHARE, 10, 0)
        assert second and second.in_s + second.held_s == pytest.approx(first.in_s + 1.1)

    simulate(go())


def test_another_quota_of_a_name_while_it_is_in_use() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        desk = Desk({"requests": Flow(60, 0)}, loop.time)
        assert await desk.lease("requests", 120, 1, 0) == Given(kept=60)
        waiting = asyncio.create_task(desk.lease("requests", 60, 60, 0))
        await asyncio.sleep(61.1)  # nothing was given out meanwhile, but somebody waits
        assert await desk.lease("requests", 120, 1, 0) == Given(kept=60)
        waiting.cancel()
        await asyncio.sleep(1)
        assert [flow.per_minute for _, flow, _ in desk.flows()] == [60]
        given = await desk.lease("requests", 120, 1, 0)
        assert given and given.kept is None

    simulate(go())


def test_names_do_not_pile_up() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        desk = Desk({}, loop.time)
        for number in range(100):
            assert await desk.lease(f"n{number}", 6000, 1, 0)
        with pytest.raises(SharedLimitError, match="too many names"):
            await desk.lease("one more", 6000, 1, 0)
        await asyncio.sleep(100)
        assert await desk.lease("one more", 6000, 1, 0)
        assert len(list(desk.flows())) == 1

    simulate(go())


def test_a_desk_that_is_closed_gives_nothing() -> None:
    async def go() -> None:
        desk = Desk({}, asyncio.get_running_loop().time)
        waiting = asyncio.create_task(desk.lease("requests", 6, 1, 0))
        await asyncio.sleep(1)
        desk.close()
        assert await waiting is None

    simulate(go())


def test_what_a_state_still_says() -> None:
    flows = {"recent": Flow(60, 1000), "old": Flow(60, 900), "ahead": Flow(60, 5000)}
    assert still_known(flows, now=1065, late_s=10).keys() == {"recent", "ahead"}
