# SPDX-License-Identifier: Apache-2.0
"""Runs by way of a batch queue, over the real SDK, against a queue that really answers."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from support.batch_server import BatchServer
from support.scripts import SCRIPTS, Ran, clean_environment, run_script

Maker = Callable[..., Project]
WAITING = 5
# Spoken by a model that forgets its boxes: what is open is asked for again.
_SILENT = '{"instances": [], "absent": []}'


@pytest.fixture
def queue() -> Iterator[BatchServer]:
    with BatchServer() as running:
        yield running


def batch(project: Project, server: BatchServer, *more: str, **environment: str) -> Ran:
    overrides = project.overrides(server)
    return run_script(
        "run_pipeline.py", *overrides, "--engine", "batch", *more, timeout=60, **environment
    )


def until_done(
    project: Project, server: BatchServer, *more: str, most: int = 12, **environment: str
) -> Ran:
    """The same command, as long as jobs are under way."""
    for _ in range(most):
        ran = batch(project, server, *more, **environment)
        if ran.code != WAITING:
            return ran
    raise AssertionError(ran.err)


def outputs(folder: Path) -> dict[str, bytes]:
    """The records of each step."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("annotations.jsonl"))
    }


def at_once(project: Project, server: BatchServer, *more: str) -> dict[str, bytes]:
    """What comes of asking one by one."""
    folder = project.folder / "online"
    ran = run_script("run_pipeline.py", *project.overrides(server), f"results_dir={folder}", *more)
    assert ran.code in (0, 3), ran.err
    return outputs(folder)


def paid_once(server: BatchServer) -> bool:
    return set(server.floor.answered.values()) == {1}


def test_a_day_at_the_queue(queue: BatchServer, make_project: Maker) -> None:
    """Handed over, collected, handed over, collected; then it is as if asked at once."""
    project = make_project(4, size=(64, 48))
    ran = batch(project, queue, "vlm.prices.input=10", "vlm.prices.output=100")
    assert (ran.code, ran.json["status"]) == (WAITING, "waiting for 1 job"), ran.err
    assert ran.json["counts"]["waiting"] == ran.json["counts"]["not_attempted"] == 4
    ran = until_done(project, queue, "vlm.prices.input=10", "vlm.prices.output=100")
    assert ran.code == 0, ran.err
    assert queue.calls == []
    assert [job.total for job in queue.jobs] == [4, 4]
    assert paid_once(queue)
    assert outputs(project.results) == at_once(project, queue)
    usage = ran.json["usage_of_all_runs"]
    probes = len(queue.probes) - 1  # at_once had one of its own
    assert usage["requests"] == 8 + probes
    half = (8 * (100 * 10 + 20 * 100)) / 2 + probes * (100 * 10 + 20 * 100)
    assert usage["cost"] == pytest.approx(half / 10**6)
    assert not list(project.results.glob("batch/*.jsonl"))


