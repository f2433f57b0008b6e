# SPDX-License-Identifier: Apache-2.0
"""The loopback server with batch queues: ``/v1/files``, ``/v1/batches``, and Gemini's."""

import contextlib
import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support import batch_gemini
from support.batch_gemini import is_gemini
from support.batch_jobs import Faults, Floor, Job, openai_file, work_openai
from support.loopback import Loopback, _Handler
from support.model import Model

_STATES = {"running": "in_progress", "refused": "failed"}


class BatchServer(Loopback):
    """``with BatchServer() as server``: what online requests it takes, ``Loopback`` says.

    Attributes:
        floor: files and jobs.
        requests: method and path of each request to files and jobs, in order.
        broken: requests that end with the connection, once each: (``during POST``, path) in their
            midst, (``after POST``, path) when they have taken effect.
        held: paths whose requests take effect and are never answered, until ``let_go``.
    """

    def __init__(self, model: Model | None = None, *, key: str | None = None) -> None:
        super().__init__(model, key=key)
        self.floor = Floor(self.model)
        self.requests: list[tuple[str, str]] = []
        self.broken: list[tuple[str, str]] = []
        self.held: set[str] = set()
        self.let_go = threading.Event()
        self.reached = threading.Event()
        self._http.RequestHandlerClass = type("Handler", (_BatchHandler,), {"server_state": self})

    @property
    def faults(self) -> Faults:
        return self.floor.faults

    @property
    def jobs(self) -> list[Job]:
        return list(self.floor.jobs.values())

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        super().__exit__()


class _BatchHandler(_Handler):
    server_state: BatchServer

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self._is_mine(path) and path not in self.server_state.paths and self._may("GET", path):
            with self.server_state.lock:
                answer = self._get(path)
            self._answer("GET", path, answer)
        elif not self._is_mine(path) or path in self.server_state.paths:
            super().do_GET()

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_mine(path):
            super().do_POST()
            return
        state = self.server_state
        if ("during POST", path) in state.broken:
            state.broken.remove(("during POST", path))
            self.rfile.read(16)
            return self._drop()
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self._may("POST", path):
            with state.lock:
                answer = self._post(path, body)
            self._answer("POST", path, answer)

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        if self._may("DELETE", path):
            name = path.removeprefix("/v1/files/").removeprefix("/v1beta/")
            with self.server_state.lock:
                self.server_state.floor.files.pop(name, None)
            self._answer("DELETE", path, {"id": name, "object": "file", "deleted": True})

    def _is_mine(self, path: str) -> bool:
        return path.startswith(("/v1/files", "/v1/batches")) or is_gemini(path)

    def _may(self, method: str, path: str) -> bool:
        self.server_state.requests.append((method, path))
        if path.startswith("/upload/session/"):  # its address is the right to it
            return True
        if not self._key_is_right():
            self._refuse_key()
            return False
        return True

    def _answer(self, method: str, path: str, answer: Any) -> None:
        """Send an answer; what it answers has taken effect already."""
        state = self.server_state
        if ("after " + method, path) in state.broken:
            state.broken.remove(("after " + method, path))
            return self._drop()
        if f"{method} {path}" in state.held:
            state.reached.set()
            state.let_go.wait(60)
            return self._drop()
        headers: dict[str, str] = {}
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        if isinstance(body, dict) and isinstance(status, dict):  # a body and its headers
            status, body, headers = 200, status, body
        with contextlib.suppress(OSError):
            self._send(status, body, headers)

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.close()

    # -- OpenAI's protocol -----------------------------------------------------------------------

    def _get(self, path: str) -> Any:
        floor = self.server_state.floor
        if is_gemini(path):
            found = batch_gemini.get(floor, path, urlsplit(self.path).query)
            return _not_found() if found is None else found
        if found := re.fullmatch(r"/v1/files/([\w-]+)/content", path):
            data = floor.files.get(found[1])
            return _not_found() if data is None else data
        if path == "/v1/batches":
            return self._list()
        job = floor.jobs.get(path.rpartition("/")[2])
        if job is None:
            return _not_found()
        floor.look(job, lambda job: work_openai(floor, job))
        return self._plain(job)

    def _post(self, path: str, body: bytes) -> Any:
        floor = self.server_state.floor
        if path == "/upload/v1beta/files":
            return batch_gemini.start_upload(floor, body, self.headers, self.headers["host"])
        if path.startswith("/upload/session/"):
            return batch_gemini.go_on(floor, path, body, self.headers)
        if is_gemini(path):
            answer = batch_gemini.post(floor, path, body)
            return _not_found() if answer is None else answer
        if path == "/v1/files":
            data = _file_in(body, self.headers["content-type"])
            name = floor.add_file(data)
            return _file(name, len(data))
        if path == "/v1/batches":
            asked = json.loads(body)
            assert asked["endpoint"] == "/v1/chat/completions"
            if asked["input_file_id"] not in floor.files:
                return _not_found()
            mark = asked["metadata"]["image_grounding_job"]
            return self._plain(floor.add_job(mark, asked["input_file_id"]))
        found = re.fullmatch(r"/v1/batches/([\w-]+)/cancel", path)
        job = floor.jobs.get(found[1]) if found else None
        if job is None:
            return _not_found()
        if job.kind != "running":
            return 409, {"error": {"message": f"Cannot cancel a batch that is {job.kind}"}}
        job.kind = "cancelled"
        return self._plain(job)

    def _list(self) -> dict[str, Any]:
        asked = parse_qs(urlsplit(self.path).query)
        jobs = list(reversed(self.server_state.jobs))
        ids = [job.id for job in jobs]
        start = ids.index(asked["after"][0]) + 1 if "after" in asked else 0
        page = jobs[start : start + int(asked["limit"][0])]
        return {
            "object": "list",
            "data": [self._plain(job) for job in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": start + len(page) < len(jobs),
        }

    def _plain(self, job: Job) -> dict[str, Any]:
        floor = self.server_state.floor
        files: dict[str, str | None] = {"output_file_id": None, "error_file_id": None}
        if job.kind != "running":
            for name, lines in (("output_file_id", job.good), ("error_file_id", job.bad)):
                if lines:
                    files[name] = f"{name}-{job.id}"
                    floor.files.setdefault(f"{name}-{job.id}", openai_file(lines))
        problem = {"code": "token_limit_exceeded", "message": job.problem}
        return {
            "id": job.id, "object": "batch", "endpoint": "/v1/chat/completions",
            "completion_window": "24h", "created_at": 1, "input_file_id": job.file,
            "status": _STATES.get(job.kind, job.kind),
            "metadata": {"image_grounding_job": job.mark},
            "errors": {"object": "list", "data": [problem]} if job.problem else None,
            "request_counts": {"total": job.total, "completed": len(job.good),
                               "failed": len(job.bad)},
            **files,
        }  # fmt: skip


def _file(name: str, size: int) -> dict[str, Any]:
    return {
        "id": name, "object": "file", "bytes": size, "created_at": 1, "filename": "x.jsonl",
        "purpose": "batch", "status": "processed",
    }  # fmt: skip


def _not_found() -> tuple[int, dict[str, Any]]:
    return 404, {"error": {"message": "No such object", "code": 404}}


def _file_in(body: bytes, content_type: str) -> bytes:
    """The file of a multipart form."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    for part in body.split(b"--" + boundary):
        head, _, data = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return data.removesuffix(b"\r\n")
    raise AssertionError("no file in the form")
