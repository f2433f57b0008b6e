#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How much of an endpoint's capacity `workflow.max_workers: auto` uses.

A process of its own answers after a fixed time, to so many requests at once; it says 429 to more.
The share is that of the answers that it could have given, start and end of the run's process
included. With --changes its capacity is halved and then doubled in mid-run: the share of each
three seconds, from the change on.

    python benchmarks/capacity.py [--samples 2000] [--latency 0.2] [--capacities 8 64]
    python benchmarks/capacity.py --workers 64 --capacities 64
    python benchmarks/capacity.py --changes
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from support.scenes import make_scene  # noqa: E402

WINDOW_S = 3.0
BOX = {"bbox_2d": [100, 100, 500, 500], "score": 0.9}
EXTRACTED = {
    "cleaned_caption": "a rectangle",
    "expressions": [{"text": "a rectangle", "noun_chunk": "rectangle"}],
}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class Endpoint:
    """Serves so many at once; ``phases`` are (capacity, seconds from the first request)."""

    def __init__(self, latency: float, phases: list[tuple[int, float]]) -> None:
        self.latency, self.phases = latency, phases
        self.began = 0.0
        self.in_flight = self.refused = 0
        self.served: list[float] = []

    def capacity(self) -> int:
        """How many it serves at once now."""
        now = time.monotonic() - self.began
        return next((c for c, until in self.phases if now < until), self.phases[-1][0])

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = (
                    int(head.partition("content-length:")[2].split()[0])
                    if "content-l" in head
                    else 0
                )
                body = await reader.readexactly(length)
                status, answer = await self.answer(head, body)
                data = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, head: str, body: bytes) -> tuple[int, Any]:
        """Status and body."""
        if head.startswith("get"):
            return 404, {}
        self.began = self.began or time.monotonic()
        if self.in_flight >= self.capacity():
            self.refused += 1
            return 429, {"error": {"message": "too many requests", "code": 429}}
        self.in_flight += 1
        await asyncio.sleep(self.latency)
        self.in_flight -= 1
        self.served.append(time.monotonic() - self.began)
        _, asked, listed = body.partition(b"\\nEXPRESSIONS: ")
        ids = re.findall(rb'\\"id\\": ?(\d+)', listed)
        said = {"instances": [{**BOX, "id": int(i)} for i in ids]} if asked else EXTRACTED
        message = {"role": "assistant", "content": json.dumps(said)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return 200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE}


async def serve(latency: float, phases: list[tuple[int, float]]) -> None:
    """Answer until stdin ends, then print what was served."""
    endpoint = Endpoint(latency, phases)
    server = await asyncio.start_server(endpoint.connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"served": endpoint.served, "refused": endpoint.refused}), flush=True)


def run(
    samples: int, latency: float, phases: list[tuple[int, float]], workers: str = "auto"
) -> dict[str, Any]:
    """One run against an endpoint of its own: what that served, the seconds, the summary."""
    server = [sys.executable, __file__, "--serve", "--latency", str(latency)]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(
            [*server, "--phases", json.dumps(phases)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as peer,
    ):  # fmt: skip
        assert peer.stdin and peer.stdout
        port = peer.stdout.readline().strip()
        make_scene((320, 240), seed=1).save(Path(name, "scene.png"))
        data = Path(name, "input.jsonl")
        rows = [{"image_path": "scene.png", "caption": f"a rectangle {n}"} for n in range(samples)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        started = time.monotonic()
        done = subprocess.run(
            [
                sys.executable, str(ROOT / "scripts/run_pipeline.py"), "--quiet",
                f"results_dir={name}/results", f"data.input_jsonl={data}",
                f"data.image_root={name}", "vlm.backend=openai",
                f"vlm.openai.base_url=http://127.0.0.1:{port}/v1",
                "vlm.openai.model_name=any", "vlm.coordinates=norm1000_xyxy",
                "vlm.coordinates_trusted=true", f"workflow.max_workers={workers}",
            ],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        peer.stdin.close()
        served = json.loads(peer.stdout.readline())
    summary = json.loads(done.stdout)
    if done.returncode:
        sys.exit(f"the run failed: {summary.get('error')}")
    return {**served, "seconds": seconds, "counts": summary["counts"],
            "concurrency": summary["usage"]["concurrency"]}  # fmt: skip


def whole(samples: int, latency: float, capacity: int, workers: str) -> dict[str, Any]:
    """The share of a steady capacity."""
    found = run(samples, latency, [(capacity, 1e9)], workers)
    requests = len(found["served"])
    return {
        "capacity": capacity,
        "share": round(requests * latency / capacity / found["seconds"], 3),
        "share_while_asking": round(requests * latency / capacity / found["served"][-1], 3),
        "refused": round(found["refused"] / (requests + found["refused"]), 4),
        "annotated": found["counts"]["annotated"],
        **found["concurrency"],
    }


def changing(samples: int, latency: float, capacity: int) -> dict[str, Any]:
    """The shares from the changes on: halved after 8 s, whole again after 28 s."""
    phases = [(capacity, 8.0), (capacity // 2, 28.0), (capacity, 1e9)]
    found = run(samples, latency, phases)

    def shares(begin: float, end: float, allowed: int) -> list[float]:
        windows = int((end - begin) / WINDOW_S)
        edges = [begin + WINDOW_S * n for n in range(windows + 1)]
        counts = [sum(a <= t < b for t in found["served"]) for a, b in pairwise(edges)]
        return [round(n * latency / allowed / WINDOW_S, 2) for n in counts]

    return {
        "capacity": capacity,
        "halved": shares(8.0, 28.0, capacity // 2),
        "doubled": shares(28.0, found["served"][-1], capacity),
        "refused": round(found["refused"] / (len(found["served"]) + found["refused"]), 4),
        **found["concurrency"],
    }


def main() -> None:
    """Print one JSON object a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--capacities", type=int, nargs="*", default=[8, 64])
    parser.add_argument("--workers", default="auto", help="a fixed number, to compare with")
    parser.add_argument("--changes", action="store_true", help="a capacity of 32 that changes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--phases", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.latency, given.phases))
    elif given.changes:
        print(json.dumps(changing(given.samples, given.latency, 32)))
    else:
        for capacity in given.capacities:
            print(
                json.dumps(whole(given.samples, given.latency, capacity, given.workers)), flush=True
            )


if __name__ == "__main__":
    main()
