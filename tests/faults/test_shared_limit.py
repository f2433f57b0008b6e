# SPDX-License-Identifier: Apache-2.0
"""One quota for several runs: never passed, nearly all of it used, whoever is killed."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import Project
from image_grounding.asking.leases import BACK_S, LATEST_S, LEASE_S, SHARE, Flow, LeaseFile
from image_grounding.asking.rates import SharedRate
from image_grounding.errors import SharedLimitError, SpecError
from image_grounding.spec import load_spec
from support.loopback import Answer, Call, Loopback
from support.scripts import SCRIPTS, clean_environment

Maker = Callable[..., Project]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def most_within(times: list[float], seconds: float) -> int:
    """The most of some moments, in order, that are within so many seconds."""
    return max(n + 1 - bisect_right(times, t - seconds) for n, t in enumerate(times))


# -- the law, by a clock that is set -------------------------------------------------------------


@example(per_minute=1, processes=12, seed=0)  # who waits longest waits for twelve minutes
@settings(max_examples=15)
@given(
    per_minute=st.sampled_from([1, 7, 60, 600, 6000]),
    processes=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_no_minute_holds_more_than_the_quota(per_minute: int, processes: int, seed: int) -> None:
    """Whatever is leased when, by whom, sent how late, and lost with whoever is killed."""
    draw, clock = random.Random(seed), Clock()
    flow = Flow(per_minute, clock.now)
    sent: list[float] = []
    until = [clock.now] * processes
    for _ in range(250):
        who = min(range(processes), key=lambda n: until[n])
        idle = draw.choice([0, 0, 0, draw.uniform(0, 3), draw.uniform(0, 90)])
        clock.now = max(clock.now, until[who] + idle)
        units = draw.randint(1, max(1, int(per_minute / 60 * LEASE_S)))
        start = flow.lease(units, clock.now)
        slots = [start + n * 60 / (per_minute * SHARE) for n in range(units)]
        until[who] = max(clock.now, slots[-1])
        if draw.random() > 0.05:  # else it is killed
            usable = [max(slot, clock.now) for slot in slots if slot >= clock.now - LATEST_S]
            sent += [slot + draw.uniform(0, LATEST_S) for slot in usable]
    assert most_within(sorted(sent), 60) <= per_minute


@pytest.mark.parametrize("processes", [1, 8])
@pytest.mark.parametrize("killed", [False, True])
def test_those_who_want_more_use_it_all(processes: int, killed: bool, tmp_path: Path) -> None:
    """At most a tenth of a second is lost with one that is killed."""
    clock, per_minute = Clock(), 1200
    files = [LeaseFile(tmp_path / "limit", clock) for _ in range(processes)]
    begin, sent = clock.now, 0
    free = [clock.now] * processes
    for turn in range(240):
        who = min(range(processes), key=lambda n: free[n])
        clock.now = max(clock.now, free[who])
        ahead = files[who].lease_now("requests", per_minute, 2)
        free[who] = clock.now + ahead + 2 * 60 / (per_minute * SHARE)
        if not (killed and turn % 60 == 7):
            sent += 2
    lost = 4 * 2 if killed else 0
    elapsed = max(free) - begin
    assert sent >= 0.979 * per_minute / 60 * elapsed - lost
    assert sent <= per_minute / 60 * elapsed


def test_what_nobody_used_is_gone(tmp_path: Path) -> None:
    """After a pause there is no burst, and what is given out late has time for its way."""
    assert BACK_S < LATEST_S
    clock = Clock()
    leases = LeaseFile(tmp_path / "limit", clock)
    assert leases.lease_now("requests", 60, 1) == 0
    clock.now += 1000
    assert [leases.lease_now("requests", 60, 1) for _ in range(3)] == pytest.approx(
        [-BACK_S, 1 / SHARE - BACK_S, 2 / SHARE - BACK_S]
    )


def test_limits_have_names(tmp_path: Path) -> None:
    leases = LeaseFile(tmp_path / "folder" / "limit", Clock())
    assert leases.lease_now("tokens", 1000, 500) == 0
    assert leases.lease_now("requests", 10, 1) == 0
    assert leases.lease_now("tokens", 1000, 500) == pytest.approx(30 / SHARE)


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    clock = Clock()
    leases = LeaseFile(tmp_path / "limit", clock)
    leases.lease_now("requests", 60, 5)
    clock.now -= 3600
    assert leases.lease_now("requests", 60, 1) == 0


def test_runs_must_agree_on_the_quota(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (LeaseFile(tmp_path / "limit", clock) for _ in range(2))
    first.lease_now("requests", 60, 1)
    with pytest.raises(SharedLimitError, match=r"keep to 60 requests a minute in .*to keep to 120"):
        second.lease_now("requests", 120, 1)
    clock.now += 120  # nobody else is there any more
    assert second.lease_now("requests", 120, 1) == 0
    with pytest.raises(SharedLimitError, match="keep to 120"):
        first.lease_now("requests", 60, 1)


@pytest.mark.parametrize(
    "content",
    [b"not JSON", b"[]", b'{"flows": []}', b'{"flows": {"requests": {}}}', b"\xff\xfe", b"{}",
     b'{"flows": {"requests": {"per_minute": 0, "next": 1}}}', b"[" * 100_000],
)  # fmt: skip
def test_a_file_of_something_else_stays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(SharedLimitError, match="no file of shared limits"):
        LeaseFile(path).lease_now("requests", 60, 1)
    assert path.read_bytes() == content


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "limit").touch()
    assert LeaseFile(tmp_path / "limit", Clock()).lease_now("requests", 60, 1) == 0


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SharedLimitError, match="cannot write"):
        LeaseFile(tmp_path / "file" / "limit").lease_now("requests", 60, 1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SharedLimitError, match="folder"):
        LeaseFile(tmp_path / "folder").lease_now("requests", 60, 1)


# -- takers --------------------------------------------------------------------------------------


async def sent_by(rates: list[SharedRate], each: int, units: float = 1) -> list[float]:
    """When takers got what they wanted, so many at each rate; then the rates are closed."""
    times: list[float] = []

    async def take(rate: SharedRate) -> None:
        await rate.take(units)
        times.append(time.monotonic())

    await asyncio.gather(*(take(rate) for rate in rates for _ in range(each)))
    for rate in rates:
        await rate.close()
    return sorted(times)


def test_takers_of_several_rates_keep_to_one(tmp_path: Path) -> None:
    rates = [SharedRate("requests", 12_000, LeaseFile(tmp_path / "limit")) for _ in range(3)]
    times = asyncio.run(sent_by(rates, 30))
    assert len(times) == 90
    assert times[-1] - times[0] >= 89 / 200 - 2 * LATEST_S
    assert times[-1] - times[0] >= 0.2


def test_large_units_and_what_is_owed(tmp_path: Path) -> None:
    """Tokens: a request may take more than a lease is usually for, and cost more than it took."""
    leases = LeaseFile(tmp_path / "limit")

    async def go() -> float:
        rate = SharedRate("tokens", 600_000, leases)
        began = time.monotonic()
        await rate.take(3000)
        rate.spend(1000)
        await rate.take(1000)
        await rate.take(0)
        rate.spend(-500)
        await rate.take(100)
        rate.spend(900)
        await rate.close()
        return time.monotonic() - began

    seconds = asyncio.run(go())
    assert seconds >= 4000 / 10_000 - LATEST_S
    book = json.loads((tmp_path / "limit").read_text())["flows"]["tokens"]
    # 3000, 1000 that were owed, 1000; then 400 less than nothing; then 900 - 400 when it closed.
    expected = (3000 + 2000 + 500) / (600_000 * SHARE / 60)
    assert book["next"] - time.time() + seconds <= expected + 0.05


def test_takers_that_are_cancelled_hold_nobody_up(tmp_path: Path) -> None:
    async def go() -> int:
        rate = SharedRate("requests", 60_000, LeaseFile(tmp_path / "limit"))
        tasks = [asyncio.create_task(rate.take(1)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await rate.close()
        return sum(one is None for one in done)

    assert asyncio.run(go()) == 20


def test_all_takers_hear_of_an_error(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("something else")

    async def go() -> list[object]:
        rate = SharedRate("requests", 60, LeaseFile(tmp_path / "limit"))
        return await asyncio.gather(*(rate.take(1) for _ in range(3)), return_exceptions=True)

    assert [type(one) for one in asyncio.run(go())] == [SharedLimitError] * 3


# -- processes -----------------------------------------------------------------------------------

_HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from image_grounding.asking.leases import LeaseFile
leases = LeaseFile(Path(sys.argv[2]))
leases.lease_now("requests", 60, 1)
with leases._lock:
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of ``limit``."""
    command = [sys.executable, "-c", _HOLDER, str(SCRIPTS), str(tmp_path / "limit")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_that_is_killed_locks_nobody_out(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    leases = LeaseFile(tmp_path / "limit")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leases.lease_now, "requests", 60, 1)
        time.sleep(0.05)
        assert not waiting.done()
        holder.kill()
        assert waiting.result(60) <= 1 / SHARE


def run_in(project: Project, server: Loopback, shard: str, *more: str) -> subprocess.Popen[bytes]:
    results = f"results_dir={project.folder / shard.replace('/', '-of-')}"
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / "run_pipeline.py"), "--shard", shard,
         *project.overrides(server, results, *more)],
        cwd="/", env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_runs_that_share_a_limit_keep_to_it_together(server: Loopback, make_project: Maker) -> None:
    """Also while one of them is killed."""
    project = make_project(12, size=(64, 48))
    came: list[float] = []

    def note(call: Call) -> Answer | None:
        came.append(time.monotonic())
        if call.number == 9:  # the first run has eight requests, so that the second is at work
            runs[1].kill()
        return None

    server.fault = note
    limit = ["workflow.requests_per_minute=1200", f"workflow.shared_limit={project.folder / 'q'}"]
    runs = [run_in(project, server, f"{number}/2", *limit) for number in (1, 2)]
    codes = []
    for run in runs:
        run.communicate(timeout=120)
        codes.append(run.returncode)
    assert codes == [0, -signal.SIGKILL]
    came.sort()
    assert len(came) >= 9
    # A second begins at a request; what was due before may come in it, late.
    assert most_within(came, 1.0) <= 20 * (1 + 2 * LATEST_S) + 2


def test_runs_that_disagree(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    shared = f"workflow.shared_limit={project.folder / 'q'}"
    assert project.run(server, "workflow.requests_per_minute=600", shared).code == 0
    again = ("workflow.requests_per_minute=300", "workflow.force_reprocess=true", shared)
    ran = project.run(server, *again)
    assert (ran.code, ran.json["stopped_by"]) == (2, "shared_limit")
    assert "other runs keep to 600 requests a minute" in ran.json["error"]
    assert "the same limits" in ran.json["remedy"]
    assert project.failures("0") == project.failures("1") == []
    assert len(project.annotations()) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "needs workflow.requests_per_minute or tokens_per_minute"),
        (("workflow.tokens_per_minute=1", "workflow.shared_limit=ftp://host:1"), "must be a path"),
    ],
)
def test_a_spec_that_cannot_be(more: tuple[str, ...], words: str) -> None:
    given = ["results_dir=x", "data.input_jsonl=y", "workflow.shared_limit=limit", *more]
    with pytest.raises(SpecError, match=words):
        load_spec(None, given)
