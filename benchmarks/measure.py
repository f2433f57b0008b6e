# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: inputs, an endpoint, and runs of the product that are measured."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 20
# Without bytecode, which an installation has, each process would compile what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@dataclass(frozen=True)
class Measured:
    """A process that has ended: seconds, MB at its peak, and its answer on stdout."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    first_line_s: float
    answer: dict[str, Any]


def write_pictures(folder: Path, count: int = PICTURES, size: tuple[int, int] = (640, 480)) -> None:
    """JPEG files of some 40 kB at 640x480, as photos have them."""
    draw = random.Random(1)
    for number in range(count):
        noise = Image.effect_noise((size[0] // 4, size[1] // 4), 60).convert("RGB").resize(size)
        picture = noise.filter(ImageFilter.GaussianBlur(1))
        for _ in range(30):
            x, y = draw.randrange(size[0]), draw.randrange(size[1])
            color = tuple(draw.randrange(256) for _ in range(3))
            ImageDraw.Draw(picture).ellipse((x, y, x + size[0] // 6, y + size[1] // 6), color)
        picture.save(folder / f"{number}.jpg", quality=92)


def write_input(folder: Path, samples: int, pictures: int = PICTURES) -> Path:
    """So many captions, picture by picture in turns."""
    path = folder / f"input_{samples}.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for number in range(samples):
            caption = f"There is a red cup beside plates, number {number}."
            row = {"image_path": f"{number % pictures}.jpg", "caption": caption}
            file.write(json.dumps(row) + "\n")
    return path


@contextlib.contextmanager
def endpoint(delay: float, slow_every: int = 0) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks/server.py"), "--delay", str(delay)]
    with subprocess.Popen(
        [*command, "--slow-every", str(slow_every)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.stdin.close()


def measured(command: Sequence[str]) -> Measured:
    """Run a command to its end."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stderr.readline()
    first = time.monotonic() - started
    err = process.stderr.read()
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[1]} failed: {out.decode()[-600:]} {err.decode()[-600:]}")
    cpu = used.ru_utime + used.ru_stime
    return Measured(wall, cpu, used.ru_maxrss / 1024, first, json.loads(out or b"{}"))


def product(folder: Path, data: Path, url: str, results: str, *more: str) -> Measured:
    """A run of the product with a named convention that nothing is asked about."""
    return measured([
        sys.executable, str(ROOT / "scripts/run_pipeline.py"), f"results_dir={folder / results}",
        f"data.input_jsonl={data}", f"data.image_root={folder}", "vlm.backend=openai",
        f"vlm.openai.base_url={url}", "vlm.openai.model_name=any",
        "vlm.coordinates=norm1000_xyxy", "vlm.coordinates_trusted=true", *more,
    ])  # fmt: skip
