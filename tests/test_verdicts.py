# SPDX-License-Identifier: Apache-2.0
"""What inspect.py says of runs that are empty, unfinished, killed, or in a wrong convention."""

import json
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Project
from image_grounding.inspection.checks.edges import EdgeVotes, PictureSample
from image_grounding.results.reading import Results
from support.kept import checkpoints
from support.loopback import Answer, Call, Loopback
from support.results import make_line, misread, write_results
from support.scenes import Scene
from support.scripts import Ran, run_script, start_script

Maker = Callable[..., Project]
DOG, CAT = (100, 100, 300, 300), (350, 120, 420, 200)


def inspect(results: Path, *arguments: str) -> Ran:
    """What it says of all records; few are drawn in its report."""
    ran = run_script("inspect.py", str(results), "--sample", "2", *arguments)
    assert ran.out and "Traceback" not in ran.err, (ran.code, ran.err)
    return ran


def levels(ran: Ran) -> dict[str, str]:
    return {finding["check"]: finding["level"] for finding in ran.json["findings"]}


def sentence_of(ran: Ran, check: str) -> str:
    (found,) = (item["sentence"] for item in ran.json["findings"] if item["check"] == check)
    assert isinstance(found, str)
    return found


# --- nothing to train on


def no_expressions(call: Call) -> Answer | None:
    if call.step != "0":
        return None
    return Answer(text=json.dumps({"cleaned_caption": "nothing", "expressions": []}))


def nothing_seen(call: Call) -> Answer | None:
    if call.step != "1":
        return None
    asked = re.search(r"^EXPRESSIONS: (.*)$", call.prompt, re.MULTILINE)
    assert asked
    absent = [expression["id"] for expression in json.loads(asked[1])]
    return Answer(text=json.dumps({"instances": [], "absent": absent}))


@pytest.mark.parametrize(
    ("fault", "check"),
    [(no_expressions, "no_expressions_at_all"), (nothing_seen, "no_boxes_at_all")],
)
def test_a_run_without_any_box_fails(
    make_project: Maker, server: Loopback, fault: Callable[[Call], Answer | None], check: str
) -> None:
    server.fault = fault
    project = make_project(3, (200, 150))
    assert project.run(server).code == 0
    ran = inspect(project.results, "--gate")
    assert (ran.code, ran.json["verdict"]) == (3, "fail")
    assert ran.json["findings"][0]["check"] == check
    assert ran.json["headline"] == f"Do not scale this yet: {check.replace('_', ' ')}."
    assert "ungrounded_share" not in levels(ran)
    assert ran.json["counts"]["grounded_records"] == 0


def test_step_0_alone_needs_no_boxes(make_project: Maker, server: Loopback) -> None:
    project = make_project(3, (200, 150))
    assert project.run(server, "workflow.steps=[0]").code == 0
    ran = inspect(project.results)
    assert (ran.json["verdict"], ran.json["findings"]) == ("pass", [])


def test_grounded_records_are_those_with_boxes(tmp_path: Path) -> None:
    lines = [make_line(i, [("a dog", [DOG] if i < 3 else [])]) for i in range(5)]
    counts = inspect(write_results(tmp_path, lines)).json["counts"]
    assert (counts["records"], counts["grounded_records"]) == (5, 3)


@pytest.mark.parametrize(("empty", "found"), [(4, True), (3, False)])
def test_captions_without_expressions_are_widespread_in_a_small_pilot_too(
    tmp_path: Path, empty: int, found: bool
) -> None:
    lines = [make_line(i, [("a dog", [DOG])] if i >= empty else []) for i in range(6)]
    ran = inspect(write_results(tmp_path, lines))
    assert ("widespread_flag" in levels(ran)) == found
    if found:
        assert "no_expressions in 67% of the records" in sentence_of(ran, "widespread_flag")


# --- unfinished runs


def test_what_a_run_did_not_come_to_is_found(make_project: Maker, server: Loopback) -> None:
    project = make_project(12, (64, 48))
    assert project.run(server, "--limit", "4").code == 0
    assert "incomplete" not in levels(inspect(project.results))  # the pilot is whole
    server.key = "revoked"
    stopped = project.run(server)
    assert stopped.code == 4
    ran = inspect(project.results)
    assert "8 of 12 not attempted" in sentence_of(ran, "incomplete")
    assert levels(ran)["incomplete"] == "warn" and "incomplete" in ran.json["headline"]
    server.key = None
    assert project.run(server).code == 0
    assert "incomplete" not in levels(inspect(project.results))


