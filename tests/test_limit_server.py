# SPDX-License-Identifier: Apache-2.0
"""limit_server.py and those who ask it: what is refused, and in which words."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from conftest import Project
from image_grounding.asking.lease_desk import HORIZON_S
from image_grounding.asking.lease_server import LeaseServer
from image_grounding.errors import SharedLimitError, SpecError
from image_grounding.spec import load_spec
from support.limits import LimitServer, limit_server
from support.loopback import Loopback
from support.scripts import run_script
from support.wire import Received, Wire, answer

Maker = Callable[..., Project]
TOKEN = "a-token-of-this-test-0123456789"
VARIABLE = "IMAGE_GROUNDING_LIMIT_TOKEN"
GOOD = {"name": "requests", "per_minute": 600, "units": 1}


@pytest.fixture(scope="module")
def limits() -> Iterator[LimitServer]:
    with limit_server() as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[LimitServer]:
    """One that wants a token, and shows it to nobody."""
    with limit_server(**{VARIABLE: f"{TOKEN}\n"}) as running:
        yield running
        running.process.send_signal(signal.SIGTERM)
        out, err = running.process.communicate()
        assert TOKEN not in out + err + json.dumps(running.said)


def ask(
    url: str, body: bytes | dict[str, Any], path: str = "/lease", method: str = "POST",
    **headers: str,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Status and JSON of what a server answers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    with contextlib.closing(connection):
        given = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request(method, path, given, headers)
        answered = connection.getresponse()
        return answered.status, json.loads(answered.read())


async def leased(url: str, patience: float = 120, per_minute: float = 600) -> float:
    """One lease, as a run has it; in how many seconds it may be used."""
    server = LeaseServer(url, lambda _: None, patience)
    try:
        due = await server.lease("requests", per_minute, 1)
        return due - time.monotonic()
    finally:
        await server.close()


def lease(url: str, **wanted: float) -> float:
    """The same, without anything else going on."""
    return asyncio.run(leased(url, **wanted))


# -- the server ----------------------------------------------------------------------------------


def test_leases_one_after_the_other(limits: LimitServer) -> None:
    wanted = {"name": "tokens", "per_minute": 60_000, "units": 100}
    began = time.monotonic()
    dues = []
    for _ in range(3):
        status, found = ask(limits.url, wanted)
        assert (status, found.keys()) == (200, {"in_s", "held_s"})
        dues.append(time.monotonic() - began + found["in_s"])
    assert dues[2] - dues[0] > 0.1  # of 0.2, and there are those moments for the way
    assert found["in_s"] <= HORIZON_S
    (flow,) = [flow for flow in limits.status()["flows"] if flow["name"] == "tokens"]
    assert flow["per_minute"] == 60_000
    assert 0 <= flow["ahead_s"] <= HORIZON_S


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"7", b"\xff", b"[" * 3000, b'{"name": "requests"}',
        {}, {**GOOD, "name": ""}, {**GOOD, "name": 7}, {**GOOD, "name": "a\nb"},
        {**GOOD, "name": "n" * 65}, {**GOOD, "name": ["requests"]},
        {**GOOD, "per_minute": 0}, {**GOOD, "per_minute": -1}, {**GOOD, "per_minute": "600"},
        {**GOOD, "per_minute": True}, {**GOOD, "per_minute": None},
        {**GOOD, "units": -1}, {**GOOD, "units": 1e300}, {**GOOD, "units": 10**250},
        {**GOOD, "units": [1]}, {**GOOD, "owed": -1}, {**GOOD, "owed": 1e9},
        {**GOOD, "per_minute": 5e-324}, {**GOOD, "per_minute": 0.01},
        b'{"name": "requests", "per_minute": NaN, "units": 1}',
        b'{"name": "requests", "per_minute": 600, "units": Infinity}',
        b'{"name": "requests", "per_minute": 1e999, "units": 1}',
        b'{"name": "requests", "per_minute": 600, "units": ' + b"9" * 2000 + b"}",
    ],
)  # fmt: skip
def test_what_asks_for_nothing_that_can_be(
    body: bytes | dict[str, Any], limits: LimitServer
) -> None:
    status, found = ask(limits.url, body)
    assert (status, found.keys()) == (400, {"error"})
    assert "Traceback" not in found["error"]


def test_a_body_that_is_too_large(limits: LimitServer) -> None:
    assert ask(limits.url, b" " * 100_000)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/", 404), ("GET", "/lease", 405), ("POST", "/status", 405),
     ("GET", "/../../etc/passwd", 404), ("DELETE", "/lease", 405)],
)  # fmt: skip
def test_other_paths(method: str, path: str, status: int, limits: LimitServer) -> None:
    assert ask(limits.url, b"", path, method)[0] == status


NO_HTTP = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"POST /lease HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /lease HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{",
    b"POST /lease HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 20_000 + b"\r\n\r\n",
)


def test_what_is_no_http_does_no_harm() -> None:
    with limit_server() as limits, contextlib.ExitStack() as stack:
        where = urlsplit(limits.url)
        wires = []
        for sent in NO_HTTP:
            wire = socket.create_connection((where.hostname, where.port or 0), timeout=30)
            wires.append(stack.enter_context(wire))
            wire.sendall(sent)
            wire.shutdown(socket.SHUT_WR)
        for wire in wires:
            while wire.recv(65536):
                pass
        assert ask(limits.url, GOOD)[0] == 200
        limits.process.send_signal(signal.SIGTERM)
        assert limits.process.wait() == 0
        assert limits.process.stderr.read() == ""


def test_who_goes_leaves_its_place() -> None:
    with limit_server() as limits:

        def waiting() -> list[int]:
            return [flow["waiting"] for flow in limits.status()["flows"]]

        where = urlsplit(limits.url)
        connection = http.client.HTTPConnection(where.netloc, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/lease", json.dumps({**GOOD, "units": 1000}))
            while waiting() != [1]:
                pass
        while waiting() != [0]:
            pass
        assert limits.status()["flows"][0]["ahead_s"] <= HORIZON_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_softly(number: signal.Signals) -> None:
    """Also while somebody waits, who is not kept waiting."""
    with limit_server() as limits:
        where = urlsplit(limits.url)
        connection = http.client.HTTPConnection(where.netloc, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/lease", json.dumps({**GOOD, "units": 1000}))
            while not limits.status()["flows"]:
                pass
            limits.process.send_signal(number)
            assert limits.process.wait() == 0
            with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
                assert connection.getresponse().status == 503
        assert limits.process.stderr.read() == ""


def test_who_has_no_token_is_refused(guarded: LimitServer) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
        for path, method in (("/lease", "POST"), ("/status", "GET"), ("/x", "GET")):
            assert ask(guarded.url, GOOD, path, method, **headers)[0] == 401
    assert ask(guarded.url, GOOD, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert guarded.said["token"] is True


def test_a_server_for_others_without_a_token_warns() -> None:
    for host, token, warns in (("0.0.0.0", "", True), ("0.0.0.0", TOKEN, False)):
        with limit_server("--host", host, **{VARIABLE: token}) as limits:
            limits.process.send_signal(signal.SIGTERM)
            _, err = limits.process.communicate()
            assert ("whoever reaches this address may use up the quota" in err) is warns


def test_where_it_cannot_listen(limits: LimitServer) -> None:
    port = str(urlsplit(limits.url).port)
    for options in (("--port", port), ("--host", "192.0.2.1"), ("--host", "no-such-host.invalid")):
        ran = run_script("limit_server.py", *options)
        assert (ran.code, ran.json["exit_code"]) == (2, 2)
        assert "cannot listen on" in ran.json["error"]


def test_a_token_that_cannot_be_sent() -> None:
    ran = run_script("limit_server.py", **{VARIABLE: f"{TOKEN}\nX: y"})
    assert ran.code == 2
    assert "cannot be sent" in ran.json["error"]
    assert TOKEN not in ran.out + ran.err


def test_a_state_keeps_what_runs_agreed_on(tmp_path: Path) -> None:
    state = tmp_path / "folder" / "state.json"
    with limit_server("--state", str(state)) as limits:
        assert ask(limits.url, GOOD)[0] == 200
        while '"requests"' not in state.read_text():
            pass
        second = run_script("limit_server.py", "--port", "0", "--state", str(state))
        assert second.code == 2
        assert "each server needs its own" in second.json["error"]
        limits.kill()
        limits.start_again()
        assert ask(limits.url, {**GOOD, "per_minute": 700})[1]["per_minute"] == 600
        status, found = ask(limits.url, GOOD)
        assert status == 200
        assert found["in_s"] + found["held_s"] > 0.1  # of a second, less what the answers took


def test_a_state_of_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("something else")
    ran = run_script("limit_server.py", "--port", "0", "--state", str(tmp_path / "precious"))
    assert ran.code == 2
    assert "no file of shared limits" in ran.json["error"]
    assert (tmp_path / "precious").read_text() == "something else"
    ran = run_script("limit_server.py", "--port", "0", "--state", str(tmp_path))
    assert ran.code == 2
    assert "Traceback" not in ran.err


# -- those who ask -------------------------------------------------------------------------------


def test_a_lease_counts_from_its_answer() -> None:
    """However long it was on its way, it is never early."""

    def late(_: Received) -> bytes:
        time.sleep(0.2)
        return answer({"in_s": 0.3, "held_s": 0.0})

    with Wire(late) as wire:
        began = time.monotonic()
        ahead = lease(wire.url)
        assert ahead <= 0.3
        assert time.monotonic() - began + ahead >= 0.5
    (asked,) = wire.received
    assert json.loads(asked.body) == {**GOOD, "owed": 0.0}
    assert asked.head.startswith("POST /lease ")


def test_a_lease_that_was_too_long_on_its_way_is_not_used() -> None:
    def late(_: Received) -> bytes:
        time.sleep(0.52)
        first = len(wire.received) == 1
        return answer({"in_s": 5.0 if first else 0.25, "held_s": 0.0 if first else 0.52})

    with Wire(late) as wire:
        assert lease(wire.url) <= 0.25
    assert len(wire.received) == 2


@pytest.mark.parametrize(
    ("respond", "words", "remedy"),
    [
        (answer("<html>Welcome</html>", kind="text/html"), "is no limit server (HTTP 200)", "pri"),
        (answer("Not Found", 404, kind="text/plain"), "is no limit server (HTTP 404)", "prints"),
        (answer("", 302, location="http://u:secret@h/"), "no limit server (HTTP 302)", "prints"),
        (answer({"in_s": "soon", "held_s": 0}), "is no limit server", "without /lease"),
        (answer({"in_s": 1e6, "held_s": 0}), "is no limit server", "without /lease"),
        (answer(b"[" * 60_000), "is no limit server", "without /lease"),
        (answer(b" " * 100_000), "is no limit server", "without /lease"),
        (answer({"error": "x"}, 403), "is no limit server (HTTP 403)", "prints"),
        (answer({"error": "x"}, 401), "wants a token", "set IMAGE_GROUNDING_LIMIT_TOKEN"),
        (answer({"error": "no\nsuch"}, 400), "gives no such lease: no such", "same limits"),
        (answer({"error": "x", "per_minute": 60}, 409), "keep to 60 requests a minute in http", ""),
        (answer({"error": "x", "per_minute": "60"}, 409), "is no limit server (HTTP 409)", ""),
    ],
)  # fmt: skip
def test_what_gives_no_leases_ends_it_at_once(respond: bytes, words: str, remedy: str) -> None:
    with Wire(lambda _: respond) as wire:
        with pytest.raises(SharedLimitError) as raised:
            lease(wire.url)
        assert words in str(raised.value)
        assert wire.url in str(raised.value)
        assert "secret" not in str(raised.value)
        assert remedy in raised.value.remedy
        assert len(wire.received) == 1


def test_a_token_is_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {TOKEN}\n")
    with Wire(lambda _: answer({"error": "x"}, 401)) as wire:
        with pytest.raises(SharedLimitError, match="refuses the token") as raised:
            lease(wire.url)
        assert f"Authorization: Bearer {TOKEN}\r\n" in wire.received[0].head + "\r\n"
        assert TOKEN not in f"{raised.value} {raised.value.remedy}"
    monkeypatch.setenv(VARIABLE, f"{TOKEN}\nX: y")
    with pytest.raises(SharedLimitError, match="cannot be sent") as raised:
        lease(wire.url)
    assert TOKEN not in str(raised.value)


def test_servers_that_are_away_are_waited_for() -> None:
    """By several, so that they wait at the same time."""
    seen: Counter[int] = Counter()

    async def go(status: int) -> float:
        def respond(_: Received) -> bytes:
            seen[status] += 1
            if seen[status] < 3:
                return answer("away", status, kind="text/html")
            return answer({"in_s": 0.0, "held_s": 0.0})

        with Wire(respond) as wire:
            return await leased(wire.url)

    async def all_of(*statuses: int) -> list[float]:
        return await asyncio.gather(*(go(status) for status in statuses))

    assert max(asyncio.run(all_of(502, 503, 429))) <= 0
    assert seen == {502: 3, 503: 3, 429: 3}


def test_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SharedLimitError) as raised:
        lease(f"http://127.0.0.1:{port}", patience=0.5)
    assert "no lease from the limit server" in str(raised.value)
    assert "nothing listens there" in str(raised.value)
    assert "start limit_server.py again" in raised.value.remedy


def test_runs_must_agree(limits: LimitServer) -> None:
    ask(limits.url, {**GOOD, "name": "requests"})
    with pytest.raises(SharedLimitError, match=r"keep to 600 requests .* keep to 60$"):
        lease(limits.url, per_minute=60)


def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://user:secret@127.0.0.1:1")
    with pytest.raises(SharedLimitError, match=r"cannot be used: .* speaks HTTP") as raised:
        lease("http://limits.example.com:8471")
    assert "secret" not in str(raised.value)


# -- specs and runs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shared",
    ["http://host:8471", "https://limits.example.com/of/team", "http://[::1]:8471", "a/path"],
)
def test_specs_name_a_path_or_an_address(shared: str) -> None:
    given = ["results_dir=x", "data.input_jsonl=y", "workflow.requests_per_minute=60"]
    spec = load_spec(None, [*given, f'workflow.shared_limit="{shared}"'])
    assert spec.workflow.shared_limit == shared


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        ("ftp://host/limit", "must be a path"),
        ("http://", "must be a path"),
        ("http://host:0", "must be a path"),
        ("http://user:secret@host:8471", "without user and password"),
        ("http://secret@host", "without user and password"),
        ("http://host:8471?token=secret", "without a query"),
        ("http://host:8471/#secret", "without a query"),
    ],
)
def test_addresses_that_cannot_be(shared: str, words: str) -> None:
    given = ["results_dir=x", "data.input_jsonl=y", "workflow.requests_per_minute=60"]
    with pytest.raises(SpecError, match=words) as raised:
        load_spec(None, [*given, f'workflow.shared_limit="{shared}"'])
    assert "secret" not in str(raised.value)


def test_a_run_without_the_token(
    guarded: LimitServer, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    shared = ("workflow.requests_per_minute=600", f"workflow.shared_limit={guarded.url}")
    ran = project.run(server, *shared, **{VARIABLE: "wrong-token-0123456789"})
    assert (ran.code, ran.json["stopped_by"]) == (2, "shared_limit")
    assert "refuses the token" in ran.json["error"]
    assert project.failures("0") == project.failures("1") == []
    ran = project.run(server, *shared, **{VARIABLE: TOKEN})
    assert ran.code == 0
    assert len(project.annotations()) == 1
    kept = b"".join(path.read_bytes() for path in project.results.rglob("*") if path.is_file())
    assert b"wrong-token" not in kept and TOKEN.encode() not in kept
