# SPDX-License-Identifier: Apache-2.0
"""What an endpoint sends is bounded, in bytes, in seconds and in depth, on every call."""

import asyncio
import json
import zlib
from collections.abc import Iterable
from functools import cache

import pytest

from image_grounding.asking.endpoints import readiness
from image_grounding.errors import EndpointTimeoutError, RejectedRequestError, ServerFaultError
from support.scripts import run_script
from support.wire import BACKENDS, CALLS, Received, Wire, answer, ask_once, good

MIB = 2**20
MOST = {"completion": 32, "list": 8}


@cache
def bomb(encoding: str, mib: int) -> bytes:
    """So many MiB of spaces, packed."""
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    return b"".join(packer.compress(b" " * MIB) for _ in range(mib)) + packer.flush()


def endless(request: Received) -> Iterable[bytes]:
    yield answer(length=10**12)
    part = b" " * MIB
    while True:
        yield part


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_body_without_end_is_not_read_on(backend: str, call: str) -> None:
    with Wire(endless) as wire:
        with pytest.raises(ServerFaultError, match=f"over {MOST[call]} MiB"):
            ask_once(backend, wire.url, call)
        assert wire.sent < (MOST[call] + 16) * MIB, "what the sockets hold in between is less"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_packed_body_counts_unpacked(backend: str, call: str, encoding: str) -> None:
    body = bomb(encoding, MOST[call] + 1)
    assert len(body) < MIB // 16
    packed = answer(body, content_encoding=encoding)
    with Wire(lambda request: packed) as wire, pytest.raises(ServerFaultError, match="MiB"):
        ask_once(backend, wire.url, call)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_body_is_read(backend: str) -> None:
    with Wire(lambda request: answer(b" " * MIB + answer_of(request))) as wire:
        assert ask_once(backend, wire.url) == "yes"


def answer_of(request: Received) -> bytes:

    return good(request).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_an_error_without_end_the_status_counts(backend: str) -> None:
    def refuse(request: Received) -> Iterable[bytes]:
        yield answer("too long", status=400, length=10**12)
        while True:
            yield b" " * MIB

    with Wire(refuse) as wire, pytest.raises(RejectedRequestError, match="HTTP 400: too long"):
        ask_once(backend, wire.url)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_has_one_deadline(backend: str, call: str, status: int) -> None:
    """Which no dripping puts off."""
    wire = Wire()

    def drip(request: Received) -> Iterable[bytes]:
        yield answer(status=status, length=10**6)
        yield from wire.drip()

    wire.respond = drip
    with wire, pytest.raises(EndpointTimeoutError, match=r"within 0\.3 s"):
        ask_once(backend, wire.url, call, timeout=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dripping_head_ends(backend: str) -> None:
    wire = Wire()

    def drip(request: Received) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nx: "
        yield from wire.drip(b"x")

    wire.respond = drip
    with wire, pytest.raises(EndpointTimeoutError):
        ask_once(backend, wire.url, timeout=0.3)


def test_a_dripping_readiness_path_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing; a real request will."""
    monkeypatch.setattr(readiness, "_TIMEOUT_S", 0.3)
    wire = Wire()

    def drip(request: Received) -> Iterable[bytes]:
        yield answer(length=10**6)
        yield from wire.drip()

    wire.respond = drip
    with wire:
        assert asyncio.run(readiness.kind_of_server(wire.url)) is None
        assert len(wire.received) == 1


def test_a_check_goes_on_without_a_list() -> None:
    wire = Wire()

    def drip(request: Received) -> bytes | Iterable[bytes]:
        if "models" not in request.head:
            return answer(status=402)
        return (part for parts in ([answer(length=10**6)], wire.drip()) for part in parts)

    wire.respond = drip
    with wire:
        arguments = ["--base-url", wire.url + "/v1", "--model", "m", "vlm.openai.timeout=1"]
        ran = run_script("check_endpoint.py", *arguments, timeout=30)
        assert ran.code == 4, ran.err
        assert "HTTP 402" in json.loads(ran.out)["error"]


# Too deep to be parsed, and too deep for what is done with it later.
DEPTHS = [("completion", depth) for depth in (100_000, 950, 900, 700)]
NESTED = {
    "arrays": lambda depth: b"[" * depth + b"]" * depth,
    "objects": lambda depth: b'{"a":' * depth + b"1" + b"}" * depth,
    "an error": lambda depth: b'{"error":{"code":' + b"[" * depth + b"]" * depth + b"}}",
    "a text": lambda depth: b'{"choices":[{"message":{"content":' + b"[" * depth + b"]" * depth
    + b'}}],"candidates":[{"content":{"parts":[{"text":' + b"[" * depth + b"]" * depth + b"}]}}]}",
}  # fmt: skip


@pytest.mark.parametrize(("call", "depth"), [("list", 100_000), *DEPTHS])
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_body_that_is_nested_deep_is_a_servers_fault(
    backend: str, kind: str, call: str, depth: int
) -> None:
    body = NESTED[kind](depth)
    with Wire(lambda request: answer(body)) as wire, pytest.raises(ServerFaultError):
        ask_once(backend, wire.url, call)


@pytest.mark.parametrize("depth", [100_000, 900])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nested_error_keeps_its_status(backend: str, depth: int) -> None:
    body = b'{"error":{"code":' + b"[" * depth + b"]" * depth + b"}}"
    nested = answer(body, status=400)
    with Wire(lambda request: nested) as wire, pytest.raises(RejectedRequestError, match="400"):
        ask_once(backend, wire.url)
