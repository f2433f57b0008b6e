#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""``--engine ray`` with two workers against one process, where answers take their time.

Each picture is another file. The time of the asking is that from the first request to the last,
as the endpoint sees them; the start of Ray comes before it. Needs the extra ``ray``.

    python benchmarks/ray_engine.py [--samples 600] [--delay 0.2] [--in-flight 32] [--repeats 3]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]

from measure import product, write_input, write_pictures  # noqa: E402

DRAWN = 20
RAY = ("--engine", "ray", "--ray-workers", "2")


def fill(folder: Path, pictures: int, size: tuple[int, int]) -> Path:
    """Different pictures, though few of them are drawn."""
    write_pictures(folder, DRAWN, size)
    drawn = [(folder / f"{number}.jpg").read_bytes() for number in range(DRAWN)]
    for number in range(pictures):
        data = drawn[number % DRAWN] + number.to_bytes(4)  # behind the end of the picture
        (folder / f"{number}.jpg").write_bytes(data)
    return write_input(folder, pictures, pictures)


def run(folder: Path, data: Path, delay: float, name: str, *more: str) -> dict[str, float]:
    """Seconds of a run, and of the asking in it; CPU seconds of its own process."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks/server.py"), "--delay", str(delay), "--times"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdin and server.stdout
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        ran = product(folder, data, url, name, *more)
        server.stdin.close()
        times = json.loads(server.stdout.read())
    return {
        "asking_s": times[-1] - times[0] + delay,
        "wall_s": ran.wall_s,
        "cpu_s": ran.cpu_s,
        "annotated": ran.answer["counts"]["annotated"],
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=640)
    given = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"online": [], "ray": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = fill(folder, given.samples, (given.width, given.width * 3 // 4))
        workers = f"workflow.max_workers={given.in_flight}"
        for repeat in range(given.repeats):
            for engine, more in (("online", ()), ("ray", RAY)):
                results = f"{engine}-{repeat}"
                found[engine].append(run(folder, data, given.delay, results, workers, *more))
                assert found[engine][-1]["annotated"] == given.samples
                records = [folder / f"{kind}-{repeat}/annotations.jsonl" for kind in found]
            assert records[0].read_bytes() == records[1].read_bytes()
    middle = {
        engine: {key: median(run[key] for run in runs) for key in ("asking_s", "wall_s", "cpu_s")}
        for engine, runs in found.items()
    }
    ratios = {key: middle["online"][key] / middle["ray"][key] for key in ("asking_s", "wall_s")}
    ideal = 2 * given.samples * given.delay / given.in_flight
    print(
        json.dumps(
            {
                "speed_of_asking_against_one_process": round(ratios["asking_s"], 3),
                "speed_of_the_whole_against_one_process": round(ratios["wall_s"], 3),
                "ideal_asking_s": round(ideal, 2),
                "samples_a_second_while_asking": {
                    engine: round(given.samples / times["asking_s"], 1)
                    for engine, times in middle.items()
                },
                "cpu_ms_a_sample_of_the_driver": {
                    engine: round(1000 * times["cpu_s"] / given.samples, 2)
                    for engine, times in middle.items()
                },
                "seconds": {
                    engine: {key: round(value, 2) for key, value in times.items()}
                    for engine, times in middle.items()
                },
            }
        )
    )


if __name__ == "__main__":
    main()