def test_a_second_run_that_was_cut_short_takes_nothing_away(
    make_project: Maker, server: Loopback
) -> None:
    """Its summary counts what it did not attempt, but earlier runs have finished that."""
    project = make_project(8, (64, 48))
    assert project.run(server).code == 0
    server.key = "revoked"
    assert project.run(server, "workflow.force_reprocess=true").code == 4
    assert "incomplete" not in levels(inspect(project.results))


@pytest.mark.parametrize(
    ("selection", "missing"),
    [
        (None, 3),  # earlier runs have annotated or failed the others
        ({"limit": 10}, 5),  # what is annotated need not be of this pilot
    ],
)
def test_what_earlier_runs_have_attempted_is_not_missing(
    tmp_path: Path, selection: dict[str, int] | None, missing: int
) -> None:
    counts = {"lines": 10, "annotated": 4, "failed": 1, "failed_earlier": 2, "not_attempted": 5}
    summary = {"counts": counts, "status": "interrupted", "selection": selection}
    lines = [make_line(i, [("a dog", [DOG])]) for i in range(4)]
    found = Results(write_results(tmp_path, lines, summary=summary)).unfinished()
    assert found and (found.not_attempted, found.lines) == (missing, 10)
    assert (str(found), found.status) == (f"{missing} of 10 not attempted", "interrupted")


@pytest.mark.parametrize("counts", [5, [], {}, {"lines": "10", "not_attempted": None}])
def test_a_summary_that_says_nothing_of_it(tmp_path: Path, counts: Any) -> None:
    lines = [make_line(0, [("a dog", [DOG])])]
    results = write_results(tmp_path, lines, summary={"counts": counts})
    assert Results(results).unfinished() is None


def kill_after(project: Project, server: Loopback, count: int) -> None:
    """Run, and kill the run once ``count`` samples are finished."""
    one_by_one = project.overrides(server, "workflow.max_workers=1")
    process = start_script("run_pipeline.py", *one_by_one)

    def fault(call: Call) -> Answer | None:
        if call.step and kept_samples(project) >= count:
            process.kill()
        return None

    server.fault = fault
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL


def kept_samples(project: Project) -> int:
    return len(checkpoints(project.results, "1"))


def test_what_a_killed_run_keeps_is_said(make_project: Maker, server: Loopback) -> None:
    project = make_project(8, (64, 48))
    kill_after(project, server, 4)
    kept = kept_samples(project)
    assert kept >= 4
    for script, *more in (["inspect.py"], ["evaluate.py", "--truth", str(project.input)]):
        ran = run_script(script, str(project.results), *more)
        assert ran.code == 2, script
        assert f"{kept} finished samples are kept; the same run_pipeline.py command" in ran.err
        assert "annotations.jsonl" not in ran.err
    server.fault = lambda call: None
    assert project.run(server).json["counts"]["from_checkpoints"] == kept
    assert inspect(project.results).code == 0


def test_a_run_that_was_killed_before_any_box(make_project: Maker, server: Loopback) -> None:
    project = make_project(6, (64, 48))
    assert project.run(server, "workflow.steps=[0]").code == 0
    for path in project.results.rglob("annotations.jsonl"):
        path.unlink()
    ran = inspect(project.results)
    assert ran.code == 2
    assert "6 samples are past step 0; the same run_pipeline.py command goes on there" in ran.err
    step_0 = inspect(project.results, "--step", "0")
    assert "6 finished samples are kept" in step_0.err


# --- wrong conventions


def named(coordinates: str | None, iou: float | None) -> dict[str, Any]:
    vlm = {"coordinates": coordinates} if coordinates else {}
    teacher = {"backend": "openai", "model": "m", "convention": "norm1000_xyxy",
               "convention_iou": iou}  # fmt: skip
    return {"teacher": teacher, "spec": {"image_grounding": {"vlm": vlm}}}


@pytest.mark.parametrize(
    ("coordinates", "iou", "check", "level"),
    [
        ("norm1000_xyxy", 0.01, "unmeasured_convention", "fail"),
        (None, 0.01, "unmeasured_convention", "fail"),  # no measurement ends like that
        ("norm1000_xyxy", 0.62, "unmeasured_convention", "warn"),
        ("norm1000_xyxy", None, "unmeasured_convention", "warn"),
        ("norm1000_xyxy", 0.97, None, None),
        ("auto", 0.62, "coarse_boxes", "warn"),
        ("auto", 0.97, None, None),
    ],
)
def test_a_named_convention_is_judged_by_its_probe(
    tmp_path: Path, coordinates: str | None, iou: float | None, check: str | None, level: str | None
) -> None:
    lines, _ = misread([(320, 240)], "norm1000_xyxy", "norm1000_xyxy", count=10)
    ran = inspect(write_results(tmp_path, lines, summary=named(coordinates, iou)))
    assert levels(ran) == ({check: level} if check else {})
    if check == "unmeasured_convention":
        assert "stronger model" not in json.dumps(ran.json["findings"])
        assert "was measured" not in json.dumps(ran.json["findings"])
    assert ran.json["verdict"] == (level or "pass")


