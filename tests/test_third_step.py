# SPDX-License-Identifier: Apache-2.0
"""A step that the package does not know goes the whole way: one value is all it takes."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, read_jsonl
from support.kept import checkpoints
from support.loopback import Answer, Call, Loopback
from support.scripts import Ran, run_script, start_script

Maker = Callable[..., Project]
SCRIPT = Path(__file__).parent / "support" / "toy_step.py"
ALL = 'workflow.steps=["0","1","2"]'


def is_toy(call: Call) -> bool:
    return call.prompt.startswith("TOY:")


def run(project: Project, server: Loopback, *more: str) -> Ran:
    return run_script(SCRIPT, *project.overrides(server, *more), "--quiet")


@pytest.fixture
def toys(server: Loopback) -> Loopback:
    """The server, which answers the toy's question, too: unclear at first for one sample."""
    unclear = iter(["perhaps"])
    server.fault = lambda call: Answer(text=next(unclear, "yes")) if is_toy(call) else None
    return server


def test_run_and_resume(toys: Loopback, make_project: Maker) -> None:
    project = make_project(3, size=(96, 64))
    ran = run(project, toys, ALL)
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["annotated_by_step"] == {"0": 3, "1": 3, "2": 3}
    assert ran.json["usage"]["asked_again"] == 1
    records = project.annotations()
    assert [record["toy"] for record in records] == [{"boxes": 3, "word": "yes"}] * 3
    assert records[0]["pipeline_steps"][-1] == "step2_toy"
    assert read_jsonl(project.results / "step_2_toy" / "annotations.jsonl") == records
    step_1 = read_jsonl(project.results / "step_1_grounding" / "annotations.jsonl")
    assert all("toy" not in record for record in step_1)
    toys.calls.clear()
    again = run(project, toys, ALL)
    assert (again.code, len(toys.calls), again.json["counts"]["from_checkpoints"]) == (0, 0, 3)
    assert project.annotations() == records


def test_behind_a_single_pass(toys: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(96, 64))
    ran = run(project, toys, ALL, "workflow.single_pass=true", "workflow.max_workers=1")
    assert ran.code == 0, ran.err
    assert sum(map(is_toy, toys.calls)) == 3, "two, and one that was unclear"
    assert len(toys.calls) == 2 + 3
    assert [record["toy"]["word"] for record in project.annotations()] == ["yes"] * 2


def test_its_failures_are_its_own(server: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(96, 64))
    server.fault = lambda call: Answer(text="hm") if is_toy(call) else None
    ran = run(project, server, ALL)
    assert ran.code == 3
    failures = read_jsonl(project.results / "step_2_toy" / "failures.jsonl")
    assert [entry["reason"] for entry in failures] == ["toy_unclear"] * 2
    assert project.annotations() == []
    assert len(read_jsonl(project.results / "step_1_grounding" / "annotations.jsonl")) == 2


def test_killed_and_resumed(toys: Loopback, make_project: Maker) -> None:
    project = make_project(4, size=(96, 64))
    toys.delay = 0.02
    one_by_one = project.overrides(toys, ALL, "workflow.max_workers=1")
    process = start_script(SCRIPT, *one_by_one)
    while not checkpoints(project.results, "2") and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    kept = len(checkpoints(project.results, "2"))
    assert 1 <= kept < 4
    toys.delay = 0.0
    toys.calls.clear()
    ran = run(project, toys, ALL)
    assert ran.code == 0, ran.err
    assert sum(map(is_toy, toys.calls)) == 4 - kept
    assert [record["toy"]["word"] for record in project.annotations()] == ["yes"] * 4


def test_dry_run_and_estimate(toys: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(96, 64))
    plan = run(project, toys, ALL, "--dry-run").json
    assert plan["steps"] == ["0", "1", "2"]
    assert plan["estimate"]["requests_by_step"] == {"0": 2, "1": 2, "2": 2}
    less = run(project, toys, "--dry-run").json
    assert plan["estimate"]["text_tokens"] - less["estimate"]["text_tokens"] == 2 * 7


def test_alone(toys: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(96, 64))
    missing = run(project, toys, 'workflow.steps=["2"]')
    assert missing.code == 2
    assert "step 2 alone needs the output of step 1" in missing.json["error"]
    assert run(project, toys).code == 0
    before = project.annotations()
    toys.calls.clear()
    ran = run(project, toys, 'workflow.steps=["2"]')
    assert ran.code == 0, ran.err
    assert all(map(is_toy, toys.calls))
    after = project.annotations()
    assert [record.pop("toy") for record in after] == [{"boxes": 3, "word": "yes"}] * 2
    for record in before:
        record["pipeline_steps"].append("step2_toy")
    assert after == before


def test_a_step_between_must_not_be_left_out(toys: Loopback, make_project: Maker) -> None:
    ran = run(make_project(1, size=(96, 64)), toys, 'workflow.steps=["0","2"]')
    assert ran.code == 2
    assert "step 2 needs step 1" in json.loads(ran.out)["error"]


def test_without_it_its_number_is_unknown(server: Loopback, make_project: Maker) -> None:
    ran = make_project(1, size=(96, 64)).run(server, ALL)
    assert ran.code == 2
    assert "must be one of 0, 1, not '2'" in ran.json["error"]
