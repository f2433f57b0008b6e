# SPDX-License-Identifier: Apache-2.0
"""Request files for ``vllm run-batch``: written, handed over by hand, collected."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project
from faults.test_batch import WAITING, at_once, outputs
from support.batch_jobs import Floor, run_batch
from support.loopback import Loopback
from support.model import Model
from support.scripts import Ran, run_script

Maker = Callable[..., Project]


@pytest.fixture
def floor() -> Floor:
    return Floor(Model())


def write(project: Project, server: Loopback, *more: str) -> Ran:
    overrides = project.overrides(server)
    return run_script("run_pipeline.py", *overrides, "--engine", "batch-files", *more, timeout=60)


def commands(ran: Ran) -> list[tuple[Path, Path]]:
    """The request and output files of what the run asks somebody to run."""
    lines = [line for line in ran.err.splitlines() if line.startswith("run: vllm run-batch ")]
    words = [shlex.split(line) for line in lines]
    assert all(line[-2:] == ["--model", "test-vlm"] for line in words)
    return [(Path(line[line.index("-i") + 1]), Path(line[line.index("-o") + 1])) for line in words]


def test_by_hand(server: Loopback, make_project: Maker, floor: Floor) -> None:
    """Nothing is asked of any server; the outputs are as if it had been."""
    project = make_project(3, size=(64, 48))
    ran = write(project, server)
    for _ in range(2):
        assert (ran.code, ran.json["status"]) == (WAITING, "waiting for 1 job"), ran.err
        ((asked, answered),) = commands(ran)
        line = json.loads(asked.read_bytes().splitlines()[0])
        assert line.keys() == {"custom_id", "method", "url", "body"}
        assert line["body"]["model"] == "test-vlm"
        run_batch(floor, asked, answered)
        ran = write(project, server)
        assert not asked.exists()
        assert answered.exists()
    assert ran.code == 0, ran.err
    assert (server.calls, server.probes, server.gets) == ([], [], [])
    assert set(floor.answered.values()) == {1}
    assert outputs(project.results) == at_once(project, server)


def test_an_output_in_parts(server: Loopback, make_project: Maker, floor: Floor) -> None:
    """What is whole of it is read; the rest is awaited, and not asked twice."""
    project = make_project(4, size=(64, 48))
    ((asked, answered),) = commands(write(project, server, "workflow.steps=['0']"))
    run_batch(floor, asked, answered, part=0.6)
    ran = write(project, server, "workflow.steps=['0']")
    assert (ran.code, ran.json["counts"]["annotated"]) == (WAITING, 2), ran.err
    assert commands(ran) == []
    (job,) = ran.json["batch"]["jobs"]
    assert (job["state"], job["done"], job["requests"]) == ("in part", 2, 4)
    run_batch(floor, asked, answered)
    ran = write(project, server, "workflow.steps=['0']")
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 4), ran.err


def test_what_vllm_never_answered_is_given_up(
    server: Loopback, make_project: Maker, floor: Floor
) -> None:
    project = make_project(4, size=(64, 48))
    steps = "workflow.steps=['0']"
    ((asked, answered),) = commands(write(project, server, steps))
    run_batch(floor, asked, answered, part=0.6)
    ran = write(project, server, steps, "--cancel")
    assert (ran.code, ran.json["status"]) == (0, "cancelled")
    ran = write(project, server, steps)
    ((asked, answered),) = commands(ran)
    assert len(asked.read_bytes().splitlines()) == 2
    run_batch(floor, asked, answered)
    assert write(project, server, steps).code == 0


def test_lines_that_fail(server: Loopback, make_project: Maker, floor: Floor) -> None:
    project = make_project(2, size=(64, 48))
    first = project.scenes["scene0.png"].caption
    floor.faults.failing = lambda key, body: (400, "too long") if first in str(body) else None
    ((asked, answered),) = commands(write(project, server, "workflow.steps=['0']"))
    run_batch(floor, asked, answered)
    ran = write(project, server, "workflow.steps=['0']")
    assert ran.code == 3, ran.err
    (failure,) = project.failures("0")
    assert (failure["reason"], "too long" in failure["message"]) == ("rejected_request", True)


def test_the_convention_must_be_known(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    ran = write(project, server, "vlm.coordinates=auto")
    assert ran.code == 2
    assert "name the box convention with vlm.coordinates" in ran.err
    assert write(project, server, "vlm.coordinates=auto", "workflow.steps=['0']").code == WAITING


def test_a_request_file_that_is_gone(server: Loopback, make_project: Maker) -> None:
    """Whoever removes it gives its questions up; they are asked in another one."""
    project = make_project(1, size=(64, 48))
    ((asked, _),) = commands(write(project, server))
    asked.unlink()
    ran = write(project, server)
    assert (ran.code, ran.json["status"]) == (WAITING, "waiting for 1 job")
    assert commands(ran)[0][0] != asked
