#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark with its goal: prints JSON, and writes the table of benchmarks/README.md.

A part of them replaces its own rows of the table.

    python benchmarks/run.py [--rounds 2] [--only transport resume] [--write]
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measure import ROOT

README = ROOT / "benchmarks/README.md"
_START = "<!-- figures -->\n"
Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A figure: what it is, its goal, the benchmark with its options, and where it stands there."""

    what: str
    goal: str
    command: tuple[str, ...]
    figure: Callable[[Answers], float]


def _transport(delay: str, name: str) -> Callable[[Answers], float]:
    return lambda answers: float(answers[0][f"openai, {delay} s"][name])


def _records(place: int, name: str) -> Callable[[Answers], float]:
    return lambda answers: float(answers[place][name])


def _tokens(answers: Answers, name: str) -> float:
    """The worst case: a server that shrinks pictures as its model card advises."""
    rows = [row for row in answers if "Qwen3" in row["model"] and row["size"] == "1920x1080"]
    return max(float(row[name]) for row in rows)


_TRANSPORT = ("transport.py", "--backends", "openai", "--requests", "3000")
_FEW = ("records.py", "--workers", "4", "--records", "600")
_MANY = ("records.py", "--workers", "32", "128", "--records", "4000")
_SLOW = ("records.py", "--workers", "16", "64", "--records", "1200", "--slow-every", "20")
_LINES = ("lines.py",)
_SERVER = ("shared_limit.py", "--server")
_BATCH = ("batch.py", "--records", "2000")
ROWS = (
    Row("CPU ms a request, whole process", "<= 0.8", ("requests_cpu.py",),
        lambda answers: float(answers[0]["cpu_ms_a_request"])),
    Row("requests a second / bare aiohttp, no latency", ">= 0.5", _TRANSPORT,
        _transport("0", "rate_to_bare")),
    Row("requests a second / bare aiohttp, 200 ms", ">= 0.95", _TRANSPORT,
        _transport("0.2", "rate_to_bare")),
    Row("records a second / plain threads, 4 workers", ">= 1.15", _FEW, _records(0, "speed")),
    Row("records a second / plain threads, 32 workers", ">= 2", _MANY, _records(0, "speed")),
    Row("records a second / plain threads, 128 workers", ">= 4", _MANY, _records(1, "speed")),
    Row("CPU a record / plain threads, 32 workers", "<= 0.4", _MANY, _records(0, "cpu")),
    Row("4 workers: wall / that of the requests alone", "", _FEW, _records(0, "wall_to_ideal")),
    Row("the same of plain threads: no ratio can be larger", "", _FEW,
        _records(0, "wall_to_ideal_plain")),
    Row("auto, capacity 8: share of it", ">= 0.9", ("capacity.py",), _records(0, "share")),
    Row("auto, capacity 64: share of it", ">= 0.9", ("capacity.py",), _records(1, "share")),
    Row("a fixed 64 in the place of auto: share of it", "",
        ("capacity.py", "--workers", "64", "--capacities", "64"), _records(0, "share")),
    Row("auto, capacity 64: refused", "< 0.01", ("capacity.py",), _records(1, "refused")),
    Row("one answer in 20 ten times as slow, 16 workers: wall / plain threads", "<= 0.7", _SLOW,
        lambda answers: round(1 / answers[0]["speed"], 2)),
    Row("the same, 16 workers: wall / that of the requests alone", "", _SLOW,
        _records(0, "wall_to_ideal")),
    Row("the same of plain threads, 16 workers", "", _SLOW, _records(0, "wall_to_ideal_plain")),
    Row("the same, 64 workers: wall / plain threads", "<= 0.7", _SLOW,
        lambda answers: round(1 / answers[1]["speed"], 2)),
    Row("60 captions of one photo: wall / ideal", "<= 1.3", ("pictures.py",),
        lambda answers: float(answers[0]["wall_to_ideal"])),
    Row("dry run of 100,000 lines, seconds", "<= 4", _LINES,
        lambda answers: float(answers[0]["dry_run"][-1]["wall_s"])),
    Row("dry run of 100,000 lines, memory / of 1,000", "<= 1.1", _LINES,
        lambda answers: round(answers[0]["dry_run"][-1]["peak_mb"]
                              / answers[0]["dry_run"][0]["peak_mb"], 2)),
    Row("run of 20,000 records, memory / of 1,000", "<= 1.1", _LINES,
        lambda answers: round(answers[0]["run"][-1]["peak_mb"]
                              / answers[0]["run"][0]["peak_mb"], 2)),
    Row("run of 1,000 records, MB", "<= 100", _LINES,
        lambda answers: float(answers[0]["run"][0]["peak_mb"])),
    Row("resume, CPU ms a finished record", "<= 0.2", ("resume.py",),
        lambda answers: float(answers[0]["again_cpu_ms_a_record"])),
    Row("the same where the outputs are written", "<= 0.2", ("resume.py",),
        lambda answers: float(answers[0]["resume_cpu_ms_a_record"])),
    Row("resume, seconds to the first line", "<= 1", ("resume.py",),
        lambda answers: float(answers[0]["first_line_s"])),
    Row("tokens a record / peer, Qwen3-VL, 1920x1080, two steps", "<= 0.6", ("tokens.py",),
        lambda answers: _tokens(answers, "two_steps_to_peer")),
    Row("tokens a record / peer, Qwen3-VL, 1920x1080, 5 captions a picture", "<= 0.6",
        ("tokens.py",), lambda answers: _tokens(answers, "captions_together_to_peer")),
    Row("tokens a record / peer, Qwen3-VL, 1920x1080, single pass", "<= 0.6", ("tokens.py",),
        lambda answers: _tokens(answers, "single_pass_to_peer")),
    Row("eight runs on one quota: share of it", ">= 0.95", ("shared_limit.py",),
        _records(0, "share")),
    Row("eight runs on one quota, three killed with -9: share of it", ">= 0.95",
        ("shared_limit.py",), _records(1, "share")),
    Row("eight runs on one quota: seconds over it, both times", "<= 0", ("shared_limit.py",),
        lambda answers: float(sum(answer["seconds_over"] for answer in answers))),
    Row("the same through a server: share of it", ">= 0.95", _SERVER, _records(0, "share")),
    Row("the same, three runs killed with -9: share of it", ">= 0.95", _SERVER,
        _records(1, "share")),
    Row("the same, the server killed with -9: share of it", ">= 0.95", _SERVER,
        _records(2, "share")),
    Row("the same: seconds over it, all three times", "<= 0", _SERVER,
        lambda answers: float(sum(answer["seconds_over"] for answer in answers))),
    Row("2,000 records on three faulty batch queues: lost", "<= 0", _BATCH,
        lambda answers: float(sum(row["lost"] for row in answers))),
    Row("2,000 records on three faulty batch queues: paid twice", "<= 0", _BATCH,
        lambda answers: float(sum(row["paid_twice"] for row in answers))),
    Row("--help of the slowest script, seconds", "<= 0.2", ("startup.py",),
        lambda answers: float(answers[0]["slowest"])),
)  # fmt: skip


def answers_of(command: Sequence[str]) -> Answers:
    """What a benchmark prints: one JSON object, or one a line."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / command[0]), *command[1:]],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    try:
        return [json.loads(done.stdout)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in done.stdout.splitlines()]


