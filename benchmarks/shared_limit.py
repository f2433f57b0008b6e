#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How much of one quota several runs use through `workflow.shared_limit`, and whether they pass it.

Each of the processes runs a shard of its own, against an endpoint that notes when a request comes.
`share` is what was used of the quota while all of them were at work. `seconds_over` are the
seconds at whose end more had come within a minute than the quota, `most_in_a_minute` the most
within any minute, `most_in_a_second` within a second, where an even flow brings `even`. It measures
twice; the second time three of the processes get a kill -9, one after the other, and are started
again. With a server, a third time: that gets the kill -9.

    python benchmarks/shared_limit.py [--processes 8] [--quota 2400] [--seconds 75]
    python benchmarks/shared_limit.py --tokens    the same quota as tokens, so many a request
    python benchmarks/shared_limit.py --server    through limit_server.py, in place of a file
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import ROOT, write_input, write_pictures
from server import USAGE

WINDOW_S = 60.0


class Run:
    """A run of a shard, which may be killed and started again."""

    def __init__(self, number: int, processes: int, folder: Path, common: list[str]) -> None:
        self.folder = folder / str(number)
        self.command = [
            sys.executable, str(ROOT / "scripts/run_pipeline.py"), "--quiet",
            "--shard", f"{number}/{processes}", f"results_dir={self.folder}", *common,
        ]  # fmt: skip
        self.process = self._start()

    def is_asking(self) -> bool:
        """Whether it has got beyond its start."""
        if self.process.poll() is not None:
            sys.exit(f"{self.folder.name} has ended: {self.process.returncode}")
        try:
            state = json.loads((self.folder / "run_state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        return bool(state["finished"])

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_and_start(self) -> None:
        """As if the machine had gone and come back."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def stop(self) -> None:
        """End it in good order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Shared:
    """Where the runs have their leases: a file, or a server, which may be killed."""

    def __init__(self, folder: Path, *, server: bool) -> None:
        self.value = str(folder / "limit.json")
        self._process: subprocess.Popen[str] | None = None
        if server:
            self._start(0)

    def _start(self, port: int) -> None:
        tool = [sys.executable, str(ROOT / "scripts/limit_server.py"), "--port", str(port)]
        self._process = subprocess.Popen(tool, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.value = json.loads(self._process.stdout.readline())["url"]

    def kill_and_start(self) -> None:
        """As if its machine had gone and come back; a file stays."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._start(int(self.value.rpartition(":")[2]))

    def stop(self) -> None:
        """End it in good order."""
        if self._process:
            self._process.terminate()
            self._process.wait()


@contextlib.contextmanager
def shared_through(folder: Path, *, server: bool) -> Iterator[Shared]:
    shared = Shared(folder, server=server)
    try:
        yield shared
    finally:
        shared.stop()


def measure(
    processes: int, quota: float, seconds: float, *, kill: str, tokens: bool, through_server: bool
) -> dict[str, Any]:
    """One measurement, with an endpoint of its own."""
    server = [sys.executable, str(ROOT / "benchmarks/server.py"), "--delay", "0.2", "--times"]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer,
        shared_through(Path(name), server=through_server) as shared,
    ):
        assert peer.stdin and peer.stdout
        url = f"http://127.0.0.1:{peer.stdout.readline().strip()}/v1"
        folder = Path(name)
        write_pictures(folder)
        # Two requests a sample: more than the quota allows in the time, however uneven the shards.
        data = write_input(folder, int(quota / 60 * (seconds + 120)))
        limit = f"workflow.requests_per_minute={quota}"
        if tokens:
            limit = f"workflow.tokens_per_minute={quota * USAGE['total_tokens']}"
        common = [
            f"data.input_jsonl={data}", f"data.image_root={folder}", "vlm.backend=openai",
            f"vlm.openai.base_url={url}", "vlm.openai.model_name=any",
            "vlm.coordinates=norm1000_xyxy", "vlm.coordinates_trusted=true",
            "workflow.max_workers=16", limit,
            f"workflow.shared_limit={shared.value}",
        ]  # fmt: skip
        runs = [Run(number + 1, processes, folder, common) for number in range(processes)]
        while not all(run.is_asking() for run in runs):
            time.sleep(0.2)
        began = time.monotonic()
        kills = 0
        while time.monotonic() < began + seconds:
            time.sleep(seconds / 4 if kill else seconds)
            if kill == "runs" and kills < 3:
                runs[kills % processes].kill_and_start()
                kills += 1
            elif kill == "server" and not kills:
                shared.kill_and_start()
                kills += 1
        ended = time.monotonic()
        for run in runs:
            run.stop()
        peer.stdin.close()
        times = sorted(json.loads(peer.stdout.readline()))
    return {
        "through": "server" if through_server else "file",
        "processes": processes,
        "quota": quota,
        "killed": f"{kills} {kill}" if kill else None,
        **counted(times, quota, began, ended),
    }


def counted(times: list[float], quota: float, began: float, ended: float) -> dict[str, Any]:
    """What the endpoint saw."""
    served = bisect_left(times, ended) - bisect_left(times, began)
    ends = [times[0] + number for number in range(1, int(times[-1] - times[0]) + 2)]
    minutes = [bisect_right(times, end) - bisect_right(times, end - WINDOW_S) for end in ends]
    # At each request: the most that came within a minute, wherever it begins.
    most = max(n + 1 - bisect_right(times, t - WINDOW_S) for n, t in enumerate(times))
    of_second = [bisect_right(times, end) - bisect_right(times, end - 1) for end in ends]
    return {
        "requests": len(times),
        "share": round(served / (quota / 60 * (ended - began)), 4),
        "seconds_over": sum(minute > quota for minute in minutes),
        "most_in_a_minute": most,
        "most_in_a_second": max(of_second),
        "even": quota / 60,
    }


def main() -> None:
    """Print one JSON object a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--quota", type=float, default=2400)
    parser.add_argument("--seconds", type=float, default=75)
    parser.add_argument("--tokens", action="store_true")
    parser.add_argument("--server", action="store_true")
    given = parser.parse_args()
    for kill in ("", "runs", "server") if given.server else ("", "runs"):
        found = measure(
            given.processes, given.quota, given.seconds, kill=kill, tokens=given.tokens,
            through_server=given.server,
        )  # fmt: skip
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
