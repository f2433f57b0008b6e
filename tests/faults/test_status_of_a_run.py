# SPDX-License-Identifier: Apache-2.0
"""What another terminal sees of a run that waits for answers, and is killed."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from conftest import Project
from support.loopback import Answer, Call, Loopback
from support.scripts import Ran, Started, run_script

Maker = Callable[..., Project]


@pytest.fixture
def running(server: Loopback, make_project: Maker) -> Iterator[tuple[Project, Started]]:
    """A run of 12 samples whose endpoint answers 20 requests and then no more."""
    project = make_project(12, size=(64, 48))
    held = threading.Event()

    def hold(call: Call) -> Answer | None:
        if call.number > 20:
            held.wait(60)
        return None

    server.fault = hold
    prices = ("vlm.prices.input=1", "vlm.prices.output=1", "workflow.max_workers=2")
    process = project.start(server, *prices)
    try:
        yield project, process
    finally:
        held.set()
        process.kill()


def status(project: Project, *options: str) -> Ran:
    return run_script("status.py", "results", *options, cwd=project.folder)


def test_runs_are_seen_from_outside_until_they_are_killed(
    running: tuple[Project, Started],
) -> None:
    project, process = running
    seen = status(project, "--quiet")
    while seen.code or not seen.json["finished"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.3)
        seen = status(project, "--quiet")
    assert seen.err == ""
    state = seen.json
    assert (state["status"], state["running"], state["pid"]) == ("running", True, process.pid)
    assert state["finished"] + state["failed"] + state["left"] == state["lines"] == 12
    assert state["endpoint"]["state"] == "answering"
    assert state["samples_a_second"] > 0
    assert state["seconds_left"] is not None
    assert state["cost"] > 0
    process.kill()
    assert "; cost 0.0" in process.communicate()[1]
    state = status(project).json
    assert (state["status"], state["pid"], state["running"]) == (
        "stopped: killed", process.pid, False,
    )  # fmt: skip
    assert 12 - state["left"] == state["finished"] == state["checkpoints"]["1"] > 0
    assert (state["samples_a_second"], state["seconds_left"]) == (None, None)
