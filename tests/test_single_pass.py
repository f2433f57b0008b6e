# SPDX-License-Identifier: Apache-2.0
"""Both steps in one request: the same results, for half of the requests."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from support.kept import checkpoints
from support.loopback import Answer, Call, Loopback, after_calls
from support.model import Model
from support.vision import look

Maker = Callable[..., Project]
Change = Callable[[dict[str, Any]], None]
SINGLE = "workflow.single_pass=true"
AFRESH = "workflow.force_reprocess=true"
NEITHER = Answer(text='{"instances": [], "absent": []}')
EXCUSE = Answer(text="I am sorry, I can't see any image.")


def steps_asked(server: Loopback) -> list[str]:
    return [call.step for call in server.calls]


def outputs(project: Project) -> list[bytes]:
    """Every annotations.jsonl of a run."""
    return [path.read_bytes() for path in sorted(project.results.rglob("annotations.jsonl"))]


def changed(server: Loopback, change: Change) -> Callable[[Call], Answer | None]:
    """A fault: the model's replies to both steps at once, with a change."""

    def fault(call: Call) -> Answer | None:
        if call.step != "0+1" or call.image is None:
            return None
        value = json.loads(server.model.answer(call.prompt, look(call.image)))
        change(value)
        return Answer(text=json.dumps(value))

    return fault


def unanswered(value: dict[str, Any]) -> None:
    del value["instances"][1]


def under_another_name(value: dict[str, Any]) -> None:
    value["instances"][1]["label"] = value["expressions"][2]["text"]


def malformed(value: dict[str, Any]) -> None:
    value["instances"][1]["bbox_2d"] = [1, 2, 3]


def without_boxes(value: dict[str, Any]) -> None:
    del value["instances"], value["absent"]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Model(), ()),
        (Model("norm1000_yxyx", form="fenced"), ("vlm.coordinates=auto",)),
        (Model("pixel_resized", form="list"), ("vlm.coordinates=auto",)),
    ],
    ids=["as the spec names it", "measured, fenced", "measured in pixels, without ids"],
)
def test_the_same_for_half_of_the_requests(
    model: Model, more: tuple[str, ...], make_project: Maker
) -> None:
    project = make_project(1, size=(1300, 900))
    with Loopback(model) as server:
        assert project.run(server, *more).code == 0
        assert len(server.calls) == 2
        wanted = outputs(project)
        pictures = {call.image for call in server.calls if call.step == "1"}
        server.calls.clear()
        ran = project.run(server, *more, SINGLE, AFRESH)
    assert ran.code == 0, ran.err
    assert steps_asked(server) == ["0+1"]
    assert {call.image for call in server.calls} == pictures, "those of step 1"
    assert outputs(project) == wanted
    assert all(one["instances"] for one in project.annotations()[0]["expressions"])
    assert ran.json["counts"]["annotated_by_step"] == {"0": 1, "1": 1}
    assert ran.json["teacher"]["prompt_version"] == "1-single-pass"


