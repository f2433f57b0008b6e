# SPDX-License-Identifier: Apache-2.0
"""A server on the loopback interface that speaks OpenAI's and Gemini's protocols.

It truly looks at the pictures (``support.model``); faults can be switched on by a function that
sees each request and may answer in its place.
"""

import base64
import contextlib
import json
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.model import Model, asks_for_boxes
from support.vision import look


@dataclass
class Call:
    """A request that asked the model something."""

    number: int
    protocol: str
    prompt: str
    image: bytes | None
    mime_type: str | None
    body: dict[str, Any]
    headers: dict[str, str]
    query: str = ""

    @property
    def is_probe(self) -> bool:
        """Whether it only tries the model out; see ``Loopback.probes``."""
        return bool(re.search('One plain colour fills|"the \\w+ rectangle"', self.prompt))

    @property
    def step(self) -> str:
        """The step it asks for; ``0+1`` for both, ``0s`` for several captions; "" for a probe."""
        if self.is_probe:
            return ""
        if asks_for_boxes(self.prompt) and "\nCAPTION: " in self.prompt:
            return "0+1"
        markers = {"\nCAPTION: ": "0", "\nCAPTIONS: ": "0s", "\nEXPRESSIONS: ": "1"}
        return next((step for marker, step in markers.items() if marker in self.prompt), "")


@dataclass
class Answer:
    """What to answer instead of what the model says.

    ``cut`` keeps that share of the model's text; ``text`` replaces it; ``raw`` is a whole body of
    the type ``kind``; ``parts`` makes the bytes that go to the socket, which is closed then;
    ``drop`` closes the connection, and so does ``wire`` when it has written what it likes.
    """

    status: int = 200
    message: str = "injected"
    headers: dict[str, str] = field(default_factory=dict)
    cut: float | None = None
    text: str | None = None
    raw: bytes | None = None
    kind: str | None = None
    parts: Callable[[], Iterable[bytes]] | None = None
    drop: bool = False
    wire: Callable[[socket.socket], None] | None = None
    finish: str | None = None
    patch: dict[str, Any] | None = None


Fault = Callable[[Call], Answer | None]


