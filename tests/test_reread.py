# SPDX-License-Identifier: Apache-2.0
"""Replies are kept, and results can be derived from them anew without asking."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project
from support.kept import checkpoints, give_each_a_file, replace_checkpoints
from support.loopback import Answer, Call, Loopback
from support.model import Model
from support.scripts import run_script

Maker = Callable[..., Project]
AGAIN = "workflow.reread=true"


def test_what_the_model_wrote_is_kept(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    excuse = iter(["I am not sure."])
    server.fault = lambda call: Answer(text=next(excuse)) if len(server.calls) == 1 else None
    assert project.run(server).code == 0
    (step_0,) = checkpoints(project.results, "0").values()
    first, second = step_0["replies"]
    assert (first["text"], first["finish"]) == ("I am not sure.", "stop")
    assert "cleaned_caption" in second["text"]
    (step_1,) = checkpoints(project.results, "1").values()
    assert json.loads(step_1["replies"][0]["text"])["instances"]


def test_a_wrong_convention_is_mended_without_asking(make_project: Maker) -> None:
    project = make_project(3)
    with Loopback(Model("norm1000_yxyx")) as server:
        right = project.run(server, "vlm.coordinates=norm1000_yxyx")
        assert right.code == 0
        wanted = project.annotations()
        trusted = ("vlm.coordinates_trusted=true", "workflow.force_reprocess=true")
        assert project.run(server, *trusted).code == 0
        wrong = project.annotations()
        assert wrong != wanted
        server.calls.clear()
        server.probes.clear()
        ran = project.run(server, AGAIN, "vlm.coordinates=norm1000_yxyx")
        assert (ran.code, server.calls, server.probes) == (0, [], []), ran.err
        assert project.annotations() == wanted
        assert ran.json["usage"]["requests"] == 0
        # What was read again is kept: the usual run finds it finished.
        usual = project.run(server, "vlm.coordinates=norm1000_yxyx")
        assert (usual.code, server.calls) == (0, [])
        assert project.annotations() == wanted


@pytest.mark.parametrize("convention", ["pixel_sent", "norm1_xyxy"])
def test_frames_of_another_size_as_sent(convention: str, make_project: Maker) -> None:
    """Pixels are read in the size that the picture had when it was asked about."""
    project = make_project(1, size=(1300, 900))
    with Loopback(Model(convention)) as server:
        named = f"vlm.coordinates={convention}"
        assert project.run(server, named, "vlm.image.max_pixels=300000").code == 0
        wanted = project.annotations()
        server.calls.clear()
        ran = project.run(server, AGAIN, named)
        assert (ran.code, server.calls) == (0, [])
        assert project.annotations() == wanted


def test_only_what_replies_leave_open_is_asked_for(
    server: Loopback, finished_copy: Project
) -> None:
    project = finished_copy
    wanted = project.annotations()
    kept = checkpoints(project.results, "1")
    next(iter(kept.values()))["replies"][0]["text"] = "nothing that can be read"
    replace_checkpoints(project.results, "1", [json.dumps(value) for value in kept.values()])
    ran = project.run(server, AGAIN)
    assert ran.code == 0, ran.err
    assert [call.step for call in server.calls] == ["1"]
    assert project.annotations() == wanted


def test_results_without_replies_are_asked_for(server: Loopback, finished_copy: Project) -> None:
    project = finished_copy
    for step in "01":
        for path in give_each_a_file(project.results, step):
            kept = json.loads(path.read_text())
            del kept["replies"], kept["transport"]
            path.write_text(json.dumps({**kept, "format": 1}))
    assert project.run(server).code == 0
    assert server.calls == [], "an older form is still read"
    assert project.run(server, AGAIN).code == 0
    assert len(server.calls) == 6


def test_a_key_in_a_reply_is_not_kept(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    key = "sk-of-the-user-0123456789"

    def with_key(call: Call) -> Answer | None:
        return Answer(text=f"{server.model.answer(call.prompt, None)} {key}")

    server.fault = lambda call: with_key(call) if call.step == "0" else None
    ran = project.run(server, "vlm.openai.api_key=${oc.env:A_KEY}", A_KEY=key)
    assert ran.code == 0, ran.err
    (step_0,) = checkpoints(project.results, "0").values()
    assert "cleaned_caption" in step_0["replies"][0]["text"]
    for path in project.results.rglob("*.json*"):
        assert key not in path.read_text()


def test_boxes_of_two_conventions_in_one_folder_are_named(
    make_project: Maker, tmp_path: Path
) -> None:
    """The run that mixes them says so, inspect fails, the export warns; rereading mends it."""
    project = make_project(6)
    with Loopback(Model("norm1000_yxyx")) as server:
        trusted = ("--limit", "3", "vlm.coordinates_trusted=true")
        assert project.run(server, *trusted).code == 0
        ran = project.run(server, "vlm.coordinates=auto")
        assert ran.code == 0, ran.err
        assert ran.json["checkpoints_of_another_teacher"] == {"convention": 3}
        assert "the boxes of 3 finished samples were read in another convention" in ran.err
        seen = run_script("inspect.py", str(project.results), "--quiet").json
        assert seen["verdict"] == "fail"
        assert "mixed_conventions" in {finding["check"] for finding in seen["findings"]}
        out = ("--format", "odvg", "-o", str(tmp_path / "out"), "--quiet")
        exported = run_script("export.py", str(project.results), *out).json
        assert any("read in another convention" in text for text in exported["warnings"])
        assert project.run(server, AGAIN, "vlm.coordinates=auto").code == 0
        usual = project.run(server, "vlm.coordinates=auto")
        assert (usual.code, usual.json["checkpoints_of_another_teacher"]) == (0, {})
        seen = run_script("inspect.py", str(project.results), "--quiet").json
        assert "mixed_conventions" not in {finding["check"] for finding in seen["findings"]}


def test_boxes_of_another_server_that_was_measured_stay_as_they_are(make_project: Maker) -> None:
    """Both conventions were measured, so that neither part is wrong."""
    project = make_project(6)
    auto = "vlm.coordinates=auto"
    with Loopback(Model("norm1000_xyxy")) as first:
        assert project.run(first, auto, "--limit", "3").code == 0
    with Loopback(Model("norm1000_yxyx")) as second:
        ran = project.run(second, auto)
        assert (ran.code, len(project.annotations())) == (0, 6), ran.err
        assert ran.json["checkpoints_of_another_teacher"] == {"measured_convention": 3}
        right = project.annotations()
        for record, scene in zip(right, project.scenes.values(), strict=True):
            boxes = [one["bbox"] for item in record["expressions"] for one in item["instances"]]
            for box in boxes:
                assert any(
                    max(abs(a - b) for a, b in zip(box, true, strict=True)) <= 1
                    for _, true in scene.boxes
                )
        seen = run_script("inspect.py", str(project.results), "--quiet").json
        assert "mixed_conventions" not in {finding["check"] for finding in seen["findings"]}
        assert project.run(second, auto, AGAIN).code == 0
        assert project.annotations() == right
