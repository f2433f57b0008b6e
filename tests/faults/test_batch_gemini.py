# SPDX-License-Identifier: Apache-2.0
"""Gemini's batch mode, over the real SDK, against a queue that really answers."""

import os
from collections.abc import Callable, Iterator

import pytest

from conftest import Project, read_jsonl, write_jsonl
from faults.test_batch import WAITING, outputs, paid_once
from support.batch_server import BatchServer
from support.model import Model
from support.scripts import Ran, run_script

Maker = Callable[..., Project]
KEY = "AIza-key-of-this-test-0123456789"


@pytest.fixture
def queue() -> Iterator[BatchServer]:
    with BatchServer(Model(convention="norm1000_yxyx"), key=KEY) as running:
        yield running


def run(project: Project, server: BatchServer, *more: str) -> Ran:
    overrides = [
        f"results_dir={project.results}", f"data.input_jsonl={project.input}",
        f"data.image_root={project.folder}", f"vlm.gemini.base_url={server.gemini_url}",
        "vlm.backend=gemini", "vlm.gemini.model=test-vlm", "vlm.coordinates=norm1000_yxyx",
    ]  # fmt: skip
    return run_script("run_pipeline.py", *overrides, *more, timeout=60, GOOGLE_API_KEY=KEY)


def batch(project: Project, server: BatchServer, *more: str) -> Ran:
    return run(project, server, "--engine", "batch", *more)


def until_done(project: Project, server: BatchServer, *more: str) -> Ran:
    for _ in range(20):
        ran = batch(project, server, *more)
        if ran.code != WAITING:
            return ran
    raise AssertionError(ran.err)


def same_as_at_once(project: Project, server: BatchServer) -> bool:
    found = outputs(project.results)
    ran = run(project, server, f"results_dir={project.folder / 'online'}")
    assert ran.code == 0, ran.err
    return found == outputs(project.folder / "online")


def test_a_day_at_the_queue(queue: BatchServer, make_project: Maker) -> None:
    """A picture that is small enough for both steps is uploaded once, for two captions, too."""
    project = make_project(3, size=(64, 48))
    rows = read_jsonl(project.input)
    write_jsonl(project.input, [*rows, {**rows[0], "caption": "A red rectangle"}])
    ran = batch(project, queue)
    assert (ran.code, ran.json["status"]) == (WAITING, "waiting for 1 job"), ran.err
    ran = until_done(project, queue)
    assert ran.code == 0, ran.err
    assert queue.calls == []
    assert [job.total for job in queue.jobs] == [4, 4]
    assert queue.floor.pictures == 3
    assert paid_once(queue)
    assert [job["done"] for job in ran.json["batch"]["jobs"]] == [4, 4]
    assert same_as_at_once(project, queue)
    written = [path.read_bytes() for path in project.results.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in data for data in written)


def test_a_file_of_several_parts(queue: BatchServer, make_project: Maker) -> None:
    """Larger than what the SDK sends at a time."""
    project = make_project(1, size=(64, 48))
    rows = read_jsonl(project.input)
    long = " and more of it" * 600_000
    write_jsonl(project.input, [{**row, "caption": row["caption"] + long} for row in rows])
    assert batch(project, queue, "workflow.steps=['0']").code == WAITING
    assert sum(path.startswith("/upload/session/") for _, path in queue.requests) > 2
    assert [job.total for job in queue.jobs] == [1]


def test_nothing_is_lost_in_what_comes_back(queue: BatchServer, make_project: Maker) -> None:
    """A job that expires as a whole; failing, missing, repeated, mixed and foreign lines."""
    project = make_project(10, size=(64, 48))
    queue.faults.expired = queue.faults.missing = queue.faults.duplicated = 0.2
    queue.faults.foreign, queue.faults.reorder = 2, True
    queue.faults.too_late = lambda number: number == 1
    ran = until_done(project, queue, "workflow.max_attempts=20")
    assert ran.code == 0, ran.err
    assert paid_once(queue)
    assert same_as_at_once(project, queue)


def test_a_picture_that_is_gone(queue: BatchServer, make_project: Maker) -> None:
    """Its line fails; it is uploaded anew when it has lain there for too long."""
    project = make_project(1, size=(64, 48))
    queue.faults.polls = 1
    batch(project, queue)
    gone = next(name for name in queue.floor.files if name.startswith("files/f"))
    data = queue.floor.files.pop(gone)
    ran = batch(project, queue)
    queue.floor.files[gone] = data
    ran = until_done(project, queue)
    assert ran.code == 0, ran.err
    assert ran.json["usage_of_all_runs"]["requests"] >= 3


def test_found_again_and_cancelled(queue: BatchServer, make_project: Maker) -> None:
    """The answer that names the job is lost; later it is cancelled."""
    project = make_project(2, size=(64, 48))
    queue.faults.polls = 100
    queue.broken = [("after POST", "/v1beta/models/test-vlm:batchGenerateContent")]
    assert batch(project, queue).code == WAITING
    assert len(queue.jobs) == 1
    ran = batch(project, queue, "--cancel")
    assert (ran.code, queue.jobs[0].kind) == (0, "cancelled"), ran.err
    queue.faults.polls = 0
    assert until_done(project, queue).code == 0
    assert paid_once(queue)


def test_a_parameter_that_is_refused(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))

    def refuse(key: str, body: dict[str, object]) -> tuple[int, str] | None:
        config = body["generationConfig"]
        assert isinstance(config, dict)
        assert config["responseJsonSchema"]["type"] == "object"
        assert config["thinkingConfig"] == {"thinkingLevel": "MINIMAL"} or "temperature" in config
        return (400, "temperature is not supported") if "temperature" in config else None

    queue.faults.failing = refuse
    ran = until_done(project, queue, "workflow.steps=['0']")
    assert (ran.code, [job.total for job in queue.jobs]) == (0, [2, 2]), ran.err


def test_no_key(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1)
    overrides = [
        f"results_dir={project.results}", f"data.input_jsonl={project.input}",
        "vlm.backend=gemini", f"vlm.gemini.base_url={queue.gemini_url}",
    ]  # fmt: skip
    ran = run_script("run_pipeline.py", *overrides, "--engine", "batch")
    assert ran.code == 4
    assert "no key for Gemini" in ran.err
    assert not os.path.exists(project.results / "annotations.jsonl")
