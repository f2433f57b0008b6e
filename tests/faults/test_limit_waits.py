# SPDX-License-Identifier: Apache-2.0
"""Limit servers and files that give no leases: what is waited for and shown, and what is not."""

import asyncio
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest

from conftest import Project, new_project
from image_grounding.asking.lease_server import LeaseServer
from image_grounding.asking.leases import LeaseFile
from image_grounding.errors import SharedLimitError
from support.certificates import self_signed
from support.limits import limit_server
from support.loopback import Loopback
from support.scripts import Ran, Started, run_script
from support.wire import Received, Wire, answer

Maker = Callable[..., Project]


WAITING = r"waiting for the limit server for \d+ s"


@dataclass(frozen=True)
class Waiting:
    """A run that waits for the limit server, until ``back`` is set."""

    project: Project
    run: Started
    back: threading.Event


@pytest.fixture(scope="module", autouse=True)
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    """It begins first: it says something only after some seconds."""
    project = new_project(tmp_path_factory.mktemp("waiting"), 1, (64, 48))
    back = threading.Event()

    def respond(_: Received) -> bytes:
        if len(wire.received) == 3:
            back.wait(60)
        there = answer({"in_s": 0.0, "held_s": 0.0})
        return there if back.is_set() else answer("away", 502, kind="text/html")

    with Loopback() as server, Wire(respond) as wire:
        shared = ("workflow.requests_per_minute=60000", f"workflow.shared_limit={wire.url}")
        run = project.start(server, *shared)
        yield Waiting(project, run, back)
        back.set()
        run.kill()


def status(project: Project) -> Ran:
    return run_script("status.py", str(project.results))


def endpoint_state(seen: Ran) -> str:
    return str(seen.json["endpoint"]["state"]) if seen.json["endpoint"] else ""


def test_https_to_a_server_of_plain_http_ends_a_run_at_once(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    with limit_server() as limits:
        url = limits.url.replace("http:", "https:")
        ran = project.run(
            server, "workflow.requests_per_minute=600", f"workflow.shared_limit={url}"
        )
    assert (ran.code, ran.json["stopped_by"]) == (2, "shared_limit")
    assert ran.json["error"].startswith(f"the limit server {url} cannot be used: ")
    assert "TLS" in ran.json["error"]
    assert "write http:// in workflow.shared_limit" in ran.json["remedy"]
    assert "waiting for the limit server" not in ran.err
    assert project.failures("0") == project.failures("1") == []


def test_a_lock_that_is_not_let_go_is_waited_for(tmp_path: Path) -> None:
    async def go() -> None:
        leases = LeaseFile(tmp_path / "limit")
        with filelock.FileLock(tmp_path / "limit.lock"):
            lease = asyncio.create_task(leases.lease("requests", 600, 1))
            while not leases.waiting:
                await asyncio.sleep(0.05)
            words = r"waiting for the lock of the shared limit file for \d+ s"
            assert re.fullmatch(words, leases.waiting)
        await lease
        assert leases.waiting == ""
        await leases.close()

    asyncio.run(go())


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def lease_of(handler: Handler, tls: ssl.SSLContext | None = None, patience: float = 120) -> None:
    """One lease at ``https://``, of a server that does with connections what ``handler`` does."""

    async def go() -> None:
        async with await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            leases = LeaseServer(f"https://127.0.0.1:{port}", lambda message: None, patience)
            try:
                await leases.lease("requests", 600, 1)
            finally:
                await leases.close()

    asyncio.run(go())


async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.close()


def test_a_certificate_that_nobody_trusts_ends_it_at_once(tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(self_signed(tmp_path))
    with pytest.raises(SharedLimitError, match=r"cannot be used: .* TLS certificate") as raised:
        lease_of(end, tls)
    assert "SSL_CERT_FILE" in raised.value.remedy


def test_a_handshake_that_is_cut_off_is_waited_for() -> None:
    """A proxy that ends, or begins, does that."""
    with pytest.raises(SharedLimitError, match=r"no lease from the limit server for 1 s"):
        lease_of(end, patience=0.6)


def test_a_run_that_waits_for_the_limit_server_says_so(waiting: Waiting) -> None:
    project, run = waiting.project, waiting.run
    while not re.search(rf"; {WAITING}$", run.stderr.readline()):
        assert run.poll() is None
    while not re.fullmatch(WAITING, endpoint_state(seen := status(project))):
        assert run.poll() is None
    assert re.search(rf"/s; {WAITING}$", seen.err.strip())
    waiting.back.set()
    run.communicate()
    assert run.returncode == 0
    assert endpoint_state(status(project)) == "answering"
