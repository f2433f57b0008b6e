# SPDX-License-Identifier: Apache-2.0
"""A web server that gives out pictures."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from conftest import Project


class Web:
    """A web server.

    Attributes:
        files: what it gives out, by path.
        faults: status codes to answer with before that, by path.
        moved: where it redirects to, by path.
        no_head: it knows no HEAD.
        seen: requests that came: method and path.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int]] = {}
        self.moved: dict[str, str] = {}
        self.no_head = False
        self.seen: list[tuple[str, str]] = []
        handler = type("Handler", (_Handler,), {"web": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        web, path = self.web, unquote(self.path.partition("?")[0])
        web.seen.append((self.command, path))
        faults = web.faults.get(path)
        if self.command == "HEAD" and web.no_head:
            return self._answer(405, b"")
        if faults:
            return self._answer(faults.pop(0), b"", {"Retry-After": "0"})
        if path in web.moved:
            return self._answer(302, b"", {"Location": web.moved[path]})
        if path not in web.files:
            return self._answer(404, b"")
        tag = f'"{hash(web.files[path])}"'
        return self._answer(200, web.files[path], {"ETag": tag})

    do_HEAD = do_GET

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(project: Project) -> Iterator[Web]:
    """A web server with the pictures of a project below ``/photos``."""
    made = Web()
    for name in project.scenes:
        made.files[f"/photos/{name}"] = (project.folder / name).read_bytes()
    threading.Thread(target=made.http.serve_forever, daemon=True).start()
    yield made
    made.http.socket.shutdown(socket.SHUT_RDWR)  # which wakes who waits for connections
    made.http.shutdown()
    made.http.server_close()
