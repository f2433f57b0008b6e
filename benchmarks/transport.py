#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a request costs in our client, against a bare aiohttp client with the same bodies.

The server is a process of its own on the loopback interface; it answers after a fixed delay and
looks at nothing. CPU is that of the client's process, threads included. Bare and ours take turns
in one process, so that the ratio is of the same minute.

    python benchmarks/transport.py [--backends openai gemini] [--rounds 3]
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]

import aiohttp  # noqa: E402

from image_grounding.asking.asker import Asker  # noqa: E402
from image_grounding.asking.endpoints.base import Endpoint  # noqa: E402
from image_grounding.asking.endpoints.gemini import GeminiEndpoint  # noqa: E402
from image_grounding.asking.endpoints.openai import OpenAIEndpoint  # noqa: E402
from image_grounding.asking.limits import Gate  # noqa: E402
from image_grounding.boxes.frames import Frame  # noqa: E402
from image_grounding.images.encoding import EncodedImage  # noqa: E402
from image_grounding.spec import Gemini, OpenAI  # noqa: E402
from image_grounding.steps.prompts import extraction_prompt, extraction_schema  # noqa: E402
from image_grounding.steps.question import Question  # noqa: E402

IN_FLIGHT = 32
PICTURE_BYTES = 36_000
# A picture is sent about twice: for step 0 and step 1, or for two captions of it.
REQUESTS_A_PICTURE = 2
TEXT = json.dumps(
    {"cleaned_caption": "a cup", "expressions": [{"text": "a cup", "noun_chunk": "cup"}]}
)
OPENAI_ANSWER = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
}  # fmt: skip
GEMINI_ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]},
                    "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20},
    "modelVersion": "m",
}  # fmt: skip

Send = Callable[[int], Awaitable[object]]


class Server(asyncio.Protocol):
    """One connection of a server that reads a body's length and answers after a delay."""

    delay = 0.0
    seen: tuple[bytes, bytes] = (b"", b"")

    def connection_made(self, transport: Any) -> None:
        """Begin with nothing read."""
        self.transport = transport
        self.head = b""
        self.body = bytearray()
        self.length = -1

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole; requests are not pipelined."""
        self.body += data
        if self.length < 0:
            end = self.body.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.body[:end])
            del self.body[: end + 4]
            _, _, rest = self.head.lower().partition(b"content-length:")
            self.length = int(rest.split(b"\r\n")[0] or 0)
        if len(self.body) >= self.length:
            kept = (self.head, bytes(self.body))
            self.body, self.length = bytearray(), -1
            asyncio.get_running_loop().call_later(self.delay, self.answer, *kept)

    def answer(self, head: bytes, body: bytes) -> None:
        """Write the answer; for ``GET /seen`` what was asked last."""
        if head.startswith(b"GET /seen"):
            data = b"\r\n\r\n".join(Server.seen)
        else:
            Server.seen = (head, body)
            gemini = b"generateContent" in head[:200]
            data = json.dumps(GEMINI_ANSWER if gemini else OPENAI_ANSWER).encode()
        answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
        self.transport.write(answer + str(len(data)).encode() + b"\r\n\r\n" + data)


async def serve(delay: float) -> None:
    """Answer until stdin ends."""
    Server.delay = delay
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass
class Cost:
    """CPU and wall milliseconds a request."""

    cpu: float
    wall: float


async def timed(send: Send, requests: int) -> Cost:
    """Send so many, ``IN_FLIGHT`` at a time."""
    numbers = iter(range(requests))

    async def worker() -> None:
        for number in numbers:
            await send(number)

    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(1000 * cpu / requests, 1000 * wall / requests)


def ours(backend: str, port: int) -> tuple[Asker, Send]:
    """Our client: asker, negotiation, endpoint."""
    url = f"http://127.0.0.1:{port}"

    def make() -> Endpoint:
        if backend == "gemini":
            return GeminiEndpoint(
                Gemini(
                    api_key="no-real-key", model="m", media_resolution="MEDIA_RESOLUTION_HIGH",
                    temperature=0.3, max_output_tokens=512, timeout=60.0, base_url=url,
                    thinking_level="auto",
                )
            )  # fmt: skip
        return OpenAIEndpoint(
            OpenAI(
                api_key="no-real-key", base_url=f"{url}/v1", model_name="m", temperature=0.3,
                max_tokens=512, timeout=60.0,
            )
        )  # fmt: skip

    asker = Asker(make, Gate(IN_FLIGHT))
    schema = extraction_schema()
    pictures: dict[int, EncodedImage] = {}

    async def send(number: int) -> object:
        key = number // REQUESTS_A_PICTURE
        if key not in pictures:
            pictures.pop(key - IN_FLIGHT, None)
            data = os.urandom(PICTURE_BYTES)
            pictures[key] = EncodedImage(data, "image/jpeg", Frame((640, 480), (640, 480)), {})
        return await asker.ask(
            Question(extraction_prompt(f"a red cup beside {number} plates"), schema=schema),
            pictures[key],
        )

    return asker, send


async def compare(backend: str, port: int, requests: int, rounds: int) -> dict[str, Any]:
    """Medians over the rounds, in each of which the bare client and ours take their turns."""
    asker, send = ours(backend, port)
    await send(0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async with session.get(f"http://127.0.0.1:{port}/seen") as answer:
            head, _, body = (await answer.read()).rpartition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        url = f"http://127.0.0.1:{port}{line.split()[1]}"

        async def bare(number: int) -> object:
            async with session.post(url, data=body, headers=headers) as answer:
                return json.loads(await answer.read())

        costs = []
        for _ in range(rounds + 1):
            costs.append((await timed(bare, requests), await timed(send, requests)))
    await asker.close()
    costs = costs[1:]  # the first warms up
    return {
        "cpu_ms": [round(own.cpu, 3) for _, own in costs],
        "cpu_ms_bare": [round(plain.cpu, 3) for plain, _ in costs],
        "requests_a_second": [round(1000 / own.wall) for _, own in costs],
        "requests_a_second_bare": [round(1000 / plain.wall) for plain, _ in costs],
        "rate_to_bare": round(statistics.median(plain.wall / own.wall for plain, own in costs), 3),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["openai", "gemini"])
    parser.add_argument("--delays", type=float, nargs="+", default=[0.0, 0.2])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        return asyncio.run(serve(arguments.serve))
    figures: dict[str, Any] = {"in_flight": IN_FLIGHT, "picture_bytes": PICTURE_BYTES}
    for delay in arguments.delays:
        command = [sys.executable, __file__, "--serve", str(delay)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            assert peer.stdout and peer.stdin
            port = int(peer.stdout.readline())
            for backend in arguments.backends:
                compared = compare(backend, port, arguments.requests, arguments.rounds)
                figures[f"{backend}, {delay:g} s"] = asyncio.run(compared)
            peer.stdin.close()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