def test_over_gemini(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    server.names, server.model = ["gemini-3.5-flash-lite"], Model("norm1000_yxyx")
    more = ("vlm.backend=gemini", f"vlm.gemini.base_url={server.gemini_url}", SINGLE)
    ran = project.run(server, *more, "vlm.coordinates=norm1000_yxyx", GOOGLE_API_KEY="k")
    assert ran.code == 0, ran.err
    assert steps_asked(server) == ["0+1", "0+1"]
    config = server.calls[0].body["generationConfig"]
    assert config["mediaResolution"] == "MEDIA_RESOLUTION_HIGH"
    schema = config["responseJsonSchema"]
    assert schema["required"] == ["cleaned_caption", "expressions", "instances", "absent"]
    assert "box_2d" in schema["properties"]["instances"]["items"]["properties"]
    for record in project.annotations():
        truth = dict(project.scenes[record["image_path"]].boxes)
        for expression in record["expressions"]:
            (found,) = expression["instances"]
            box = truth[expression["text"].split()[1]]
            assert max(abs(a - b) for a, b in zip(found["bbox"], box, strict=True)) <= 2


@pytest.mark.parametrize("first", ["true", "false"])
def test_what_is_finished_holds_the_other_way(
    first: str, server: Loopback, make_project: Maker
) -> None:
    project = make_project(3)
    then = {"true": "false", "false": "true"}[first]
    assert project.run(server, f"workflow.single_pass={first}").code == 0
    wanted = outputs(project)
    server.calls.clear()
    server.probes.clear()
    ran = project.run(server, f"workflow.single_pass={then}")
    assert (ran.code, server.calls, server.probes) == (0, [], []), ran.err
    assert outputs(project) == wanted
    assert ran.json["counts"]["from_checkpoints"] == 3
    assert ran.json["checkpoints_of_another_teacher"] == {"prompt_version": 6}


def test_only_what_is_missing_is_asked_for(server: Loopback, make_project: Maker) -> None:
    project = make_project(3)
    ran = project.run(server, SINGLE, 'workflow.steps=["0"]', "--limit", "2")
    assert (ran.code, steps_asked(server)) == (0, ["0", "0"]), "alone a step is asked as always"
    assert ran.json["teacher"]["prompt_version"] == "2"
    server.calls.clear()
    dry = project.run(server, SINGLE, "--dry-run").json["estimate"]
    assert dry["requests_by_step"] == {"0": 1, "1": 2}
    assert project.run(server, SINGLE).code == 0
    assert sorted(steps_asked(server)) == ["0+1", "1", "1"]
    assert len(project.annotations()) == 3


@pytest.mark.parametrize(
    ("change", "left_open"),
    [(unanswered, 1), (under_another_name, 2), (malformed, 1), (without_boxes, 3)],
)
def test_what_is_left_open_is_asked_of_step_1(
    change: Change, left_open: int, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1)
    assert project.run(server).code == 0
    wanted = [one["instances"] for one in project.annotations()[0]["expressions"]]
    server.calls.clear()
    server.fault = changed(server, change)
    ran = project.run(server, SINGLE, AFRESH)
    assert ran.code == 0, ran.err
    assert steps_asked(server) == ["0+1", "1"]
    listed = json.loads(server.calls[1].prompt.rpartition("EXPRESSIONS: ")[2])
    assert len(listed) == left_open
    assert ran.json["usage"]["asked_again"] == 1
    assert [one["instances"] for one in project.annotations()[0]["expressions"]] == wanted


@pytest.mark.parametrize(
    ("share", "asked"),
    [(0.2, ["0+1", "0+1"]), (0.7, ["0+1", "1"])],
    ids=["in the expressions", "in the boxes"],
)
def test_a_cut_reply(share: float, asked: list[str], server: Loopback, make_project: Maker) -> None:
    """What is cut is asked for again with more room; expressions that are whole are not."""
    project = make_project(1)
    cut = iter([Answer(cut=share, finish="length")])
    server.fault = lambda call: next(cut, None) if call.step == "0+1" else None
    ran = project.run(server, SINGLE, "vlm.openai.max_tokens=500")
    assert ran.code == 0, ran.err
    assert steps_asked(server) == asked
    assert [call.body["max_tokens"] for call in server.calls] == [500, 1000]
    (record,) = project.annotations()
    assert [len(one["instances"]) for one in record["expressions"]] == [1, 1, 1]


def test_nothing_to_locate(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    write_jsonl(project.input, [{"image_path": "scene0.png", "caption": "Peace and quiet."}])
    assert project.run(server, SINGLE).code == 0
    assert steps_asked(server) == ["0+1"]
    assert project.annotations()[0]["expressions"] == []


def test_a_failure_of_step_0(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    bad = json.dumps(project.scenes["scene0.png"].caption)
    server.fault = lambda call: EXCUSE if bad in call.prompt else None
    ran = project.run(server, SINGLE)
    assert ran.code == 3
    assert sorted(steps_asked(server)) == ["0+1"] * 3
    (failure,) = project.failures("0")
    assert (failure["reason"], failure["attempts"]) == ("reply_unparseable", 2)
    assert project.failures("1") == []
    assert [one["image_path"] for one in project.annotations()] == ["scene1.png"]


def test_a_failure_of_step_1(server: Loopback, make_project: Maker) -> None:
    """The expressions are kept, so that the next run asks for boxes alone."""
    project = make_project(1)
    silent = changed(server, unanswered)
    server.fault = lambda call: NEITHER if call.step == "1" else silent(call)
    ran = project.run(server, SINGLE)
    assert ran.code == 3
    assert steps_asked(server) == ["0+1", "1"]
    (failure,) = project.failures("1")
    assert (failure["reason"], failure["attempts"]) == ("unanswered", 2)
    assert project.failures("0") == []
    server.fault = lambda call: None
    server.calls.clear()
    assert project.run(server, SINGLE).code == 0
    assert steps_asked(server) == ["1"]
    assert project.failures("1") == []


def test_killed_in_the_middle(server: Loopback, make_project: Maker) -> None:
    project = make_project(20, size=(96, 64))
    process = project.start(server, SINGLE)
    after_calls(server, 9, process.kill)
    process.communicate()
    server.fault = lambda call: None
    first = len(server.calls)
    assert 9 < first < 20
    ran = project.run(server, SINGLE)
    assert ran.code == 0, ran.err
    kept = ran.json["counts"]["from_checkpoints"]
    assert kept > 0 and len(server.calls) == first + 20 - kept
    assert len(project.annotations()) == 20
    assert len(set(project.ids())) == len(project.ids())


def test_a_budget_counts_samples(server: Loopback, make_project: Maker) -> None:
    """What a run has paid for is read to its end."""
    project = make_project(6)
    ran = project.run(server, SINGLE, "workflow.max_requests=4", "workflow.max_workers=2")
    assert (ran.code, len(server.probes), len(server.calls)) == (3, 1, 3), ran.err
    assert len(project.annotations()) == 3
    assert project.run(server, SINGLE).code == 0
    assert len(server.calls) == 6


def test_kept_replies_are_read_again(make_project: Maker) -> None:
    project = make_project(2)
    named = "vlm.coordinates=norm1000_yxyx"
    with Loopback(Model("norm1000_yxyx")) as server:
        assert project.run(server, named).code == 0
        wanted = outputs(project)
        assert project.run(server, "vlm.coordinates_trusted=true", SINGLE, AFRESH).code == 0
        assert outputs(project) != wanted
        for single_pass in ("true", "false"):
            server.calls.clear()
            way = f"workflow.single_pass={single_pass}"
            ran = project.run(server, "workflow.reread=true", named, way)
            assert (ran.code, server.calls) == (0, []), ran.err
            assert outputs(project) == wanted


def test_both_steps_keep_the_reply(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    assert project.run(server, SINGLE).code == 0
    kept = [value for step in "01" for value in checkpoints(project.results, step).values()]
    (first,), (second,) = (one["replies"] for one in kept)
    assert first == second
    records = read_jsonl(project.results / "step_0_expression_extraction" / "annotations.jsonl")
    assert [one["instances"] for one in records[0]["expressions"]] == [[], [], []]
