# SPDX-License-Identifier: Apache-2.0
"""Request files for ``vllm run-batch``: written, handed over by hand, collected."""

import gzip
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
    assert f"2 of 4 answers are in {answered}; if run-batch has ended, start it again" in ran.err
    assert shlex.split(job["command"])[2:6] == ["-i", str(asked), "-o", str(answered)]
    run_batch(floor, asked, answered)
    ran = write(project, server, "workflow.steps=['0']")
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 4), ran.err


@pytest.mark.parametrize("collected_before", [True, False])
def test_what_vllm_never_answered_is_given_up(
    collected_before: bool, server: Loopback, make_project: Maker, floor: Floor
) -> None:
    project = make_project(4, size=(64, 48))
    steps = "workflow.steps=['0']"
    ((asked, answered),) = commands(write(project, server, steps))
    run_batch(floor, asked, answered, part=0.6)
    if collected_before:
        write(project, server, steps)
    ran = write(project, server, steps, "--cancel")
    assert (ran.code, ran.json["status"]) == (0, "cancelled")
    (job,) = ran.json["batch"]["jobs"]
    assert (job["state"], job["done"], job["failed"]) == ("cancelled", 2, 0)
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
    (job,) = run_script("status.py", str(project.results)).json["jobs"]
    assert (job["state"], job["done"], job["failed"]) == ("completed", 1, 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty, as when run-batch has only begun or broke"),
        (b"<!DOCTYPE html>\n<html></html>\n", "it is a page of HTML or XML"),
        (gzip.compress(b"{}", mtime=0), "it is packed with gzip; unpack it under this name"),
        (b"Killed\n", "no line of it is a JSON object"),
        (b'{"custom_id": ["another"]}\n', "none of its lines is of this job"),
    ],
)
def test_an_output_that_is_none(
    content: bytes, why: str, server: Loopback, make_project: Maker
) -> None:
    """The file is named, with what is wrong with it and what is to be run."""
    project = make_project(2, size=(64, 48))
    ((_, answered),) = commands(write(project, server))
    answered.write_bytes(content)
    ran = write(project, server)
    assert ran.code == WAITING
    assert f"0 of 2 answers can be read in {answered}: {why}\n" in ran.err
    assert [output for _, output in commands(ran)] == [answered]


def test_an_output_that_is_no_file(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    ((_, answered),) = commands(write(project, server))
    answered.symlink_to(answered.name)
    assert commands(write(project, server))
    answered.unlink()
    answered.mkdir()
    assert commands(write(project, server))


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ({"response": None, "error": None}, ": its line holds neither an answer nor a reason"),
        ({"response": {"status_code": 200, "body": None}, "error": None}, ": its line holds"),
        ({"response": None, "error": {"code": 7}}, ": 7"),
        ({"response": None, "error": {"error": {"message": "no memory"}}}, ": no memory"),
    ],
)
def test_lines_without_an_answer(
    outcome: dict[str, object], text: str, server: Loopback, make_project: Maker
) -> None:
    """They are failures in plain words, and counted as such."""
    project = make_project(1, size=(64, 48))
    more = ("workflow.steps=['0']", "workflow.max_attempts=1")
    ((asked, answered),) = commands(write(project, server, *more))
    key = json.loads(asked.read_bytes())["custom_id"]
    answered.write_text(json.dumps({"custom_id": key, **outcome}) + "\n")
    ran = write(project, server, *more)
    (failure,) = project.failures("0")
    assert f"the batch queue failed this request{text}" in failure["message"]
    assert "{" not in failure["message"]
    (job,) = ran.json["batch"]["jobs"]
    assert (job["state"], job["done"], job["failed"]) == ("completed", 0, 1)


def test_foreign_lines_are_named_once(server: Loopback, make_project: Maker, floor: Floor) -> None:
    project = make_project(2, size=(64, 48))
    ((asked, answered),) = commands(write(project, server))
    run_batch(floor, asked, answered, part=0.5)
    whole = answered.read_text().splitlines()[0]
    answered.write_text(f'{whole}\n{{"custom_id": "another"}}\n')
    named = "1 line of the job"
    assert f"{named} {answered.name.split('.')[0]} belongs to no question" in (
        write(project, server).err
    )
    assert named not in write(project, server).err


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
