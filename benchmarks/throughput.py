#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How near a run comes to what its endpoint allows, and what a resume costs.

Machines are noisy: all figures are ratios of one run. A loopback server (a process of its own)
answers after a fixed delay; the ideal is requests x delay / workers.

    python benchmarks/throughput.py [--samples 300] [--delay 0.05] [--workers 4 32]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from support.loopback import Answer, Call, Loopback  # noqa: E402
from support.scenes import make_scene  # noqa: E402


def answer(call: Call) -> Answer:
    """A fixed answer to each step: looking at the picture would take longer than the delay."""
    if call.step == "1":
        box = {"id": 0, "label": "a rectangle", "bbox_2d": [100, 100, 500, 500], "score": 0.9}
        return Answer(text=json.dumps({"instances": [box]}))
    said = {"text": "a rectangle", "noun_chunk": "rectangle"}
    return Answer(text=json.dumps({"cleaned_caption": "a rectangle", "expressions": [said]}))


def serve(delay: float) -> None:
    """Answer until stdin ends."""
    with Loopback() as server:
        server.delay = delay
        server.fault = answer
        print(server.base_url, flush=True)
        sys.stdin.read()


def make_input(folder: Path, samples: int) -> Path:
    """Pictures of 640x480 and their captions."""
    rows = []
    for index in range(20):
        make_scene((640, 480), seed=index).save(folder / f"{index}.png")
    for index in range(samples):
        scene = make_scene((640, 480), seed=index % 20)
        rows.append({"image_path": f"{index % 20}.png", "caption": f"{scene.caption}, {index}"})
    path = folder / "input.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(url: str, data: Path, results: Path, workers: int) -> dict[str, Any]:
    """One run: its summary, wall and CPU seconds of the client."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "scripts/run_pipeline.py"), "--quiet",
            f"results_dir={results}", f"data.input_jsonl={data}", f"data.image_root={data.parent}",
            "vlm.backend=openai", f"vlm.openai.base_url={url}", "vlm.openai.model_name=test-vlm",
            "vlm.coordinates=norm1000_xyxy", f"workflow.max_workers={workers}",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary: dict[str, Any] = json.loads(done.stdout)
    wall = time.monotonic() - started
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"requests": summary["usage"]["requests"], "wall_s": wall, "cpu_s": cpu}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.delay)
    command = [sys.executable, __file__, "--serve", "--delay", str(arguments.delay)]
    figures = []
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer,
    ):
        assert peer.stdout and peer.stdin
        url = peer.stdout.readline().strip()
        data = make_input(Path(name), arguments.samples)
        for workers in arguments.workers:
            results = Path(name) / str(workers)
            first = run(url, data, results, workers)
            again = run(url, data, results, workers)
            ideal = first["requests"] * arguments.delay / workers
            figures.append(
                {
                    "workers": workers,
                    "requests": first["requests"],
                    "wall_to_ideal": round(first["wall_s"] / ideal, 2),
                    "cpu_ms_a_request": round(1000 * first["cpu_s"] / first["requests"], 2),
                    "resume_to_first_run": round(again["wall_s"] / first["wall_s"], 3),
                    "requests_of_the_resume": again["requests"],
                }
            )
        peer.stdin.close()
    print(json.dumps({"samples": arguments.samples, "delay_s": arguments.delay, "runs": figures}))


if __name__ == "__main__":
    main()
