#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records through faulty batch queues, the collector killed at random: lost and paid twice.

One JSON object for each queue. The queues answer by the tests' model. Of the lines of a job, one in
20 expires, one in 20 is in no result, one in 20 stands there twice, one in 50 fails; they come in
any order and with foreign ones; some jobs expire as a whole, and some are refused. vLLM's files are
cut. Half of the runs are killed (SIGKILL) at a random moment.

    python benchmarks/batch.py [--records 2000] [--queues openai gemini vllm] [--seed 1]
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.append(str(ROOT / "scripts"))

from image_grounding.batch.journal import jobs_in  # noqa: E402
from support.batch_jobs import run_batch  # noqa: E402
from support.batch_server import BatchServer  # noqa: E402
from support.scenes import make_scene  # noqa: E402

WAITING = 5
KEY = "key-of-this-benchmark"
_PICTURES = 40
_MOST_RUNS = 500


def _peak_mb(pid: int) -> int:
    """Of a process that is at work; what getrusage says counts its parent's memory, too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0


class Collector:
    """Runs the same command until it is done; every other time it is killed."""

    def __init__(self, folder: Path, queue: str, server: BatchServer, records: int) -> None:
        self._folder = folder
        self._command = [sys.executable, str(ROOT / "scripts/run_pipeline.py"), "--quiet"]
        self._command += list(_spec(folder, queue, server))
        self._command += ["--engine", "batch-files" if queue == "vllm" else "batch"]
        self._command += ["--job-requests", str(max(records // 7, 10)), "workflow.max_attempts=20"]
        self.kills = self.runs = self.peak_mb = 0
        self._whole = 2.0 + records * 0.003

    def go(self, rng: random.Random) -> int | None:
        """One run; its exit code, or None where it was killed."""
        kill = rng.random() < 0.5
        self.runs += 1
        started = time.monotonic()
        with (self._folder / "out").open("w") as out, (self._folder / "err").open("w") as err:
            process = subprocess.Popen(
                self._command, stdout=out, stderr=err, env={**os.environ, "GOOGLE_API_KEY": KEY}
            )
            ends = started + rng.uniform(0, self._whole) if kill else float("inf")
            while (code := process.poll()) is None:
                if time.monotonic() > ends:
                    process.kill()
                    process.wait()
                    self.kills += 1
                    return None
                self.peak_mb = max(self.peak_mb, _peak_mb(process.pid))
                time.sleep(0.05)
        self._whole = time.monotonic() - started
        return code


def _spec(folder: Path, queue: str, server: BatchServer) -> Iterator[str]:
    yield from (f"results_dir={folder}/results", f"data.input_jsonl={folder}/input.jsonl")
    yield from (f"data.image_root={folder}", "vlm.coordinates=norm1000_xyxy")
    if queue == "gemini":
        yield from ("vlm.backend=gemini", "vlm.gemini.model=test-vlm")
        yield f"vlm.gemini.base_url={server.gemini_url}"
    else:
        yield from ("vlm.backend=openai", "vlm.openai.model_name=test-vlm")
        yield f"vlm.openai.base_url={server.base_url}"


def write_input(folder: Path, records: int) -> None:
    """Captions of some pictures, no two of which ask for the same."""
    with (folder / "input.jsonl").open("w", encoding="utf-8") as file:
        for number in range(records):
            scene = make_scene((64, 48), seed=number % _PICTURES, colours=2)
            path = folder / f"{number % _PICTURES}.png"
            if not path.exists():
                scene.save(path)
            phrases = " and ".join(f"a {colour} thing{number}" for colour, _ in scene.boxes)
            file.write(json.dumps({"image_path": path.name, "caption": phrases}) + "\n")


def spoil(server: BatchServer, rng: random.Random) -> None:
    """Switch the faults on."""
    faults = server.faults
    faults.expired = faults.missing = faults.duplicated = 0.05
    faults.foreign, faults.reorder = 3, True
    faults.too_late = lambda number: number % 11 == 4
    faults.refusal = lambda number: "Enqueued token limit reached" if number % 13 == 6 else None
    faults.failing = lambda key, body: (503, "overloaded") if rng.random() < 0.02 else None


def answer_files(folder: Path, server: BatchServer, rng: random.Random) -> None:
    """What somebody does who runs vllm run-batch: some outputs are cut the first time."""
    for job in jobs_in(folder / "results"):
        asked = folder / "results/batch" / f"{job['tag']}.jsonl"
        answered = asked.with_name(f"{job['tag']}.output.jsonl")
        if not (job["is_open"] and job["id"] and asked.exists()):
            continue
        if not answered.exists():
            run_batch(server.floor, asked, answered, part=rng.choice((0.4, 0.9, 1.0, 1.0)))
        else:  # whoever gave up in the middle adds what vLLM had left out
            _complete(server, asked, answered)


def _complete(server: BatchServer, asked: Path, answered: Path) -> None:
    lines = answered.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    known = {json.loads(line)["custom_id"] for line in whole}
    rest = answered.with_suffix(".rest")
    open_lines = [
        line
        for line in asked.read_bytes().splitlines(keepends=True)
        if json.loads(line)["custom_id"] not in known
    ]
    asked_again = answered.with_suffix(".again")
    asked_again.write_bytes(b"".join(open_lines))
    run_batch(server.floor, asked_again, rest)
    answered.write_text("".join(whole) + rest.read_text())
    asked_again.unlink()
    rest.unlink()


def measure(queue: str, records: int, seed: int) -> dict[str, Any]:
    """One queue, from the first request to the last record."""
    rng = random.Random(seed)
    key = KEY if queue == "gemini" else None
    with tempfile.TemporaryDirectory() as name, BatchServer(key=key) as server:
        folder = Path(name)
        write_input(folder, records)
        spoil(server, rng)
        collector = Collector(folder, queue, server, records)
        started, code = time.monotonic(), None
        for _ in range(_MOST_RUNS):
            code = collector.go(rng)
            if code not in (None, WAITING, 4):
                break
            if queue == "vllm":
                answer_files(folder, server, rng)
        lines = (folder / "results/annotations.jsonl").read_bytes().splitlines()
        found = {json.loads(line)["caption"] for line in lines}
        return {
            "queue": queue,
            "records": records,
            "exit_code": code,
            "lost": records - len(found),
            "paid_twice": sum(count - 1 for count in server.floor.answered.values()),
            "answered": len(server.floor.answered),
            "jobs": len(server.jobs) or None,
            "runs": collector.runs,
            "killed": collector.kills,
            "wall_s": round(time.monotonic() - started, 1),
            "peak_mb": collector.peak_mb,
        }


def main() -> None:
    """Print a JSON object for each queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--queues", nargs="+", default=["openai", "gemini", "vllm"])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for queue in given.queues:
        print(json.dumps(measure(queue, given.records, given.seed)), flush=True)


if __name__ == "__main__":
    main()
