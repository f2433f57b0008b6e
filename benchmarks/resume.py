#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it takes to find that everything is done already, and a dry run of the same input.

The checkpoints of one sample, asked of a loopback server, are written for all the others. The first
resume writes the outputs, the second one leaves them as they are. The baseline, in the same call:
reading and parsing the checkpoints, twice.

    python benchmarks/resume.py [--samples 20000]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.append(str(ROOT / "scripts"))

from image_grounding.input.samples import Sample, SampleReader  # noqa: E402
from image_grounding.results.folder import ResultsFolder  # noqa: E402
from image_grounding.steps.step import Earlier  # noqa: E402
from image_grounding.steps.table import all_steps  # noqa: E402
from support.loopback import Loopback  # noqa: E402
from support.scenes import make_scene  # noqa: E402


def run(folder: Path, url: str, *more: str) -> dict[str, Any]:
    """A run's answer, its wall and CPU seconds, and when its first line of progress came."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable, str(ROOT / "scripts/run_pipeline.py"), f"results_dir={folder}/results",
            f"data.input_jsonl={folder}/input.jsonl", f"data.image_root={folder}",
            "vlm.backend=openai", f"vlm.openai.base_url={url}", "vlm.openai.model_name=test-vlm",
            "vlm.coordinates=norm1000_xyxy", *more,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    process.stderr.readline()
    first = time.monotonic() - started
    out, err = process.communicate()
    assert process.returncode == 0, err
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"answer": json.loads(out), "wall_s": wall, "cpu_s": cpu, "first_line_s": first}


def write_input(folder: Path, samples: int) -> None:
    """Captions of one picture."""
    caption = make_scene((640, 480), seed=1).caption
    rows = ({"image_path": "a.png", "caption": f"{caption}, {index}"} for index in range(samples))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "input.jsonl").write_text(lines, encoding="utf-8")


def finish_all(folder: Path) -> None:
    """Give every sample the checkpoints of the first."""
    reader = SampleReader(folder / "input.jsonl", str(folder))
    stores = [ResultsFolder(folder / "results").checkpoints(step) for step in all_steps()]
    first = next(iter(reader))
    assert isinstance(first, Sample)
    for sample in reader:
        assert isinstance(sample, Sample)
        earlier = Earlier()
        for store in stores:
            kept = store.load(first, earlier)
            assert kept
            store.save(sample, replace(kept, basis=store.step.basis(sample, earlier)))
            earlier = earlier.plus(store.step, kept.result)


def read_all(folder: Path) -> float:
    """CPU seconds of reading and parsing all checkpoints twice."""
    started = time.process_time()
    for _ in range(2):
        for path in (folder / "results").rglob(".ckpt/*.jsonl"):
            for line in path.read_bytes().splitlines():
                json.loads(line)
    return time.process_time() - started


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as name, Loopback() as server:
        folder = Path(name)
        make_scene((640, 480), seed=1).save(folder / "a.png")
        write_input(folder, 1)
        run(folder, server.base_url)
        start = run(folder, server.base_url)
        write_input(folder, samples)
        dry = run(folder, server.base_url, "--dry-run", "results_dir=/nonexistent")
        finish_all(folder)
        resumed = run(folder, server.base_url)
        again = run(folder, server.base_url)
        for found in (resumed, again):
            assert found["answer"]["counts"]["from_checkpoints"] == samples
        bare = read_all(folder)
    cpu = resumed["cpu_s"] - start["cpu_s"]
    print(
        json.dumps(
            {
                "samples": samples,
                "resume_cpu_ms_a_record": round(1000 * cpu / samples, 3),
                "again_cpu_ms_a_record": round(
                    1000 * (again["cpu_s"] - start["cpu_s"]) / samples, 3
                ),
                "resume_cpu_to_reading_the_files": round(cpu / bare, 2),
                "resume_wall_s": round(resumed["wall_s"], 2),
                "first_line_s": round(resumed["first_line_s"], 2),
                "start_wall_s": round(start["wall_s"], 2),
                "dry_run_cpu_s": round(dry["cpu_s"], 2),
                "dry_run_cpu_ms_a_line": round(1000 * (dry["cpu_s"] - start["cpu_s"]) / samples, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
