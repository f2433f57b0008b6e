# SPDX-License-Identifier: Apache-2.0
"""A server that is exchanged in mid-run is noticed; what was read wrongly is asked for again."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, write_jsonl
from image_grounding.boxes.geometry import box_iou
from support.loopback import Answer, Call, Loopback
from support.scenes import Scene, make_scene
from support.scripts import start_script

SAMPLES = 230
SCENE: Scene = make_scene((160, 112), seed=4)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Many captions of one picture."""
    SCENE.save(tmp_path / "scene.png")
    rows = [
        {"image_path": "scene.png", "caption": f"{SCENE.caption} {number}"}
        for number in range(SAMPLES)
    ]
    write_jsonl(tmp_path / "input.jsonl", rows)
    return Project(tmp_path, {"scene.png": SCENE})


def exchange_after(server: Loopback, boxes: int, convention: str) -> None:
    """Let another model answer once so many questions for boxes were put."""
    asked: list[Call] = []

    def look(call: Call) -> Answer | None:
        asked.extend([call] if call.step in ("1", "0+1") else [])
        if len(asked) > boxes:
            server.model.convention = convention
        return None

    server.fault = look


def worst_iou(records: list[dict[str, Any]]) -> float:
    truth = dict(SCENE.boxes)
    return min(
        box_iou(tuple(instance["bbox"]), truth[expression["text"].lower().split()[1]])
        for record in records
        for expression in record["expressions"]
        for instance in expression["instances"]
    )


@pytest.mark.parametrize(
    ("convention", "single_pass"), [("norm1000_yxyx", "false"), ("norm1_xyxy", "true")]
)
def test_records_since_the_last_good_check_are_asked_for_again(
    convention: str, single_pass: str, server: Loopback, project: Project
) -> None:
    exchange_after(server, 60, convention)
    way = (f"workflow.single_pass={single_pass}", "workflow.max_workers=8")
    ran = project.run(server, "vlm.coordinates=auto", *way)
    assert ran.code == 3, ran.err
    assert len(server.calls) + len(server.probes) < 1000
    assert "boxes do not come as norm1000_xyxy any more" in ran.err
    assert ran.json["teacher"]["convention"] == convention
    failed = project.failures()
    reasons = {entry["reason"] for entry in failed}
    assert "convention_changed" in reasons
    records = project.annotations()
    assert len(records) + len(failed) == SAMPLES
    assert not records or worst_iou(records) > 0.8
    before = len(server.calls)
    again = project.run(server, "vlm.coordinates=auto", *way)
    assert again.code == 0, again.err
    if single_pass == "true":
        boxes_alone = {call.step for call in server.calls[before:]}
        assert boxes_alone == {"1"}, "the expressions still hold"
    assert len(project.annotations()) == SAMPLES
    assert worst_iou(project.annotations()) > 0.8


def test_a_named_convention_that_no_longer_holds_ends_the_run(
    server: Loopback, project: Project
) -> None:
    exchange_after(server, 60, "norm1000_yxyx")
    ran = project.run(server, "workflow.max_workers=8")
    assert ran.code == 4
    assert "answers in norm1000_yxyx" in ran.json["error"]
    assert {entry["reason"] for entry in project.failures()} == {"convention_changed"}


def test_a_steady_server_costs_one_question_in_two_hundred(
    server: Loopback, project: Project
) -> None:
    ran = project.run(server, "workflow.max_workers=8")
    assert (ran.code, len(server.calls)) == (0, 2 * SAMPLES), ran.err
    assert len(server.probes) == 3, "before the first sample, after 200, and at the end"


def test_a_pilot_is_not_watched(server: Loopback, make_project: Callable[..., Project]) -> None:
    project = make_project(5, size=(96, 64))
    assert project.run(server).code == 0
    assert len(server.probes) == 1


def test_a_check_that_is_not_answered_costs_no_sample(server: Loopback, project: Project) -> None:
    """The samples' own questions say whether the endpoint is gone."""
    probes: list[Call] = []

    def refuse_checks(call: Call) -> Answer | None:
        probes.extend([call] if call.is_probe else [])
        return Answer(500) if call.is_probe and len(probes) > 1 else None

    server.fault = refuse_checks
    ran = project.run(server, "workflow.max_workers=8", "workflow.max_attempts=1")
    assert (ran.code, len(project.annotations())) == (0, SAMPLES), ran.err


def test_an_interrupted_check_costs_no_sample(server: Loopback, project: Project) -> None:
    probes: list[Call] = []

    def hold_checks(call: Call) -> Answer | None:
        probes.extend([call] if call.is_probe else [])
        if call.is_probe and len(probes) == 2:
            process.send_signal(signal.SIGINT)
            time.sleep(3)
        return None

    server.fault = hold_checks
    overrides = project.overrides(server, "workflow.max_workers=8")
    process = start_script("run_pipeline.py", "--quiet", *overrides)
    process.communicate()
    assert process.returncode == 130
    assert project.failures() == []
    assert len(project.annotations()) >= 200
