# SPDX-License-Identifier: Apache-2.0
"""Batch runs that stay until all is done: their rounds are one command."""

import json
import shlex
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from support.batch_jobs import Floor, run_batch
from support.batch_server import BatchServer
from support.loopback import Loopback
from support.model import Model
from support.scripts import SCRIPTS, clean_environment, run_script

Maker = Callable[..., Project]
_PRICES = ("vlm.prices.input=10", "vlm.prices.output=100")
_WAIT = ("--wait", "--poll-seconds", "0.05")


def see_one_run(printed: dict[str, Any], results: Path) -> None:
    """The figures of a command are those of all its rounds, printed and in the folder."""
    kept = json.loads((results / "run_summary.json").read_text())
    usage, of_all = printed["usage"], printed["usage_of_all_runs"]
    assert of_all["runs"] == 1
    assert {name: usage[name] for name in of_all if name != "runs"} == {
        name: of_all[name] for name in of_all if name != "runs"
    }
    assert all(kept[name] == printed[name] for name in ("usage", "usage_of_all_runs", "seconds"))


def test_usage_is_of_all_rounds(make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    with BatchServer() as queue:
        queue.faults.failing = _Once("red")
        ran = run_script(
            "run_pipeline.py", *project.overrides(queue), *_PRICES, "--engine", "batch", *_WAIT
        )
        asked = sum(job.total for job in queue.jobs)
        probes = len(queue.probes)
    assert ran.code == 0, ran.err
    usage = ran.json["usage"]
    assert len(queue.jobs) >= 3
    assert usage["requests"] == asked + probes
    assert usage["errors"] == {"server_fault": asked - 4}
    assert usage["latency"]
    cost = 4 * (100 * 10 + 20 * 100) / 2 + probes * (100 * 10 + 20 * 100)
    assert usage["cost"] == pytest.approx(cost / 10**6)
    see_one_run(ran.json, project.results)


class _Once:
    """Fails the first request of each question with a word in it."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._seen: set[str] = set()

    def __call__(self, key: str, body: dict[str, Any]) -> tuple[int, str] | None:
        if self._word not in str(body) or key in self._seen:
            return None
        self._seen.add(key)
        return 500, "overloaded"


def test_files_are_awaited(server: Loopback, make_project: Maker) -> None:
    """Somebody answers while the run stays; what it says of a file it says once."""
    project, floor = make_project(2, size=(64, 48)), Floor(Model())
    command = [sys.executable, SCRIPTS / "run_pipeline.py", *project.overrides(server), *_PRICES]
    said: Counter[str] = Counter()
    with subprocess.Popen(
        [*command, "--engine", "batch-files", *_WAIT],
        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr and process.stdout
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        for line in process.stderr:
            said[line] += 1
            if line.startswith("run: vllm run-batch "):
                words = shlex.split(line)
                asked, answered = Path(words[4]), Path(words[6])
                if len(list(project.results.glob("batch/*.output.jsonl"))):
                    run_batch(floor, asked, answered)
                else:
                    answered.touch()
            elif line.startswith("0 of 2 answers can be read in "):
                run_batch(floor, asked, answered)
        printed = json.load(process.stdout)
        watchdog.cancel()
    assert process.returncode == 0, said
    assert printed["usage"]["requests"] == 4
    assert set(floor.answered.values()) == {1}
    assert len([line for line in said if line.startswith("run: ")]) == 2
    assert {count for line, count in said.items() if line.startswith(("run: ", "0 of"))} == {1}
    see_one_run(printed, project.results)
