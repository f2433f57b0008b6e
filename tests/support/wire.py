# SPDX-License-Identifier: Apache-2.0
"""A server on a raw socket, which writes any bytes at all, and both backends asking it."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from image_grounding.asking.endpoints.base import Endpoint
from image_grounding.asking.endpoints.gemini import GeminiEndpoint
from image_grounding.asking.endpoints.openai import OpenAIEndpoint
from image_grounding.boxes.frames import Frame
from image_grounding.images.encoding import EncodedImage
from image_grounding.spec import Gemini, OpenAI
from image_grounding.steps.question import Question
from support.http_answer import answer as answer

KEY = "secret-key-0123456789"
PROMPT = "look at this private caption"
PICTURE = EncodedImage(b"bytes of a picture", "image/png", Frame((9, 9), (9, 9)), {})
BACKENDS = ("openai", "gemini")
CALLS = ("completion", "list")
# Each of both protocols at once.
COMPLETION: dict[str, Any] = {
    "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
    "candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
}
LIST: dict[str, Any] = {"data": [{"id": "m"}], "models": [{"name": "models/m"}]}


@dataclass(frozen=True)
class Received:
    """A request: its first line and headers as they came, and its body."""

    head: str
    body: bytes

    @property
    def asks_for_list(self) -> bool:
        """Whether it is a GET."""
        return self.head.startswith("GET")


def good(request: Received) -> bytes:
    """What a server answers that does its work."""
    return answer(LIST if request.asks_for_list else COMPLETION)


@dataclass
class Wire:
    """``with Wire(respond) as wire``: writes what ``respond`` makes of each request.

    Attributes:
        respond: an answer, or its parts, each written once the one before was read.
        received: all requests.
        sent: bytes that were written.
    """

    respond: Callable[[Received], bytes | Iterable[bytes]] = good
    received: list[Received] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> "Wire":
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def drip(self, part: bytes = b" ") -> Iterable[bytes]:
        """The same part again and again, a tenth of a second apart, for as long as it serves."""
        while not self._ended.wait(0.1):
            yield part

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while request := _read(stream):
                self.received.append(request)
                response = self.respond(request)
                whole = isinstance(response, bytes)
                for part in [response] if isinstance(response, bytes) else response:
                    connection.sendall(part)
                    self.sent += len(part)
                if not whole:
                    return


def _read(stream: Any) -> Received | None:
    lines: list[bytes] = []
    while (line := stream.readline()).strip():
        lines.append(line)
    head = b"".join(lines).decode("latin-1")
    length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
    return Received(head, stream.read(int(length or 0))) if lines else None


def make_endpoint(backend: str, url: str, *, key: str = KEY, timeout: float = 20.0) -> Endpoint:
    """An endpoint of a backend at ``url``, an address without ``/v1``."""
    if backend == "gemini":
        settings = Gemini(
            api_key=key, model="m", media_resolution="MEDIA_RESOLUTION_LOW", temperature=None,
            max_output_tokens=9, timeout=timeout, base_url=url, thinking_level="low",
        )  # fmt: skip
        return GeminiEndpoint(settings)
    return OpenAIEndpoint(
        OpenAI(
            api_key=key, base_url=url + "/v1", model_name="m", temperature=None, max_tokens=9,
            timeout=timeout,
        )
    )  # fmt: skip


def ask_once(
    backend: str,
    url: str,
    call: str = "completion",
    *,
    key: str = KEY,
    timeout: float = 20.0,
) -> str:
    """A reply, or the first model that is listed, of one request without another attempt."""

    async def ask() -> str:
        endpoint = make_endpoint(backend, url, key=key, timeout=timeout)
        try:
            if call == "list":
                return (await endpoint.models())[0]
            request = endpoint.request(Question(PROMPT), PICTURE, endpoint.negotiation.terms)
            return (await endpoint.send(request)).text
        finally:
            await endpoint.close()

    return asyncio.run(ask())