class Loopback:
    """The server. ``with Loopback() as server: server.base_url``."""

    def __init__(self, model: Model | None = None, *, key: str | None = None) -> None:
        self.model = model or Model()
        self.key = key
        self.names = ["test-vlm"]
        self.fault: Fault = lambda call: None
        self.refused: dict[str, str] = {}  # top-level parameter -> message of the 400
        self.paths: dict[str, tuple[int, bytes]] = {}
        self.delay = 0.0
        self.needs_image = False
        self.calls: list[Call] = []
        self.probes: list[Call] = []  # what tries the model out is not among the calls
        self.replies: list[tuple[Call, str]] = []  # what the model wrote, also in ``text``
        self.gets: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self._handler = type("Handler", (_Handler,), {"server_state": self})
        self._http = _Server(("127.0.0.1", 0), self._handler)
        self.port = self._http.server_address[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.gemini_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Loopback":
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self._http.socket.shutdown(socket.SHUT_RDWR)  # which wakes who waits for connections
        self._http.shutdown()
        self._http.server_close()

    def go_down(self) -> None:
        """End as a server that is killed: nothing listens, and open connections are reset."""
        self.__exit__()
        for connection in list(self._http.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self._http = _Server(("127.0.0.1", self.port), self._handler)
        self.__enter__()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server_state: Loopback

    def do_GET(self) -> None:
        state = self.server_state
        state.gets.append(self.path)
        if self.path in state.paths:
            status, body = state.paths[self.path]
            return self._send(status, body)
        if not self._key_is_right():
            return self._refuse_key()
        if self.path.partition("?")[0] == "/v1/models":
            names = [{"id": name, "object": "model"} for name in state.names]
            return self._send(200, {"object": "list", "data": names})
        if self.path.startswith("/v1beta/models"):
            names = [{"name": f"models/{name}"} for name in state.names]
            return self._send(200, {"models": names})
        return self._send(404, {"error": {"message": "Not Found", "code": 404}})

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with state.lock:
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
        try:
            if self.path in state.paths:
                status, raw = state.paths[self.path]
                return self._send(status, raw)
            if self.path.partition("?")[0] == "/v1/chat/completions":
                self._openai(body)
            elif self.path.startswith("/v1beta/models/"):
                self._gemini(body)
            else:
                self._send(404, {"error": {"message": f"no path {self.path}", "code": 404}})
        finally:
            with state.lock:
                state.in_flight -= 1

    def _openai(self, body: dict[str, Any]) -> None:
        state = self.server_state
        if not self._key_is_right():
            return self._refuse_key()
        if body["model"] not in state.names:
            message = f"The model `{body['model']}` does not exist."
            return self._send(404, {"error": {"message": message, "code": 404}})
        content = body["messages"][0]["content"]
        texts = [part["text"] for part in content if part["type"] == "text"]
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        mime, data = None, None
        if urls:
            head, _, encoded = urls[0].partition(",")
            mime, data = (
                head.removeprefix("data:").removesuffix(";base64"),
                base64.b64decode(encoded),
            )
        found = self._ask("openai", "\n".join(texts), data, mime, body)
        if found is None:
            return
        _, text, answer = found
        reply = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": answer.finish or "stop",
            }],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }  # fmt: skip
        self._send(200, {**reply, **(answer.patch or {})}, kind=answer.kind)

    def _gemini(self, body: dict[str, Any]) -> None:
        state = self.server_state
        if not self._key_is_right():
            return self._refuse_key()
        name = self.path.removeprefix("/v1beta/models/").partition(":")[0]
        if name not in state.names:
            message = f"models/{name} is not found for API version v1beta"
            return self._send(
                404, {"error": {"message": message, "code": 404, "status": "NOT_FOUND"}}
            )
        texts, mime, data = [], None, None
        for part in body["contents"][0]["parts"]:
            if "inlineData" in part:
                mime = part["inlineData"][
                    "mimeType" if "mimeType" in part["inlineData"] else "mime_type"
                ]
                data = base64.b64decode(part["inlineData"]["data"], altchars=b"-_")
            else:
                texts.append(part["text"])
        found = self._ask("gemini", "\n".join(texts), data, mime, body)
        if found is None:
            return
        _, text, answer = found
        reply = {
            "candidates": [{
                "content": {"role": "model", "parts": [{"text": text}]},
                "finishReason": answer.finish or "STOP", "index": 0,
            }],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 15,
                              "thoughtsTokenCount": 5, "totalTokenCount": 120},
            "modelVersion": name,
        }  # fmt: skip
        self._send(200, {**reply, **(answer.patch or {})}, kind=answer.kind)

    def _ask(
        self, protocol: str, prompt: str, data: bytes | None, mime: str | None, body: dict[str, Any]
    ) -> tuple[Call, str, Answer] | None:
        """The model's text, or None where an error was sent instead."""
        state = self.server_state
        with state.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = self.path.partition("?")[2]
            call = Call(len(state.calls), protocol, prompt, data, mime, body, headers, query)
            kept = state.probes if call.is_probe else state.calls
            kept.append(call)
        given = {**body, **body.get("generationConfig", {})}
        for parameter, message in state.refused.items():
            if parameter in given:
                self._send(400, {"error": {"message": message, "code": 400}})
                return None
        if state.needs_image and data is None:
            self._send(
                400, {"error": {"message": "every request must carry an image", "code": 400}}
            )
            return None
        time.sleep(state.delay)
        answer = state.fault(call) or Answer()
        if answer.drop or answer.wire:
            self.close_connection = True
            if answer.wire:
                answer.wire(self.connection)
            self.connection.close()
            return None
        if answer.parts is not None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                for part in answer.parts():
                    self.connection.sendall(part)
            return None
        if answer.raw is not None:
            self._send(answer.status, answer.raw, answer.headers, answer.kind)
            return None
        if answer.status != 200:
            error = {"error": {"message": answer.message, "code": answer.status}}
            self._send(answer.status, error, answer.headers)
            return None
        try:
            seen = look(data) if data is not None else None
        except Exception as error:
            self._send(400, {"error": {"message": f"cannot decode image: {error}", "code": 400}})
            return None
        text = answer.text if answer.text is not None else state.model.answer(prompt, seen)
        if answer.cut is not None:
            text = text[: int(len(text) * answer.cut)]
        state.replies.append((call, text))
        return call, text, answer

    def _key_is_right(self) -> bool:
        key = self.server_state.key
        given = self.headers.get("x-goog-api-key") or (
            (self.headers.get("authorization") or "").removeprefix("Bearer ")
        )
        return key is None or given == key

    def _refuse_key(self) -> None:
        given = self.headers.get("x-goog-api-key") or self.headers.get("authorization")
        # Real services echo the key that they refuse.
        self._send(401, {"error": {"message": f"Incorrect API key provided: {given}", "code": 401}})

    def _send(
        self,
        status: int,
        body: Any,
        headers: dict[str, str] | None = None,
        kind: str | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = kind or ("text/html" if data.startswith(b"<") else "application/json")
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Silent."""


def after_calls(server: Loopback, count: int, then: Callable[[], None]) -> None:
    """Do something to the client when the server has seen ``count`` requests."""

    def fault(call: Call) -> Answer | None:
        if call.number == count:
            then()
        return None

    server.fault = fault