def table(figures: Mapping[str, Sequence[float]], before: Sequence[str]) -> str:
    """All rows in Markdown; what was not measured now stands as it stood ``before``."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    kept = {line.split(" | ")[0].removeprefix("| "): line for line in before if " | " in line}
    lines = [f"Measured on {machine}.", "", "| what | goal | measured | spread | date |"]
    lines.append("|---|---|---|---|---|")
    for row in ROWS:
        if found := figures.get(row.what):
            middle = sorted(found)[len(found) // 2]
            spread = f"{min(found):g} to {max(found):g}"
            lines.append(f"| {row.what} | {row.goal} | {middle:g} | {spread} | {date} |")
        elif row.what in kept:
            lines.append(kept[row.what])
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run them all, some rounds each; each figure is on stderr as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="names of benchmarks, without .py")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    given = parser.parse_args()
    rows = [row for row in ROWS if not given.only or row.command[0][:-3] in given.only]
    figures: dict[str, list[float]] = {}
    for command in dict.fromkeys(row.command for row in rows):
        print(" ".join(command), file=sys.stderr, flush=True)
        rounds = [answers_of(command) for _ in range(given.rounds)]
        for row in rows:
            if row.command == command:
                figures[row.what] = [row.figure(answers) for answers in rounds]
                print(f"  {row.what}: {figures[row.what]}", file=sys.stderr, flush=True)
        if given.write:
            head, _, before = README.read_text(encoding="utf-8").partition(_START)
            text = head + _START + table(figures, before.splitlines())
            README.write_text(text, encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
