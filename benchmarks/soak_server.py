#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The endpoint of the soak: looks at its pictures, and fails in every way at once.

Prints its port. Then, for a line on stdin: ``down`` and ``up``; ``stats`` prints what was asked
and injected. It ends with stdin.
"""

import argparse
import contextlib
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from support.loopback import Answer, Call, Loopback  # noqa: E402

# Longer than the soak's timeout of a request.
_TOO_LONG_S = 14
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_IN_2100 = "Fri, 01 Jan 2100 00:00:00 GMT"
_BODY = b'{"choices": [{"message": {"role": "assistant", "content": "'


def _writes(*parts: bytes, pause: float = 0.0) -> Answer:
    """These bytes, one after the other."""

    def write(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)

    return Answer(wire=write)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _page(status: int = 200) -> Answer:
    return Answer(status=status, raw=b"<html>we will be back soon</html>")


def _slow_but_whole() -> Answer:
    """A good answer, in its time."""
    time.sleep(3)
    return Answer()


FAULTS: dict[str, Callable[[], Answer]] = {
    "429": lambda: Answer(429),
    "429 with Retry-After": lambda: Answer(429, headers={"Retry-After": "2"}),
    "429 until 2100": lambda: Answer(429, headers={"Retry-After": _IN_2100}),
    "408": lambda: Answer(408),
    "409": lambda: Answer(409),
    "500": lambda: Answer(500),
    "502": lambda: _page(502),
    "503 with Retry-After": lambda: Answer(503, headers={"Retry-After": "1"}),
    "504": lambda: Answer(504),
    "400 of its own": lambda: Answer(400, "this request is odd"),
    "reset": lambda: Answer(wire=_reset),
    "closed without a word": lambda: Answer(drop=True),
    "body cut short": lambda: _writes(_HEAD + b"content-length: 900\r\n\r\n" + _BODY),
    "chunks cut short": lambda: _writes(_CHUNKED + b"%x\r\n" % 900 + _BODY),
    "bad chunk": lambda: _writes(_CHUNKED + b"2\r\n{}\r\n", b"zz\r\n{}\r\n0\r\n\r\n", pause=0.05),
    "bad gzip": lambda: _writes(
        _HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"
    ),
    "dripping": lambda: _writes(
        _HEAD + b"content-length: 900\r\n\r\n", *[b" "] * _TOO_LONG_S, pause=1.0
    ),
    "no answer": lambda: _writes(*[b""] * _TOO_LONG_S, pause=1.0),
    "slow, but whole": _slow_but_whole,
    "no JSON": lambda: Answer(raw=b'{"choices": ['),
    "a page in place of JSON": _page,
    "nested deep": lambda: Answer(raw=b'{"choices": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "no choices": lambda: Answer(raw=b"{}"),
    "error in a 200": lambda: Answer(raw=b'{"error": {"code": 503, "message": "upstream"}}'),
    "empty reply": lambda: Answer(text=""),
    "reply cut": lambda: Answer(cut=0.6, finish="length"),
    "reply cut, and silent of it": lambda: Answer(cut=0.6),
    "prose": lambda: Answer(text="I see a lovely picture."),
    "boxes out of bounds": lambda: Answer(
        text='{"instances": [{"id": 0, "bbox_2d": [7000, 1, 9000, 5]}], "absent": []}'
    ),
    "wrong ids": lambda: Answer(text='{"instances": [{"id": 77, "bbox_2d": [1, 2, 300, 400]}]}'),
}  # fmt: skip


class Chaos:
    """Chooses a fault, or none, for each request."""

    def __init__(self, share: float, seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self._share = share
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Answer | None:
        """The fault; each kind for ``share`` of all requests."""
        with self._lock:
            place = int(self._rng.random() / self._share)
            if place >= len(FAULTS):
                return None
            name = list(FAULTS)[place]
            self.injected[name] += 1
        return FAULTS[name]()


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.4)
    parser.add_argument("--share", type=float, default=0.01, help="of requests, for each fault")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asked = 0
    with Loopback() as server:
        server.delay, server.fault = given.delay, Chaos(given.share, given.seed)
        print(server.port, flush=True)
        for line in sys.stdin:
            match line.strip():
                case "down":
                    server.go_down()
                case "up":
                    server.come_back()
                case "stats":
                    asked += len(server.calls) + len(server.probes)
                    server.calls.clear()  # they hold the pictures
                    server.probes.clear()
                    injected = dict(server.fault.injected)
                    print(json.dumps({"requests": asked, "injected": injected}), flush=True)


if __name__ == "__main__":
    main()
