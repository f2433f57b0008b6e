# SPDX-License-Identifier: Apache-2.0
"""Both backends read the same answers, and say the same of those that cannot be read."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterable

import pytest

from image_grounding.errors import (
    EndpointError,
    KeyRefusedError,
    RejectedRequestError,
    ServerFaultError,
    SpecError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.spec import load_spec
from support.wire import BACKENDS, CALLS, COMPLETION, LIST, Received, Wire, answer, ask_once

KINDS = ["text/plain", "text/plain; charset=utf-8", "application/octet-stream", "", "odd"]


def body_for(request: Received) -> bytes:
    return json.dumps(LIST if request.asks_for_list else COMPLETION).encode()


@pytest.mark.parametrize("kind", [*KINDS, "application/json; charset=nonsense"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_json_is_read_whatever_its_type(backend: str, call: str, kind: str) -> None:
    with Wire(lambda request: answer(body_for(request), kind=kind)) as wire:
        assert ask_once(backend, wire.url, call) in ("yes", "m")


@pytest.mark.parametrize("kind", [*KINDS, "application/json"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_json_is_a_servers_fault(backend: str, call: str, kind: str) -> None:
    page = answer("<html>sign in</html>", kind=kind)
    with Wire(lambda request: page) as wire, pytest.raises(ServerFaultError):
        ask_once(backend, wire.url, call)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"no"', b"7", b"\xff\xfe", b"", b"<html>"])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_keeps_its_status_whatever_its_body(backend: str, kind: str, body: bytes) -> None:
    broken = answer(body, status=422, kind=kind)
    with Wire(lambda request: broken) as wire, pytest.raises(RejectedRequestError, match="422"):
        ask_once(backend, wire.url)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_packed_answer_is_unpacked(backend: str, encoding: str) -> None:
    def packed(request: Received) -> bytes:
        pack = gzip.compress if encoding == "gzip" else zlib.compress
        return answer(pack(body_for(request)), content_encoding=encoding)

    with Wire(packed) as wire:
        assert ask_once(backend, wire.url) == "yes"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_packed_answer_outlives_its_connection(backend: str) -> None:
    """It is still being unpacked when the server has closed."""

    def close(request: Received) -> Iterable[bytes]:
        body = gzip.compress(b" " * 4_000_000 + body_for(request))
        yield answer(body, content_encoding="gzip", connection="close")

    with Wire(close) as wire:
        assert ask_once(backend, wire.url) == "yes"


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
UNREADABLE: dict[str, list[bytes]] = {
    "bad gzip": [answer("{}", content_encoding="gzip")],
    "unknown packing": [answer("{}", content_encoding="br")],
    "bad chunk": [CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"],
    "bad second chunk": [CHUNKED + b"2\r\n{}\r\n", b"zz\r\n{}\r\n0\r\n\r\n"],
    "bad length": [CHUNKED.replace(b"transfer-encoding: chunked", b"content-length: -4")],
    "long header": [answer("{}", x="x" * 100_000)],
}


@pytest.mark.parametrize("parts", UNREADABLE.values(), ids=list(UNREADABLE))
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_broken_answer_is_no_broken_connection(backend: str, parts: list[bytes]) -> None:
    def respond(request: Received) -> Iterable[bytes]:
        for part in parts:
            yield part
            time.sleep(0.02)  # so that the next comes alone

    with Wire(respond) as wire, pytest.raises(ServerFaultError, match="cannot be read: it") as at:
        ask_once(backend, wire.url)
    assert "cannot reach" not in str(at.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_that_is_cut_short_is_a_broken_connection(backend: str) -> None:
    cut = CHUNKED + b"50\r\n{}"
    with Wire(lambda request: iter([cut])) as wire, pytest.raises(UnreachableError, match="drop"):
        ask_once(backend, wire.url)


@pytest.mark.parametrize(
    "key", ["secret-key\n", "secret\r\nx: y", "schlüssel", "\x00secret", "se\udcc3cret", "se\tcret"]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_that_no_header_carries(backend: str, key: str) -> None:
    with Wire() as wire:
        with pytest.raises(KeyRefusedError, match="line break or another character") as caught:
            ask_once(backend, wire.url, key=key)
        assert "on one line" in caught.value.remedy
        assert wire.received == []


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def name_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return lambda proxy: monkeypatch.setenv("ALL_PROXY", proxy)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dead_proxy_is_named(
    backend: str, scheme: str, name_proxy: Callable[[str], None]
) -> None:
    port = closed_port()
    name_proxy(f"http://me:password@127.0.0.1:{port}")
    with pytest.raises(UnreachableError) as caught:
        ask_once(backend, f"{scheme}://model.invalid")
    assert f"cannot reach the proxy http://127.0.0.1:{port}: " in str(caught.value)
    assert "nothing listens" in str(caught.value)
    assert "NO_PROXY" in caught.value.remedy
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 407, 502])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proxy_that_refuses_is_named(
    backend: str, status: int, name_proxy: Callable[[str], None]
) -> None:
    with Wire(lambda request: answer("no", status=status)) as wire:
        name_proxy(wire.url)
        with pytest.raises(EndpointError) as caught:
            ask_once(backend, "https://model.invalid")
        assert f"the proxy {wire.url} does not connect to https://model.invalid" in str(
            caught.value
        )
        assert f"HTTP {status}" in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://127.0.0.1:99999", "http://["])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proxy_that_cannot_be_used_ends_the_work(
    backend: str, proxy: str, name_proxy: Callable[[str], None]
) -> None:
    name_proxy(proxy)
    with pytest.raises(UnusableEndpointError, match="is none that speaks HTTP") as caught:
        ask_once(backend, "http://model.invalid")
    assert "ALL_PROXY" in caught.value.remedy


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proxy_that_wants_a_password(backend: str, name_proxy: Callable[[str], None]) -> None:
    with Wire(lambda request: answer("no", status=407)) as wire:
        name_proxy(wire.url)
        with pytest.raises(UnusableEndpointError, match="a proxy on the way wants a password"):
            ask_once(backend, "http://model.invalid")


@pytest.mark.parametrize("url", ["http://h:99999", "http://[", "h:8000", "ftp://h", "http://h:0"])
def test_an_address_of_the_environment_is_looked_at(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    given = ["results_dir=x", "data.input_jsonl=x", "vlm.backend=gemini"]
    with pytest.raises(SpecError, match="GOOGLE_GEMINI_BASE_URL must be an address such as"):
        load_spec(None, given)
    load_spec(None, [*given, "vlm.gemini.base_url=http://h"])
