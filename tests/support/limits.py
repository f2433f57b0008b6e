# SPDX-License-Identifier: Apache-2.0
"""A real ``limit_server.py`` for tests, which may be killed and started again."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from support.scripts import Started, start_script


class LimitServer:
    """One at work.

    Attributes:
        url: where it listens.
        process: its process.
    """

    def __init__(self, options: tuple[str, ...], variables: dict[str, str]) -> None:
        self._options, self._variables = options, variables
        self._start(0)

    def _start(self, port: int) -> None:
        given = ("--port", str(port), *self._options)
        self.process: Started = start_script("limit_server.py", *given, **self._variables)
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.said: dict[str, Any] = json.loads(line)
        self.url: str = self.said["url"].replace("0.0.0.0", "127.0.0.1")

    def kill(self) -> None:
        """With -9."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """At the same address."""
        port = urlsplit(self.url).port
        assert port
        self._start(port)

    def status(self, **variables: str) -> dict[str, Any]:
        """What it shows a person."""
        token = variables.get("IMAGE_GROUNDING_LIMIT_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.url}/status", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextlib.contextmanager
def limit_server(*options: str, **variables: str) -> Iterator[LimitServer]:
    """A server at a free port, with more options and variables of the environment."""
    server = LimitServer(options, variables)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