@pytest.mark.parametrize(
    ("written", "read", "sizes", "finding"),
    [
        # Too small in small images, beyond the borders of large ones.
        ("pixel_sent", "norm1000_xyxy", [(640, 480), (4032, 3024)], "scale_large"),
        # In the first thousand pixels of large images, beyond the borders of small ones.
        ("norm1000_xyxy", "pixel_sent", [(320, 240), (4032, 3024)], "thousand"),
    ],
)
def test_a_scale_is_too_small_or_too_large_and_never_both(
    tmp_path: Path, written: str, read: str, sizes: list[tuple[int, int]], finding: str
) -> None:
    small, dropped = misread(sizes[:1], written, read, count=60)
    large, more = misread(sizes[1:], written, read, count=20)
    for number, line in enumerate(large):
        line["sample_id"], line["image_path"] = f"large{number}", f"large{number}.png"
    summary = {"counts": {"dropped_boxes": dict(dropped + more)}}
    ran = inspect(write_results(tmp_path, small + large, summary=summary, images=False))
    assert [check for check in levels(ran) if check.startswith("convention_")] == [
        f"convention_{finding}"
    ]


def test_usable_so_far_is_never_said_beside_a_wrong_convention(tmp_path: Path) -> None:
    photos = [(1600, 1200), (1200, 1600)]
    lines, _ = misread(photos, "norm1000_xyxy", "pixel_sent", count=9)  # too few to fail
    ran = inspect(write_results(tmp_path, lines, images=False))
    assert levels(ran)["convention_thousand"] == ran.json["verdict"] == "warn"
    assert ran.json["headline"].startswith("Doubtful so far, look at the boxes first: wrong box")


def swapped(call: Call, server: Loopback) -> None:
    """Right on the probes, so that the run begins; axes exchanged on the samples."""
    server.model.convention = "norm1000_yxyx" if call.step else "norm1000_xyxy"


def test_a_pilot_with_exchanged_axes_fails(make_project: Maker, server: Loopback) -> None:
    """No words for sides, pictures of one shape: only the pictures themselves tell."""
    server.fault = lambda call: swapped(call, server)
    project = make_project(6, (200, 150))
    assert project.run(server).code == 0
    ran = inspect(project.results, "--gate")
    assert (ran.code, levels(ran)["convention_axes"]) == (3, "fail")
    assert "fit the edges of things better with x and y exchanged" in sentence_of(
        ran, "convention_axes"
    )
    assert "wrong box convention" in ran.json["headline"]


def test_axes_that_are_right_are_left_alone(make_project: Maker, server: Loopback) -> None:
    project = make_project(12, (200, 150))
    assert project.run(server).code == 0
    assert not [check for check in levels(inspect(project.results)) if "convention" in check]


def portraits(folder: Path, *, exchanged: bool = False) -> Path:
    """Tall things in upright pictures, wide things in others: as if axes were exchanged.

    Or squares in both, whose axes are exchanged, which makes just such shapes of them.
    """
    lines = []
    for number in range(14):
        upright = number % 2 == 0
        size = (300, 400) if upright else (400, 300)
        left, top = 20 + 9 * (number % 5), 130 + 7 * (number % 7)
        long = 40 if exchanged else 150
        wide, high = (40, long) if upright else (long, 40)
        box = (left, top, left + wide, top + high)
        Scene(size, (("red", box),)).save(folder / f"{number}.png")
        if exchanged:
            (x1, y1, x2, y2), (width, height) = box, size
            across, down = width / height, height / width
            box = (int(y1 * across), int(x1 * down), int(y2 * across), int(x2 * down))
        lines.append(make_line(number, [("a thing", [box])], size=size))
    return write_results(folder, lines, images=False)


def test_shapes_alone_are_refuted_by_the_pictures(tmp_path: Path) -> None:
    ran = inspect(portraits(tmp_path), "--threshold", "min_boxes=10")
    assert "convention_axes" not in levels(ran)


def test_shapes_and_few_pictures_together_fail(tmp_path: Path) -> None:
    results = portraits(tmp_path, exchanged=True)
    for number in range(6, 14):  # the six that are left prove nothing by themselves
        (tmp_path / f"{number}.png").unlink()
    ran = inspect(results, "--threshold", "min_boxes=10")
    assert levels(ran)["convention_axes"] == "fail"
    assert "follow those of the images with a slope" in sentence_of(ran, "convention_axes")


