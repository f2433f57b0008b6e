#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A long run against an endpoint that fails in every way, killed again and again.

About 1 % of the requests meet each fault of ``soak_server.py``; kill -9 comes every few minutes,
and in the middle the endpoint is away for a minute. In the end every sample must be annotated,
once, with the boxes that its picture has, and the process must not have grown.

    python benchmarks/soak.py [--minutes 30] [--seed 1]

The exit code is 1 where any of it does not hold.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from image_grounding.boxes.geometry import box_iou  # noqa: E402
from image_grounding.errors import Exit  # noqa: E402
from support.scenes import Scene, make_scene  # noqa: E402

WORKERS, DELAY_S, TIMEOUT_S = 4, 0.4, 10
# What the faults, the kills and the outage leave of the requests that there could be.
_SHARE_LEFT = 0.36
_SCENES = 40
_SIZE = (320, 240)
_KILLS = 7
_OUTAGE_S = 60.0
_MOST_RESTARTS = 40
# An endpoint that is away when a run begins ends it at once.
_PAUSE_S = 10
# What a process at work needs until it has met everything once.
_WARM_S = 15
_LEAST_IOU = 0.9
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True)
class Look:
    """A process at one moment: seconds since it began, resident MB, descriptors, threads."""

    seconds: float
    rss_mb: float
    descriptors: int
    threads: int


