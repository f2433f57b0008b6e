#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint for benchmarks: right in form, instant, and it sees nothing.

It answers after a fixed delay, every ``slow_every``-th request after ten times of it. With
``--times`` it prints at its end when each request was there, in seconds of the monotonic clock.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
EXPRESSIONS = [
    {"text": "a red cup", "noun_chunk": "cup"},
    {"text": "plates", "noun_chunk": "plates"},
]
_LISTED = re.compile(rb'\\"id\\": ?(\d+), ?\\"text\\": ?\\"(.*?)\\"')


def reply_to(body: bytes) -> bytes:
    """The reply to a question of either step."""
    _, asked, listed = body.partition(b"\\nEXPRESSIONS: ")
    if asked:
        box = {"bbox_2d": [100, 100, 500, 500], "score": 0.9}
        said: Any = {
            "instances": [
                {"id": int(number), "label": text.decode(), **box}
                for number, text in _LISTED.findall(listed)
            ],
            "absent": [],
        }
    else:
        said = {"cleaned_caption": "a red cup beside plates", "expressions": EXPRESSIONS}
    message = {"role": "assistant", "content": json.dumps(said)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return json.dumps({**reply, "model": "any", "created": 1}).encode()


class Server(asyncio.Protocol):
    """One connection."""

    delay = 0.0
    slow_every = 0
    requests = 0
    times: list[float] | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin with nothing read."""
        self.transport = transport
        self.data = bytearray()
        self.head, self.length = b"", -1

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole; requests are not pipelined."""
        self.data += data
        if self.length < 0:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.data[:end]).lower()
            del self.data[: end + 4]
            self.length = int(self.head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if len(self.data) < self.length:
            return
        body, self.length, self.data = bytes(self.data), -1, bytearray()
        if self.head.startswith(b"get"):
            known = json.dumps({"object": "list", "data": [{"id": "any", "object": "model"}]})
            return self.write(known.encode())
        Server.requests += 1
        if self.times is not None:
            self.times.append(time.monotonic())
        slow = self.slow_every and Server.requests % self.slow_every == 0
        delay = self.delay * (10 if slow else 1)
        asyncio.get_running_loop().call_later(delay, self.write, reply_to(body))

    def write(self, data: bytes) -> None:
        """Write an answer."""
        if not self.transport.is_closing():
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(head % len(data) + data)


async def serve() -> None:
    """Answer until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    if Server.times is not None:
        print(json.dumps(Server.times), flush=True)


def main() -> None:
    """Print the port, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--slow-every", type=int, default=0)
    parser.add_argument("--times", action="store_true")
    given = parser.parse_args()
    Server.times = [] if given.times else None
    Server.delay, Server.slow_every = given.delay, given.slow_every
    asyncio.run(serve())


if __name__ == "__main__":
    main()
