# SPDX-License-Identifier: Apache-2.0
"""One quota for several runs through a server: never passed, whoever is killed, the server too."""

import asyncio
import itertools
import json
import signal
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator

import pytest

from conftest import Project
from image_grounding.asking.lease_desk import HORIZON_S
from image_grounding.asking.lease_server import LeaseServer
from image_grounding.asking.leases import LATEST_S, SHARE
from image_grounding.asking.rates import SharedRate
from support.limits import LimitServer, limit_server
from support.loopback import Answer, Call, Loopback
from support.scripts import Started, start_script

Maker = Callable[..., Project]
# How late a request may come after its moment: an answer on its way, and what passes by.
LATE_S = 0.5 + LATEST_S


@pytest.fixture
def limits() -> Iterator[LimitServer]:
    with limit_server() as running:
        yield running


def most_over(times: list[float], a_second: float) -> float:
    """The most by which what came in any span of time passes what may."""
    times = sorted(times)
    return max(
        last - first + 1 - a_second * (times[last] - times[first] + LATE_S) - 1
        for first, last in itertools.combinations(range(len(times)), 2)
    )


def test_a_server_that_is_killed_gives_no_time_twice(limits: LimitServer) -> None:
    """At each kill a second of the quota is out, in the hands of those who wait for it."""
    a_second, kills = 50.0, 4
    sent: list[float] = []

    async def take(rate: SharedRate) -> None:
        while True:
            await rate.take(1)
            sent.append(time.monotonic())

    async def kill() -> None:
        for _ in range(kills):
            before = len(sent)
            while len(sent) < before + a_second * HORIZON_S:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(limits.kill)
            await asyncio.to_thread(limits.start_again)

    async def go() -> None:
        servers = [LeaseServer(limits.url, said.append) for _ in range(15)]
        rates = [SharedRate("requests", a_second * 60, server) for server in servers]
        takers = [asyncio.create_task(take(rate)) for rate in rates for _ in range(6)]
        await kill()
        for task in takers:
            task.cancel()
        for rate in rates:
            await rate.close()
        for server in servers:
            await server.close()

    said: list[str] = []
    asyncio.run(go())
    assert said and all(text.startswith("waiting for the limit server: ") for text in said)
    assert len(sent) >= kills * a_second * HORIZON_S
    assert most_over(sent, a_second * SHARE) <= 0


def test_many_who_ask_at_once(limits: LimitServer) -> None:
    """Each gets a piece of its own."""

    async def one() -> float:
        server = LeaseServer(limits.url, print)
        due = await server.lease("requests", 12_000, 1)
        await server.close()
        return due

    async def go() -> list[float]:
        return sorted(await asyncio.gather(*(one() for _ in range(200))))

    dues = asyncio.run(go())
    assert dues[-1] - dues[0] >= 199 / (200 * SHARE) - LATE_S
    assert most_over(dues, 200 * SHARE) <= 0


def test_who_waits_for_long_sees_that_the_server_is_there(limits: LimitServer) -> None:
    async def go() -> tuple[float, float]:
        server = LeaseServer(limits.url, print)
        began = time.monotonic()
        due = await server.lease("requests", 10, 1)
        await server.close()
        return due - began, time.monotonic() - began

    due, waited = asyncio.run(go())
    assert waited > 5  # so that there was a sign of life before the answer
    assert due >= 60 / (10 * SHARE) - 0.1


def start(project: Project, server: Loopback, shard: str, *more: str) -> Started:
    results = f"results_dir={project.folder / shard.replace('/', '-of-')}"
    overrides = project.overrides(server, results, *more)
    return start_script("run_pipeline.py", "--shard", shard, *overrides)


def test_runs_keep_to_one_quota_through_kills_of_both(
    server: Loopback, make_project: Maker, limits: LimitServer
) -> None:
    """One run is killed, and then the server, which comes back."""
    project = make_project(18, size=(64, 48))
    came: list[float] = []

    def note(call: Call) -> Answer | None:
        came.append(time.monotonic())
        if call.number == 7:
            runs[0].kill()
        if call.number == 12:
            limits.kill()
            limits.start_again()
        return None

    server.fault = note
    shared = ["workflow.requests_per_minute=600", f"workflow.shared_limit={limits.url}"]
    runs = [start(project, server, f"{number}/3", *shared) for number in (1, 2, 3)]
    codes = []
    for run in runs:
        out, _ = run.communicate(timeout=120)
        codes.append(run.returncode)
        assert run.returncode or json.loads(out)["counts"]["failed"] == 0
    assert codes == [-signal.SIGKILL, 0, 0]
    came.sort()
    assert len(came) >= 18
    # The endpoint notes a request when that has been on its way for a while.
    assert most_over(came, 10 * SHARE) <= 10 * 0.4
    most = max(n + 1 - bisect_right(came, moment - 60) for n, moment in enumerate(came))
    assert most <= 600


def test_a_run_outlasts_a_server_that_is_away(
    server: Loopback, make_project: Maker, limits: LimitServer
) -> None:
    project = make_project(6, size=(64, 48))

    def note(call: Call) -> Answer | None:
        if call.number == 3:
            limits.kill()
        return None

    server.fault = note
    shared = ["workflow.requests_per_minute=600", f"workflow.shared_limit={limits.url}"]
    run = start(project, server, "1/1", *shared)
    while "waiting for the limit server: cannot reach" not in (line := run.stderr.readline()):
        assert line, "it ended"
    limits.start_again()
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    assert json.loads(out)["counts"]["annotated"] == 6