def test_shapes_warn_where_there_is_no_picture(tmp_path: Path) -> None:
    results = portraits(tmp_path)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    ran = inspect(results, "--threshold", "min_boxes=10")
    assert levels(ran)["convention_axes"] == "warn"
    assert "follow those of the images with a slope" in sentence_of(ran, "convention_axes")


def test_each_picture_is_compared_once_and_few_of_a_crowd(tmp_path: Path) -> None:
    scene = Scene((400, 300), (("red", (20, 150, 120, 280)), ("blue", (200, 20, 380, 80))))
    path = scene.save(tmp_path / "scene.png")
    boxes = [box for _, box in scene.boxes]
    line = make_line(0, [("a thing", [box]) for box in boxes], size=(400, 300))
    many = [("things", [boxes[0]] * 9)]
    crowd = [make_line(i, many, size=(400, 300), image=f"{i}.png") for i in (1, 2)]
    results = write_results(tmp_path, [line, line, *crowd], images=False)
    first, again, crowded, lost = Results(results).records()
    pictures = PictureSample()
    pictures.add(first, path)
    pictures.add(again, path)
    assert pictures.compare() == EdgeVotes(as_read=2)
    pictures.add(crowded, scene.save(tmp_path / "crowded.png"))
    pictures.add(lost, tmp_path / "lost.png")
    assert pictures.compare() == EdgeVotes(as_read=7)


def test_a_picture_without_edges_tells_nothing(tmp_path: Path) -> None:
    """Shades that nobody sees, such as a camera's noise, are no edges."""
    picture = Image.effect_noise((400, 300), 2)
    picture.save(tmp_path / "flat.png")
    line = make_line(0, [("a thing", [(20, 150, 120, 280)])], size=(400, 300))
    (record,) = Results(write_results(tmp_path, [line], images=False)).records()
    pictures = PictureSample()
    pictures.add(record, tmp_path / "flat.png")
    assert pictures.compare() == EdgeVotes()


def test_few_pictures_stand_for_many_whatever_their_order(tmp_path: Path) -> None:
    lines = [make_line(i, [("a dog", [DOG])]) for i in range(200)]
    records = list(Results(write_results(tmp_path, lines, images=False)).records())
    one_way, other_way = PictureSample(), PictureSample()
    for record, turned in zip(records, reversed(records), strict=True):
        one_way.add(record, tmp_path / record.image_path)
        other_way.add(turned, tmp_path / turned.image_path)
    assert one_way._chosen == other_way._chosen
    assert len(one_way._chosen) == 40


# --- flags that only inform


def test_flags_that_only_inform_are_no_reason_to_doubt(tmp_path: Path) -> None:
    lines, _ = misread([(320, 240)], "norm1000_xyxy", "norm1000_xyxy", count=10)
    results = write_results(tmp_path, lines)
    exif = Image.Exif()
    exif[0x0112] = 3
    for line in lines:
        Image.new("L", (320, 240)).save(tmp_path / line["image_path"], exif=exif)
    ran = inspect(results)
    assert ran.json["flags"]["exif_rotated"] == ran.json["counts"]["flagged_records"] == 10
    assert (ran.json["verdict"], levels(ran)) == ("pass", {"widespread_flag": "info"})
    assert ran.json["headline"].startswith("Nothing looks wrong to the checks.")


def test_only_doubtful_flags_are_counted_in_the_headline(tmp_path: Path) -> None:
    lines = [make_line(i, [("a dog", [DOG])], size=(1000, 320)) for i in range(4)]
    lines.append(make_line(4, [("two dogs", [DOG])], size=(1000, 320)))
    ran = inspect(write_results(tmp_path, lines))
    assert ran.json["flags"] == {"extreme_aspect": 5, "number_mismatch": 1}
    assert "1 of 5 carry a flag" in ran.json["headline"]


# --- records with and without a status


def with_status(line: dict[str, Any], statuses: Sequence[str]) -> dict[str, Any]:
    for expression, status in zip(line["expressions"], statuses, strict=True):
        expression["status"] = status
    return line


def test_records_say_what_is_absent_or_say_nothing(tmp_path: Path) -> None:
    lines = [make_line(i, [("a dog", [DOG]), ("a cat", [])]) for i in range(2)]
    with_status(lines[1], ["grounded", "absent"])
    results = write_results(tmp_path, lines)
    ran = inspect(results, "--draw", "2")
    assert ran.code == 0 and ran.json["flags"] == {"ungrounded_expression": 2}
    page = (results / "report" / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    shown = {
        card["sample"]: [expression["none"] for expression in card["expressions"]]
        for card in json.loads(found[1])["cards"]
    }
    assert shown == {
        "s0": ["", "no box"],
        "s1": ["", "absent: the model looked and saw none"],
    }