def test_a_second_look_changes_nothing(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    queue.faults.polls = 10
    batch(project, queue)
    before = len(queue.requests)
    ran = batch(project, queue)
    assert (ran.code, ran.json["status"]) == (WAITING, "waiting for 1 job")
    assert "no job has ended since the last time" in ran.err
    assert ran.json["usage"]["requests"] == 0 < ran.json["usage_of_all_runs"]["requests"]
    assert queue.requests[before:] == [("GET", "/v1/batches/batch_000001")]
    # More lines than the last time are handed over at once.
    rows = read_jsonl(project.input)
    write_jsonl(project.input, [*rows, {**rows[0], "caption": "A red rectangle"}])
    ran = batch(project, queue)
    assert [job.total for job in queue.jobs] == [2, 1]


def test_another_machine_collects(queue: BatchServer, make_project: Maker, tmp_path: Path) -> None:
    """The results folder moves, the pictures lie elsewhere there."""
    project = make_project(2, size=(64, 48))
    assert batch(project, queue).code == WAITING
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("results", "input.jsonl", "scene0.png", "scene1.png"):
        (project.folder / name).rename(elsewhere / name)
    moved = Project(elsewhere, project.scenes)
    assert until_done(moved, queue).code == 0
    assert [job.total for job in queue.jobs] == [2, 2]
    assert outputs(moved.results) == at_once(moved, queue)


def test_jobs_are_split(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(5, size=(64, 48))
    ran = batch(project, queue, "--job-requests", "2")
    assert ran.json["status"] == "waiting for 3 jobs"
    assert [job.total for job in queue.jobs] == [2, 2, 1]
    status = run_script("status.py", str(project.results))
    assert status.json["status"] == "waiting for 3 jobs"
    assert [job["requests"] for job in status.json["jobs"]] == [2, 2, 1]
    assert [job["id"] for job in status.json["jobs"]] == [job.id for job in queue.jobs]
    assert "job batch_000001: submitted, 0 of 2 done" in status.err
    assert until_done(project, queue).code == 0
    assert paid_once(queue)


def test_waiting_until_all_is_done(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    ran = batch(project, queue, "--wait", "--poll-seconds", "0.01")
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["annotated"] == 2
    assert [job.total for job in queue.jobs] == [2, 2]


def test_nothing_is_lost_in_what_comes_back(queue: BatchServer, make_project: Maker) -> None:
    """Expired, missing, repeated, mixed and foreign lines."""
    project = make_project(12, size=(64, 48))
    queue.faults.expired = queue.faults.missing = queue.faults.duplicated = 0.25
    queue.faults.foreign, queue.faults.reorder = 3, True
    ran = until_done(project, queue, "workflow.max_attempts=20", most=60)
    assert ran.code == 0, ran.err
    assert paid_once(queue)
    assert outputs(project.results) == at_once(project, queue)
    assert ran.json["usage_of_all_runs"]["requests"] > 2 * 12


def test_foreign_lines_are_named(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    queue.faults.foreign = 2
    batch(project, queue)
    assert "2 lines of the job batch_000001 belong to no question" in batch(project, queue).err


def test_what_stays_open_is_asked_again(queue: BatchServer, make_project: Maker) -> None:
    """By the steps' own rules: once more, alone, then the sample fails as it would at once."""
    project = make_project(2, size=(64, 48))
    asks: dict[str, int] = {}

    def forget(key: str, prompt: str) -> str | None:
        if "\nEXPRESSIONS: " not in prompt:
            return None
        asks[prompt] = asks.get(prompt, 0) + 1
        return _SILENT if asks[prompt] == 1 else None

    queue.faults.text = forget
    ran = until_done(project, queue)
    assert ran.code == 0, ran.err
    assert [job.total for job in queue.jobs] == [2, 2, 2]
    assert ran.json["usage_of_all_runs"]["requests"] >= 6
    assert outputs(project.results) == at_once(project, queue)


def test_a_sample_that_fails(queue: BatchServer, make_project: Maker) -> None:
    """Its failure is that of a run at once, and the next run asks for it again."""
    project = make_project(3, size=(64, 48))
    queue.faults.text = lambda key, prompt: _SILENT if _asks_for(prompt, "yellow") else None
    ran = until_done(project, queue)
    assert ran.code == 3, ran.err
    (kept,) = {entry["reason"] for entry in project.failures()}
    assert kept == "unanswered"
    queue.faults.text = lambda key, prompt: None
    assert until_done(project, queue).code == 0
    assert outputs(project.results) == at_once(project, queue)


def _asks_for(prompt: str, colour: str) -> bool:
    return colour in prompt.partition("\nEXPRESSIONS: ")[2]


def test_lines_that_fail_are_tried_so_often(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    queue.faults.failing = lambda key, body: (500, "overloaded") if "red" in str(body) else None
    ran = until_done(project, queue, "workflow.max_attempts=3")
    failed = [entry for step in ("0", "1") for entry in project.failures(step)]
    assert ran.code == 3, ran.err
    assert {(entry["reason"], entry["attempts"]) for entry in failed} == {("server_fault", 3)}


def test_a_parameter_that_is_refused(queue: BatchServer, make_project: Maker) -> None:
    """All lines of a job fail of it; the next one goes without, and so do all after it."""
    project = make_project(3, size=(64, 48))

    def refuse(key: str, body: dict[str, Any]) -> tuple[int, str] | None:
        return (400, "temperature is not supported") if "temperature" in body else None

    queue.faults.failing = refuse
    ran = until_done(project, queue, "workflow.steps=['0']")
    assert ran.code == 0, ran.err
    assert [job.total for job in queue.jobs] == [3, 3]
    assert paid_once(queue)


def test_a_line_that_is_rejected_fails_alone(queue: BatchServer, make_project: Maker) -> None:
    """It neither ends the run nor takes the schema from the others."""
    project = make_project(3, size=(64, 48))
    first = project.scenes["scene0.png"].caption
    with_schema = []

    def reject(key: str, body: dict[str, Any]) -> tuple[int, str] | None:
        with_schema.append("response_format" in body)
        return (400, "this caption is not liked") if first in str(body) else None

    queue.faults.failing = reject
    ran = until_done(project, queue)
    assert ran.code == 3, ran.err
    assert [entry["reason"] for entry in project.failures("0")] == ["rejected_request"]
    assert ran.json["counts"]["annotated"] == 2
    assert with_schema == [True] * len(with_schema)


def test_a_full_queue(queue: BatchServer, make_project: Maker) -> None:
    """A job that the provider has no room for waits until another one has ended."""
    project = make_project(4, size=(64, 48))
    queue.faults.polls = 1
    queue.faults.refusal = lambda number: "Enqueued token limit reached" if number == 1 else None
    ran = until_done(project, queue, "--job-requests", "2")
    assert ran.code == 0, ran.err
    assert paid_once(queue)
    assert outputs(project.results) == at_once(project, queue)


def test_a_queue_that_takes_nothing(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    queue.faults.refusal = lambda number: "Enqueued token limit reached"
    assert batch(project, queue).code == WAITING
    ran = batch(project, queue)
    assert ran.code == 4
    assert "the batch queue refused the jobs: token_limit_exceeded" in ran.err
    queue.faults.refusal = lambda number: None
    assert until_done(project, queue).code == 0


def test_budget(queue: BatchServer, make_project: Maker) -> None:
    """So many are handed over; the same command goes on."""
    project = make_project(4, size=(64, 48))
    ran = batch(project, queue, "workflow.max_requests=3", "workflow.steps=['0']")
    assert (ran.code, ran.json["status"]) == (3, "budget reached"), ran.err
    assert [job.total for job in queue.jobs] == [3]
    ran = until_done(project, queue, "workflow.steps=['0']")
    assert (ran.code, [job.total for job in queue.jobs]) == (0, [3, 1])


def test_cancelled(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(4, size=(64, 48))
    queue.faults.polls = 1000
    batch(project, queue, "--job-requests", "2")
    ran = batch(project, queue, "--cancel")
    assert (ran.code, ran.json["status"]) == (0, "cancelled"), ran.err
    assert {job.kind for job in queue.jobs} == {"cancelled"}
    assert [job["state"] for job in ran.json["batch"]["jobs"]] == ["cancelled", "cancelled"]
    queue.faults.polls = 0
    assert until_done(project, queue).code == 0
    assert paid_once(queue)


def test_other_settings_meanwhile(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    batch(project, queue)
    ran = batch(project, queue, "vlm.openai.model_name=another-vlm")
    assert ran.code == 2
    assert "batch jobs of another spec are under way" in ran.err
    ran = run_script("run_pipeline.py", *project.overrides(queue), "--engine", "batch-files")
    assert (ran.code, "queue 'openai', not 'batch-files'" in ran.err) == (2, True)
    ran = batch(project, queue, "vlm.coordinates=norm1_xyxy", "vlm.coordinates_trusted=true")
    assert ran.code == 4
    assert "were made for boxes in norm1000_xyxy, which are norm1_xyxy now" in ran.err
    assert until_done(project, queue).code == 0


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("workflow.captions_per_request=3", "exclude each other: which captions"),
        ("workflow.max_cost=1", "exclude each other: what a job costs"),
        ("vlm.openai.extra_body={token: '${oc.env:TOKEN}'}", "extra_body holds a secret"),
        ("vlm.backend=local", "asks nobody"),
    ],
)
def test_what_no_queue_can_do(
    override: str, why: str, queue: BatchServer, make_project: Maker
) -> None:
    prices = ("vlm.prices.input=1", "vlm.prices.output=1")
    ran = batch(make_project(1), queue, *prices, override, TOKEN="secret-of-the-test")
    assert ran.code == 2
    assert why in ran.err
    assert queue.requests == []


def test_options_that_belong_together(make_project: Maker, queue: BatchServer) -> None:
    ran = run_script("run_pipeline.py", *make_project(1).overrides(queue), "--wait")
    assert ran.code == 2
    assert "belong to --engine batch" in ran.err


def test_the_dry_run_knows_the_price(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2)
    prices = ("vlm.prices.input=10", "vlm.prices.output=100", "vlm.openai.model_name=qwen3-vl-8b")
    whole = project.run(queue, "--dry-run", *prices).json["estimate"]["cost"]
    assert batch(project, queue, "--dry-run", *prices).json["estimate"]["cost"] == whole / 2 > 0


def test_a_key_is_in_no_file(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    queue.key = "sk-key-of-this-test-0123456789"
    queue.faults.failing = lambda key, body: (401, f"Incorrect API key: {queue.key}")
    more = ("vlm.openai.api_key=${oc.env:MY_KEY}",)
    for _ in range(3):
        ran = batch(project, queue, *more, MY_KEY=queue.key)
        assert queue.key not in ran.out + ran.err
    written = [path.read_bytes() for path in project.results.rglob("*") if path.is_file()]
    assert not any(queue.key.encode() in data for data in written)
    ran = batch(project, queue, *more, MY_KEY="wrong-key-0123456789")
    assert ran.code == 4


def test_a_pilot_first(queue: BatchServer, make_project: Maker) -> None:
    """Its samples count; after it, another model may be taken."""
    project = make_project(3, size=(64, 48))
    ran = until_done(project, queue, "--limit", "1")
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 1), ran.err
    queue.names.append("another-vlm")
    assert until_done(project, queue, "vlm.openai.model_name=another-vlm").code == 0
    assert [job.total for job in queue.jobs] == [1, 1, 2, 2]


def test_asking_at_once_beside_it(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    batch(project, queue)
    ran = project.run(queue)
    assert ran.code == 0
    assert "warning: 1 batch jobs are under way in" in ran.err


@pytest.mark.parametrize("look", ["true", "false"])
def test_a_picture_that_is_broken(look: str, queue: BatchServer, make_project: Maker) -> None:
    """Behind its header, so that it shows when it is to be sent; or in step 0 without pictures."""
    project = make_project(2, size=(64, 48))
    path = project.folder / "scene0.png"
    path.write_bytes(path.read_bytes()[:-20])
    more = f"vlm.image.step_0={look}"
    ran = until_done(project, queue, more)
    assert ran.code == 3, ran.err
    failures = [project.failures(step) for step in ("0", "1")]
    assert [len(entries) for entries in failures] == [1, 0]
    assert outputs(project.results) == at_once(project, queue, more)
    online = read_jsonl(project.folder / "online/step_0_expression_extraction/failures.jsonl")
    assert failures[0] == online


def test_a_single_pass(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    ran = until_done(project, queue, "workflow.single_pass=true")
    assert (ran.code, [job.total for job in queue.jobs]) == (0, [2]), ran.err
    assert outputs(project.results) == at_once(project, queue, "workflow.single_pass=true")


# -- crashes -------------------------------------------------------------------------------------


def killed_at(project: Project, server: BatchServer, request: str, *more: str) -> None:
    """Start a run and kill it when a request of it has taken effect, but was not answered."""
    server.held.add(request)
    command = [sys.executable, SCRIPTS / "run_pipeline.py", *project.overrides(server)]
    process = subprocess.Popen(
        [*command, "--engine", "batch", *more],
        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert server.reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.held.clear()
    server.reached.clear()
    server.let_go.set()


@pytest.mark.parametrize("request_", ["POST /v1/files", "POST /v1/batches"])
def test_killed_while_handing_over(request_: str, queue: BatchServer, make_project: Maker) -> None:
    """The job that nobody here knows of is found by its mark, and not made again."""
    project = make_project(2, size=(64, 48))
    killed_at(project, queue, request_)
    made = len(queue.jobs)
    assert made == (request_ == "POST /v1/batches")
    assert until_done(project, queue).code == 0
    assert [job.total for job in queue.jobs] == [2, 2]
    assert paid_once(queue)
    assert outputs(project.results) == at_once(project, queue)


def test_killed_while_collecting(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    assert batch(project, queue).code == WAITING
    killed_at(project, queue, "GET /v1/files/output_file_id-batch_000001/content")
    assert until_done(project, queue).code == 0
    assert paid_once(queue)
    assert [job.total for job in queue.jobs] == [2, 2]


@pytest.mark.parametrize("when", ["during POST", "after POST"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_connection_that_breaks(
    when: str, path: str, queue: BatchServer, make_project: Maker
) -> None:
    project = make_project(2, size=(64, 48))
    queue.broken = [(when, path)]
    assert batch(project, queue).code == WAITING
    assert queue.broken == []
    assert [job.total for job in queue.jobs] == [2]
    assert until_done(project, queue).code == 0
    assert paid_once(queue)


def test_results_that_are_gone(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    batch(project, queue)
    queue.paths["/v1/files/output_file_id-batch_000001/content"] = (404, b"{}")
    ran = batch(project, queue)
    assert "warning: the results of the job batch_000001 are gone" in ran.err
    assert until_done(project, queue).code == 0


def test_a_job_that_the_queue_forgot(queue: BatchServer, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    batch(project, queue)
    queue.floor.jobs.clear()
    ran = batch(project, queue)
    assert ran.code == 4
    assert "the batch queue knows no job batch_000001" in ran.err
    ran = batch(project, queue, "--cancel")
    assert ran.json["batch"]["jobs"][0]["state"] == "gone"
    assert until_done(project, queue).code == 0