@dataclass
class Life:
    """One run of the script, from its start to its end."""

    process: subprocess.Popen[str]
    out: Path
    began: float = field(default_factory=time.monotonic)
    looks: list[Look] = field(default_factory=list)

    def look(self) -> None:
        """Look at the process, if it still is one."""
        place = Path(f"/proc/{self.process.pid}")
        try:
            pages = int((place / "statm").read_text().split()[1])
            descriptors = len(list((place / "fd").iterdir()))
            threads = len(list((place / "task").iterdir()))
        except OSError:
            return
        seconds = time.monotonic() - self.began
        self.looks.append(Look(seconds, pages * _PAGE_KB / 1024, descriptors, threads))

    def figures(self) -> dict[str, Any]:
        """What it held when it was warm, in the middle and at the end."""
        # Threads decode pictures from the first to the last sample.
        at_work = [look for look in self.looks if look.threads > 1] or self.looks[-1:]
        begin = at_work[0].seconds + _WARM_S
        warm = next((look for look in at_work if look.seconds >= begin), at_work[0])
        at = {"start": warm, "mid": at_work[len(at_work) // 2], "end": at_work[-1]}
        return {
            "seconds": round(self.looks[-1].seconds),
            "rss_mb": {name: round(look.rss_mb, 1) for name, look in at.items()},
            "rss_growth_mb": round(at["end"].rss_mb - warm.rss_mb, 1),
            "rss_peak_mb": round(max(look.rss_mb for look in self.looks), 1),
            "descriptors": {name: look.descriptors for name, look in at.items()},
            "threads": {name: look.threads for name, look in at.items()},
        }


class Server:
    """``soak_server.py`` in a process of its own."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, str(ROOT / "benchmarks/soak_server.py"), "--seed", str(seed)]
        self._process = subprocess.Popen(
            [*command, "--delay", str(DELAY_S)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self.url = f"http://127.0.0.1:{self._out.readline().strip()}/v1"

    def tell(self, word: str) -> None:
        """Send it away, or call it back."""
        self._in.write(f"{word}\n")
        self._in.flush()

    def stats(self) -> dict[str, Any]:
        """What was asked and injected so far."""
        self.tell("stats")
        found: dict[str, Any] = json.loads(self._out.readline())
        return found

    def end(self) -> None:
        """End it."""
        self._in.close()
        self._process.wait(30)


class Soak:
    """The input, the runs over it, and what happened to them."""

    def __init__(self, folder: Path, samples: int, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.scenes = [make_scene(_SIZE, seed=number) for number in range(_SCENES)]
        self.lives: list[Life] = []
        self.codes: list[int] = []
        self.kills = 0
        for number, scene in enumerate(self.scenes):
            scene.save(folder / f"{number}.png")
        with open(folder / "input.jsonl", "w", encoding="utf-8") as file:
            for number in range(samples):
                caption = f"{self.scene_of(number).caption}, {number}"
                row = {"image_path": f"{number % _SCENES}.png", "caption": caption}
                file.write(json.dumps({**row, "number": number}) + "\n")
        self.samples = samples

    def scene_of(self, number: int) -> Scene:
        """The picture of a line."""
        return self.scenes[number % _SCENES]

    def start(self) -> Life:
        """Start the script on what is left."""
        out = self.folder / f"out_{len(self.lives)}"
        with open(out, "w") as stdout, open(f"{out}.err", "w") as stderr:
            process = subprocess.Popen(
                [
                    sys.executable, str(ROOT / "scripts/run_pipeline.py"),
                    f"results_dir={self.folder}/results", f"data.image_root={self.folder}",
                    f"data.input_jsonl={self.folder}/input.jsonl", "vlm.backend=openai",
                    f"vlm.openai.base_url={self.server.url}", "vlm.openai.model_name=test-vlm",
                    f"vlm.openai.timeout={TIMEOUT_S}", f"workflow.max_workers={WORKERS}",
                ],
                stdout=stdout, stderr=stderr, text=True,
            )  # fmt: skip
        self.lives.append(Life(process, out))
        return self.lives[-1]

    def run(self, minutes: float, rng: random.Random) -> None:
        """Run, kill, resume and take the endpoint away, until all is done."""
        began = time.monotonic()
        seconds = minutes * 60
        away = (seconds / 2, seconds / 2 + min(_OUTAGE_S, seconds / 6))
        is_away = False
        kills = list(_kill_times(seconds, rng))
        life = self.start()
        while len(self.lives) < _MOST_RESTARTS:
            time.sleep(1)
            now = time.monotonic() - began
            life.look()
            if is_away != (away[0] <= now < away[1]):
                is_away = not is_away
                self.server.tell("down" if is_away else "up")
            if (code := life.process.poll()) is not None:
                self.codes.append(code)
                if code == 0:
                    return
                if code == Exit.ENDPOINT:
                    time.sleep(_PAUSE_S)
                life = self.start()
            elif kills and now >= kills[0]:
                kills.pop(0)
                life.process.kill()
                life.process.wait()
                self.kills += 1
                life = self.start()
            if round(now) % 60 == 0:
                self.server.stats()  # lets go of the requests that it remembers
                print(f"{now:.0f} s, run {len(self.lives)}", file=sys.stderr, flush=True)

    def report(self) -> dict[str, Any]:
        """What came of it."""
        longest = max(self.lives, key=lambda life: len(life.looks))
        stats = self.server.stats()
        found = self._outcome()
        return {
            "samples": self.samples,
            "requests": stats["requests"],
            "faults": sum(stats["injected"].values()),
            "faults_by_kind": dict(sorted(stats["injected"].items())),
            "kills": self.kills,
            "starts": len(self.lives),
            "exit_codes": self.codes,
            **found,
            "longest_run": longest.figures(),
        }

    def _outcome(self) -> dict[str, Any]:
        """The annotations against the truth."""
        results = self.folder / "results"
        lines = (results / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        numbers = [record["number"] for record in records]
        failures = [
            json.loads(line)
            for path in results.glob("*/failures.jsonl")
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        wrong = [record["number"] for record in records if not self._is_right(record)]
        ids = [box["bbox_id"] for record in records for box in _boxes(record)]
        left = [str(path) for path in results.rglob("*.tmp")]
        return {
            "annotated": len(records),
            "missing": self.samples - len(set(numbers)),
            "failed": [f"line {entry['line']}: {entry['reason']}" for entry in failures],
            "duplicates": len(numbers) - len(set(numbers)) + len(ids) - len(set(ids)),
            "boxes": len(ids),
            "wrong_records": wrong,
            "in_order": numbers == sorted(numbers),
            "left_over": left,
        }

    def _is_right(self, record: dict[str, Any]) -> bool:
        """Whether each rectangle has its one box, and nothing else has any."""
        truth = dict(self.scene_of(record["number"]).boxes)
        named = {}
        for expression in record["expressions"]:
            colour = next((name for name in truth if name in expression["text"].split()), "")
            named[colour] = [tuple(box["bbox"]) for box in expression["instances"]]
        return named.keys() == truth.keys() and all(
            len(boxes) == 1 and box_iou(boxes[0], truth[colour]) >= _LEAST_IOU
            for colour, boxes in named.items()
        )


def _boxes(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for expression in record["expressions"]:
        yield from expression["instances"]


def _kill_times(seconds: float, rng: random.Random) -> Iterator[float]:
    """When a run is killed: some minutes apart, and never in the first quarter of a minute."""
    share = seconds * 0.9 / _KILLS
    for number in range(_KILLS):
        yield max(15.0, share * (number + rng.uniform(0.3, 1.0)))


def is_good(report: dict[str, Any]) -> bool:
    """Whether all holds that must; a run may keep some MB for its counts, and no descriptor."""
    longest = report["longest_run"]
    grown = longest["descriptors"]["end"] - longest["descriptors"]["start"]
    bad = ("missing", "failed", "duplicates", "wrong_records", "left_over")
    whole = not any(report[name] for name in bad) and report["in_order"]
    return whole and longest["rss_growth_mb"] < 15 and grown <= WORKERS


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    samples = round(given.minutes * 60 * WORKERS / DELAY_S / 2 * _SHARE_LEFT)
    with tempfile.TemporaryDirectory() as name:
        server = Server(given.seed)
        soak = Soak(Path(name), samples, server)
        began = time.monotonic()
        try:
            soak.run(given.minutes, random.Random(given.seed))
            report = soak.report()
        finally:
            for life in soak.lives:
                life.process.kill()
            server.end()
    good = is_good(report)
    seconds = round(time.monotonic() - began)
    print(json.dumps({"good": good, "seconds": seconds, "seed": given.seed, **report}, indent=1))
    sys.exit(not good)


if __name__ == "__main__":
    main()
