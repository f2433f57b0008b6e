# SPDX-License-Identifier: Apache-2.0
"""Files of an earlier run are not believed: what does not hold is asked for again, and counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, write_jsonl
from support.kept import checkpoints, edit_checkpoints, replace_checkpoints
from support.loopback import Answer, Loopback
from support.results import make_line, write_results
from support.scripts import run_script

Maker = Callable[..., Project]
DEEP = "[" * 100_000 + "]" * 100_000
STEP_0, STEP_1 = "step_0_expression_extraction", "step_1_grounding"


def box(value: Any) -> Callable[[Any], None]:
    def edit(kept: Any) -> None:
        kept["result"]["instances"][0][0]["bbox"] = value

    return edit


def score(value: Any) -> Callable[[Any], None]:
    def edit(kept: Any) -> None:
        kept["result"]["instances"][0][0]["score"] = value

    return edit


def expression(name: str, value: Any) -> Callable[[Any], None]:
    def edit(kept: Any) -> None:
        kept["result"]["expressions"][0][name] = value

    return edit


def top(name: str, value: Any) -> Callable[[Any], None]:
    def edit(kept: Any) -> None:
        kept[name] = value

    return edit


NAN = float("nan")
EDITS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "five numbers": ("1", box([1, 2, 30, 40, 50])),
    "NaN in a box": ("1", box([1, 2, NAN, 40])),
    "beyond the image": ("1", box([1, 2, 30, 4000])),
    "no area": ("1", box([30, 2, 30, 40])),
    "corners swapped": ("1", box([30, 2, 1, 40])),
    "score of 7": ("1", score(7)),
    "score of NaN": ("1", score(NAN)),
    "an expression without boxes list": ("1", lambda kept: kept["result"]["instances"].pop()),
    "a count below 0": ("1", lambda kept: kept["result"].update(dropped={"x": -3})),
    "provenance of lists": ("1", top("provenance", {"model": ["a"]})),
    "provenance of NaN": ("1", top("provenance", {"model": NAN})),
    "a picture of no pixels": ("1", lambda kept: kept["transport"].update(max_pixels=0)),
    "no width": ("1", top("width", 0)),
    "a huge width": ("1", top("width", 10**30)),
    "span outside": ("0", expression("char_span", [0, 9000])),
    "span of another text": ("0", expression("char_span", [0, 1])),
    "span backwards": ("0", expression("char_span", [9, 3])),
    "no text": ("0", expression("text", "")),
    "number as text": ("0", expression("text", 7)),
}


def test_checkpoints_that_do_not_hold(server: Loopback, make_project: Maker) -> None:
    """Each sample's is edited in another way."""
    project = make_project(len(EDITS), size=(64, 48))
    assert project.run(server).code == 0
    before = project.annotations()
    edits = {record["sample_id"]: edit for record, edit in zip(before, EDITS.values(), strict=True)}
    for number in "01":

        def edited(sample_id: str, kept: Any, number: str = number) -> Any:
            step, edit = edits[sample_id]
            if step == number:
                edit(kept)
            return kept

        edit_checkpoints(project.results, number, edited)
    server.calls.clear()
    ran = project.run(server)
    assert (ran.code, project.annotations()) == (0, before), ran.err
    images = [(project.folder / record["image_path"]).read_bytes() for record in before]
    names = dict(zip(images, EDITS, strict=True))  # so small that they travel as they are
    assert sorted((names[call.image], call.step) for call in server.calls) == sorted(
        (name, number) for name, (step, _) in EDITS.items() for number in "01"[int(step) :]
    )
    assert ran.json["counts"]["unusable_checkpoints"] == len(EDITS)
    assert f"could not be used, and were asked for again: {len(EDITS)}" in ran.err


