#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A great many finished samples: resume, write, look at, inspect, export; CPU, memory, disk.

Input and checkpoints of one sample, annotated through a loopback server, are written for all the
others as a run would have left them. Every figure is of a process of its own.

    python benchmarks/million.py [--samples 100000]
"""

import argparse
import hashlib
import json
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

from image_grounding.input.samples import make_sample_id  # noqa: E402
from support.loopback import Loopback  # noqa: E402
from support.scenes import make_scene  # noqa: E402

# In a small process between: memory counts from that of the process that starts another one.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
STEPS = ("step_0_expression_extraction", "step_1_grounding")


def measured(script: str, *arguments: str) -> dict[str, Any]:
    """A script's JSON answer, CPU and wall seconds, and the most memory that it took."""
    started = time.monotonic()
    command = [sys.executable, "-c", _MEASURE, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cpu, kilobytes = map(float, done.stderr.splitlines()[-1].split())
    return {
        "answer": json.loads(done.stdout),
        "cpu_s": round(cpu, 2),
        "wall_s": round(time.monotonic() - started, 2),
        "mb": round(kilobytes / 1024, 1),
    }


def spec(folder: Path, url: str) -> list[str]:
    """The run."""
    return [
        f"results_dir={folder}/results", f"data.input_jsonl={folder}/input.jsonl",
        f"data.image_root={folder}", "vlm.backend=openai", f"vlm.openai.base_url={url}",
        "vlm.openai.model_name=test-vlm", "vlm.coordinates=norm1000_xyxy",
    ]  # fmt: skip


def captions(samples: int) -> Iterator[str]:
    """Captions of one picture."""
    caption = make_scene((640, 480), seed=1).caption
    return (f"{caption}, {index}" for index in range(samples))


def write_input(folder: Path, samples: int) -> None:
    """One line a caption."""
    with (folder / "input.jsonl").open("w") as file:
        for caption in captions(samples):
            file.write(json.dumps({"image_path": "a.png", "caption": caption}) + "\n")


def finish_all(folder: Path, samples: int) -> None:
    """Give every sample the checkpoints of the first, as lines of the segment that it is in."""
    for step in STEPS:
        (path,) = (folder / "results" / step / ".ckpt").iterdir()
        first = path.read_text()
        kept = json.loads(first)
        with path.open("w") as file:
            for caption in captions(samples):
                line = first.replace(kept["sample_id"], make_sample_id("a.png", caption))
                if step == STEPS[0]:  # the other one works on the cleaned caption
                    basis = hashlib.sha256(json.dumps([caption, None]).encode()).hexdigest()[:32]
                    line = line.replace(kept["basis"], basis)
                file.write(line)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as name, Loopback() as server:
        folder = Path(name)
        make_scene((640, 480), seed=1).save(folder / "a.png")
        run = spec(folder, server.base_url)
        write_input(folder, 1)
        measured("run_pipeline.py", *run)
        start = measured("run_pipeline.py", *run)
        write_input(folder, samples)
        finish_all(folder, samples)
        results = str(folder / "results")
        found = {
            "write": measured("run_pipeline.py", *run),
            "resume": measured("run_pipeline.py", *run),
            "status": measured("status.py", results),
            "inspect": measured("inspect.py", results, "--sample", "100"),
            "export": measured("export.py", results, "--format", "odvg", "-o", f"{folder}/odvg"),
        }
        for name in ("write", "resume"):
            assert found[name]["answer"]["counts"]["from_checkpoints"] == samples
            assert found[name]["answer"]["usage"]["requests"] == 0
        files = [path for path in Path(results).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    for figures in found.values():
        del figures["answer"]
        figures["cpu_ms_a_sample"] = round(1000 * (figures["cpu_s"] - start["cpu_s"]) / samples, 4)
    summary = {"samples": samples, "files": len(files), "bytes_a_sample": round(size / samples)}
    print(json.dumps({**summary, **found}, indent=1))


if __name__ == "__main__":
    main()
