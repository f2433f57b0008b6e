# SPDX-License-Identifier: Apache-2.0
"""The two backends on the wire: proxies, authorities, connections kept, many at once."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from image_grounding.asking.asker import Asker
from image_grounding.asking.endpoints.connections import broken_call
from image_grounding.asking.limits import Gate
from image_grounding.errors import UnreachableError
from image_grounding.steps.question import Question
from support.certificates import self_signed
from support.wire import BACKENDS, COMPLETION, make_endpoint

ANSWER = json.dumps(COMPLETION).encode()


def head(length: int) -> bytes:
    lines = ("HTTP/1.1 200 OK", "content-type: application/json", f"content-length: {length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@dataclass
class Wire:
    """A server that keeps what it reads and writes ``answer``, once ``together`` have asked."""

    answer: bytes = head(len(ANSWER)) + ANSWER
    together: int = 1
    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                text = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = text.lower().partition("content-length:")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                self.heads.append(text)
                while len(self.heads) < self.together:
                    await asyncio.sleep(0.01)
                writer.write(self.answer)
                if self.answer != Wire.answer:  # nothing may follow a broken one
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Wire"]:
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=tls, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()


async def ask(backend: str, url: str, count: int = 1, at_once: int = 1) -> list[str]:
    asker = Asker(lambda: make_endpoint(backend, url), Gate(at_once))
    try:
        replies = await asyncio.gather(*(asker.ask(Question("look")) for _ in range(count)))
        return [reply.text for reply in replies]
    finally:
        await asker.close()


async def ask_once(backend: str, url: str) -> str:
    """Without the asker's second attempt."""
    endpoint = make_endpoint(backend, url)
    try:
        request = endpoint.request(Question("look"), None, endpoint.negotiation.terms)
        return (await endpoint.send(request)).text
    finally:
        await endpoint.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_connection_is_kept(backend: str) -> None:
    async def go() -> None:
        async with Wire().serving() as wire:
            assert await ask(backend, f"http://127.0.0.1:{wire.port}", 5) == ["yes"] * 5
            assert (wire.connections, len(wire.heads)) == (1, 5)

    asyncio.run(go())


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_many_connections_as_may_be_in_flight(backend: str) -> None:
    """The server answers nobody before all have asked; by default aiohttp stops at 100."""
    many = 130

    async def go() -> None:
        async with Wire(together=many).serving() as wire:
            await ask(backend, f"http://127.0.0.1:{wire.port}", many, many)
            assert wire.connections == many

    asyncio.run(go())


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_proxy_of_the_environment(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with Wire().serving() as wire:
            monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@127.0.0.1:{wire.port}")
            monkeypatch.setenv("http_proxy", f"http://me:pass@127.0.0.1:{wire.port}")
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert await ask(backend, "http://model.invalid") == ["yes"]
            assert wire.heads[0].startswith("POST http://model.invalid/v1")
            assert "proxy-authorization: basic bwu6cgfzcw==" in wire.heads[0].lower()
            monkeypatch.setenv("NO_PROXY", "model.invalid")
            monkeypatch.setenv("no_proxy", "model.invalid")
            with pytest.raises(UnreachableError, match="no such host"):
                await ask_once(backend, "http://model.invalid")

    asyncio.run(go())


@pytest.mark.parametrize("backend", BACKENDS)
def test_passwords_for_other_programs_stay(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password pass\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async def go() -> None:
        async with Wire().serving() as wire:
            await ask(backend, f"http://127.0.0.1:{wire.port}")
            assert "basic " not in wire.heads[0].lower()

    asyncio.run(go())


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_authority_of_ones_own(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)

    async def go() -> None:
        async with Wire().serving(tls) as wire:
            url = f"https://127.0.0.1:{wire.port}"
            with pytest.raises(UnreachableError, match="TLS certificate") as caught:
                await ask_once(backend, url)
            assert "SSL_CERT_FILE" in caught.value.remedy
            monkeypatch.setenv("SSL_CERT_FILE", str(path))
            assert await ask(backend, url, 2) == ["yes", "yes"], "the first one and one later"

    asyncio.run(go())


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "closed": b"",
    "closed in the body": head(len(ANSWER)) + ANSWER[:20],
    "closed in the head": head(len(ANSWER))[:20],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("answer", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_answer_is_a_dropped_connection(backend: str, answer: bytes) -> None:
    async def go() -> None:
        async with Wire(answer).serving() as wire:
            with pytest.raises(UnreachableError, match="failed or was dropped"):
                await ask_once(backend, f"http://127.0.0.1:{wire.port}")
            assert len(wire.heads) == 1, "the SDK retried behind our back"

    asyncio.run(go())


def connector_error(cause: OSError) -> aiohttp.ClientError:
    key = aiohttp.client_reqrep.ConnectionKey("refused.test", 80, False, True, None, None, None)
    error = aiohttp.ClientConnectorError(key, cause)
    error.__cause__ = cause
    return error


MIXED = OSError("Multiple exceptions: [Errno 99] Cannot assign, [Errno 111] Connect call failed")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: connector_error(MIXED), "nothing listens"),
        (lambda: connector_error(OSError(113, "No route to host")), "failed or was dropped"),
        (lambda: aiohttp.ServerDisconnectedError(), "failed or was dropped"),
        (lambda: aiohttp.ServerTimeoutError(), "no answer from http://refused.test within 5 s"),
        (lambda: TimeoutError(), "no answer from http://refused.test within 5 s"),
    ],
)
def test_what_broke_a_connection(make: Callable[[], BaseException], words: str) -> None:
    """Its cause, however an SDK wraps it; the words of an address mean nothing."""
    wrapped = RuntimeError("an SDK's")
    wrapped.__cause__ = make()
    assert words in str(broken_call(wrapped, "http://refused.test", 5))


def test_a_bug_is_no_broken_connection() -> None:
    assert broken_call(RuntimeError("an SDK's"), "http://refused.test", 5) is None
