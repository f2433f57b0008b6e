# SPDX-License-Identifier: Apache-2.0
"""An endpoint that goes away in mid-run and comes back: no sample fails of it."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from support.loopback import Answer, Call, Loopback
from support.scenes import make_scene
from support.scripts import start_script

SAMPLES = 104
# Shorter than a test may take, longer than all attempts of a sample together.
OUTAGE_S = 2.5


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Many captions of one picture."""
    scene = make_scene((64, 48), seed=4)
    scene.save(tmp_path / "scene.png")
    rows = [
        {"image_path": "scene.png", "caption": f"{scene.caption} {number}"}
        for number in range(SAMPLES)
    ]
    write_jsonl(tmp_path / "input.jsonl", rows)
    return Project(tmp_path, {"scene.png": scene})


def once(call_number: int, then: Callable[[], None]) -> Callable[[Call], Answer | None]:
    """A fault that does something when the server sees that request, and fails none."""
    due = threading.Event()

    def fault(call: Call) -> Answer | None:
        if call.number >= call_number and not due.is_set():
            due.set()
            threading.Thread(target=then, daemon=True).start()
        return None

    return fault


def restart(server: Loopback, seconds: float = OUTAGE_S) -> None:
    server.go_down()
    threading.Timer(seconds, server.come_back).start()


@pytest.mark.parametrize("more", [(), ("workflow.max_workers=auto",)], ids=["fixed", "auto"])
def test_a_server_that_restarts_costs_no_sample(
    more: tuple[str, ...], server: Loopback, project: Project
) -> None:
    server.delay = 0.01
    server.fault = once(60, lambda: restart(server))
    ran = project.run(server, "workflow.max_attempts=2", *more)
    assert ran.code == 0, ran.err
    counts = ran.json["counts"]
    assert (counts["annotated"], counts["failed"]) == (SAMPLES, 0)
    assert "the endpoint does not answer (cannot reach" in ran.err
    assert "the endpoint answers again, after" in ran.err
    # No question is sent into the outage twice, but for the one at a time that is tried.
    tries = 12
    assert ran.json["usage"]["errors"]["unreachable"] < SAMPLES + tries
    assert len(server.calls) >= 2 * SAMPLES


def test_a_gateway_without_its_server_costs_no_sample(server: Loopback, project: Project) -> None:
    """Though each is asked once: four are under way, and those after them are tries."""
    down: list[Call] = []

    def fault(call: Call) -> Answer | None:
        if call.number >= 60 and len(down) < 6:
            down.append(call)
            return Answer(status=(502, 503, 504)[len(down) % 3])
        return None

    server.fault = fault
    ran = project.run(server, "workflow.max_attempts=1", "workflow.max_workers=4")
    assert ran.code == 0, ran.err
    assert (ran.json["counts"]["annotated"], len(down)) == (SAMPLES, 6)


def test_killed_in_the_outage(server: Loopback, project: Project) -> None:
    process: Any = None
    server.delay = 0.01

    def outage() -> None:
        server.go_down()
        for line in process.stderr:
            if "does not answer" in line:
                break
        process.send_signal(signal.SIGKILL)

    server.fault = once(60, outage)
    process = start_script("run_pipeline.py", *project.overrides(server))
    assert process.wait(timeout=60) == -signal.SIGKILL
    server.come_back()
    asked = len(server.calls)
    again = project.run(server)
    assert again.code == 0, again.err
    assert len(project.annotations()) == SAMPLES
    assert len(server.calls) - asked < 2 * SAMPLES, "what was finished is kept"
    failures = project.results.rglob("failures.jsonl")
    assert not [entry for path in failures for entry in read_jsonl(path)]


def test_an_outage_that_does_not_end_ends_the_run(server: Loopback, project: Project) -> None:
    server.fault = once(60, server.go_down)
    ran = project.run(server, "workflow.max_outage=1")
    assert ran.code == 4, ran.err
    assert "workflow.max_outage: cannot reach" in ran.json["error"]
    counts = ran.json["counts"]
    assert counts["failed"] == 0
    assert 0 < counts["annotated"] == SAMPLES - counts["not_attempted"]
    server.come_back()
    again = project.run(server)
    assert again.code == 0, again.err
    assert again.json["counts"]["from_checkpoints"] == counts["annotated"]
    assert len(project.annotations()) == SAMPLES


def test_a_sample_that_nothing_answers_fails_alone(server: Loopback, project: Project) -> None:
    """Though it is the last one, so that no other question shows that the endpoint is there."""
    server.fault = lambda call: Answer(drop=True) if f' {SAMPLES - 1}"' in call.prompt else None
    ran = project.run(server, "workflow.max_workers=2", "workflow.max_attempts=1")
    assert ran.code == 3, ran.err
    (failure,) = project.failures("0")
    assert (failure["line"], failure["reason"]) == (SAMPLES, "unreachable")
    assert len(project.annotations()) == SAMPLES - 1


def test_a_sample_that_brings_the_server_down_fails_alone(
    server: Loopback, make_project: Callable[..., Project]
) -> None:
    """It is in flight at the begin of each outage; its neighbours are not."""
    project = make_project(12, size=(64, 48))
    rows = read_jsonl(project.input)
    rows[5]["caption"] += " and poison"
    write_jsonl(project.input, rows)

    def fault(call: Call) -> Answer | None:
        if "poison" in call.prompt:
            server.go_down()
            threading.Timer(0.8, server.come_back).start()
        return None

    server.fault = fault
    ran = project.run(server, "workflow.max_workers=1", "workflow.max_attempts=1")
    assert ran.code == 3, ran.err
    failed = project.failures("0") + project.failures("1")
    assert [(one["line"], one["reason"]) for one in failed] == [(6, "unreachable")]