@pytest.mark.parametrize("step", ["0", "1"])
def test_a_checkpoint_nested_deep(step: str, server: Loopback, make_project: Maker) -> None:
    project = make_project(3, size=(64, 48))
    assert project.run(server).code == 0
    first, second, _ = checkpoints(project.results, step).values()
    inside = json.dumps(first).replace('"result":', f'"more": {DEEP}, "result":')
    start = f'{{"sample_id": "{second["sample_id"]}", "more": {DEEP}}}'
    replace_checkpoints(project.results, step, [DEEP, inside, start])
    assert project.run(server).code == 0
    assert len(project.annotations()) == 3


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"measurements": ' + DEEP + "}",
        '{"measurements": [{"mean_iou": {"a": NaN}}]}',
        "\xff",
    ],
    ids=["deep", "deep inside", "NaN", "not UTF-8"],
)
@pytest.mark.parametrize(
    "name",
    ["box_convention.json", "run_state.json", "run_summary.json", f"{STEP_1}/failures.jsonl"],
)
def test_other_state_that_cannot_be_read(
    name: str, text: str, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    (project.results / STEP_1).mkdir(parents=True)
    (project.results / name).write_bytes(text.encode("latin-1") + b"\n")
    ran = project.run(server, "vlm.coordinates=auto")
    assert (ran.code, len(project.annotations())) == (0, 1), ran.err


def test_a_measurement_of_no_numbers_is_measured_anew(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    assert project.run(server, "vlm.coordinates=auto").code == 0
    path = project.results / "box_convention.json"
    for iou in (7, "0.9", NAN, True, None):
        kept = json.loads(path.read_text())
        kept["measurements"][0]["mean_iou"] = dict.fromkeys(
            kept["measurements"][0]["mean_iou"], iou
        )
        path.write_text(json.dumps(kept))
        server.probes.clear()
        ran = project.run(server, "vlm.coordinates=auto", "workflow.force_reprocess=true")
        assert ran.code == 0, ran.err
        assert server.probes, iou


def test_a_measurement_of_no_convention_is_measured_anew(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    assert project.run(server, "vlm.coordinates=auto").code == 0
    path = project.results / "box_convention.json"
    kept = json.loads(path.read_text())
    kept["measurements"][0]["convention"] = ["norm1000_xyxy"]
    path.write_text(json.dumps(kept))
    server.probes.clear()
    ran = project.run(server, "vlm.coordinates=auto", "workflow.force_reprocess=true")
    assert ran.code == 0, ran.err
    assert server.probes


def test_a_record_is_annotated_or_failed_and_never_both(
    server: Loopback, make_project: Maker
) -> None:
    """A run that was killed leaves the entry of a sample that it then finished."""
    project = make_project(2, size=(64, 48))
    assert project.run(server).code == 0
    entries = [
        {"sample_id": record["sample_id"], "line": line, "reason": "timeout", "message": "late"}
        for line, record in enumerate(project.annotations(), 1)
    ]
    for step in (STEP_0, STEP_1):
        write_jsonl(project.results / step / "failures.jsonl", entries)
    assert project.run(server, "--limit", "1").code == 0
    assert len(project.annotations()) == 2
    assert project.failures("0") == project.failures("1") == []


def test_a_failed_step_0_is_in_no_annotations(server: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    assert project.run(server).code == 0
    server.fault = lambda call: Answer(status=400) if call.step == "0" else None
    ran = project.run(server, "workflow.force_reprocess=true")
    failed = {entry["sample_id"] for entry in project.failures("0")}
    assert (ran.code, len(failed)) == (3, 2)
    for path in project.results.rglob("annotations.jsonl"):
        assert not failed & {json.loads(line)["sample_id"] for line in path.open()}, path


DOG = (1, 2, 30, 40)
TOOLS: dict[str, Callable[[Path], list[str]]] = {
    "inspect.py": lambda folder: ["-o", str(folder / "report")],
    "export.py": lambda folder: ["--format", "coco", "-o", str(folder / "out")],
    "evaluate.py": lambda folder: ["--truth", str(folder / "truth.jsonl"), "--resamples", "0"],
}


STATE = {
    "no steps": {"steps": []},
    "an unknown step": {"steps": ["9"]},
    "no time": {"updated": "yesterday"},
    "a time of nowhere": {"updated": "2026-11-28T19:14:44"},
}


@pytest.mark.parametrize("change", STATE.values(), ids=STATE)
def test_status_of_a_state_that_no_run_wrote(
    change: dict[str, Any], server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    project.run(server)
    path = project.results / "run_state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "status": "running", **change}))
    ran = run_script("status.py", str(project.results))
    assert ran.code in (0, 2), ran.err
    assert ran.json["exit_code"] == ran.code


SUMMARY = {
    "folder": {"working_folder": None},
    "data": {"spec": {"image_grounding": {"data": {"input_jsonl": 7, "image_root": [1]}}}},
    "counts": {"counts": [1], "teacher": "x", "usage": 3},
}


@pytest.mark.parametrize("change", SUMMARY.values(), ids=SUMMARY)
def test_a_summary_that_no_run_wrote(change: dict[str, Any], tmp_path: Path) -> None:
    line = make_line(0, [("a dog", [DOG])])
    write_jsonl(tmp_path / "truth.jsonl", [line])
    results = write_results(tmp_path, [line], summary=change)
    for tool, more in TOOLS.items():
        ran = run_script(tool, str(results), *more(tmp_path))
        assert ran.code in (0, 3), ran.err


@pytest.fixture
def results(tmp_path: Path) -> Path:
    line = make_line(0, [("a dog", [DOG])])
    write_jsonl(tmp_path / "truth.jsonl", [line])
    return write_results(tmp_path, [line])


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("score", [7, -1, 1.01])
def test_a_record_with_a_score_that_is_none(
    score: float, tool: str, results: Path, tmp_path: Path
) -> None:
    line = make_line(0, [("a dog", [DOG], [score])])
    write_jsonl(results / "annotations.jsonl", [line])
    ran = run_script(tool, str(results), *TOOLS[tool](tmp_path))
    assert ran.code == 2
    assert "line 1: not a record (score must be a number from 0 to 1" in ran.json["error"]


@pytest.mark.parametrize("span", [[0, 9000], [-3, 2], [1, 3], "0-5", [3, 1]])
def test_a_record_with_a_span_that_does_not_hold(
    span: object, results: Path, tmp_path: Path
) -> None:
    line = make_line(0, [("a dog", [DOG])])
    line["expressions"][0]["char_span"] = span
    write_jsonl(results / "annotations.jsonl", [line])
    for tool in ("export.py", "evaluate.py"):
        ran = run_script(tool, str(results), *TOOLS[tool](tmp_path))
        assert ran.code == 0, ran.err
        assert any("1 spans are not where their text" in text for text in ran.json["warnings"])
    report = run_script("inspect.py", str(results), *TOOLS["inspect.py"](tmp_path))
    assert "Spans looked for anew" in report.err


COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "0.png", "width": 640, "height": 480}],
    "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 30, 40], "category_id": 1}],
    "categories": [{"id": 1, "name": "dog"}],
}
ODD_COCO = {
    "no bbox": {"annotations": [{"id": 1, "image_id": 1, "category_id": 1}]},
    "no image id": {"annotations": [{"id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}]},
    "a category of none": {"categories": []},
    "images by name": {"images": {"0.png": 1}},
    "a bbox of texts": {"annotations": [{"image_id": 1, "bbox": "1 2 3 4", "category_id": 1}]},
    "an infinite image": {"images": [{"id": 1, "width": 1e300, "height": "x"}]},
}


@pytest.mark.parametrize("odd", ODD_COCO.values(), ids=ODD_COCO)
def test_an_odd_coco_truth_is_refused_in_words(odd: Any, results: Path, tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps({**COCO, **odd}))
    ran = run_script("evaluate.py", str(results), "--truth", str(tmp_path / "coco.json"))
    assert ran.code == 2
    assert "cannot be read as coco: " in ran.json["error"]
    assert "Error" not in ran.json["error"]
