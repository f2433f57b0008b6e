# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from conftest import read_jsonl, write_jsonl
from image_grounding.inspection.inspect_run import inspect_run
from image_grounding.inspection.kept_replies import kept_replies
from image_grounding.inspection.model import Card, Flag, Picked
from image_grounding.inspection.sampling import Sampler
from image_grounding.resources import load_schema
from image_grounding.results.reading import Results
from image_grounding.spec import load_limits
from support.results import make_line, misread, write_results
from support.scripts import SCRIPTS, clean_environment, run_script

DOG = (100, 100, 300, 300)
PHOTOS = [(1600, 1200), (1200, 1600)]


def inspect(results, *arguments, **environment):
    return run_script("inspect.py", str(results), *arguments, **environment)


@pytest.fixture
def good(tmp_path):
    """A run of 40 records in which nothing is wrong but one tiny box and one failure."""
    lines, _ = misread([(320, 240)], "norm1000_xyxy", "norm1000_xyxy", count=40)
    lines[7]["expressions"][0]["instances"][0]["bbox"] = [50, 50, 54, 55]
    return write_results(tmp_path, lines, ["timeout"])


@pytest.fixture
def few(tmp_path):
    """A run of 10 records in which nothing is wrong."""
    lines, _ = misread([(320, 240)], "norm1000_xyxy", "norm1000_xyxy", count=10)
    return write_results(tmp_path, lines)


# --- the script


def test_report_of_a_run(good):
    ran = inspect(good)
    assert ran.code == 0, ran.err
    report = json.loads((good / "report" / "report.json").read_text())
    assert list(Draft202012Validator(load_schema("report")).iter_errors(report)) == []
    assert (good / "report" / "index.html").stat().st_size > 0
    assert ran.json["report"] == str(good / "report" / "index.html")
    assert {key: report[key] for key in ran.json if key in report} == {
        key: ran.json[key] for key in ran.json if key in report
    }
    assert report["verdict"] == "pass"
    assert report["step"] == "1"
    counts = {"records": 40, "expressions": 120, "boxes": 120, "failed": 1}
    assert {name: report["counts"][name] for name in counts} == counts
    assert report["flags"]["tiny_box"] == 1
    assert report["failures"] == {"1": {"timeout": 1}}
    assert report["sampled"] == report["sampled_from"] == len(report["cards"]) == 40
    (card,) = (c for c in report["cards"] if any(f["check"] == "tiny_box" for f in c["flags"]))
    assert card["index"] == 7 and card["sample_id"] == "s7"
    facts = report["facts"]
    assert (facts["Model"], facts["Convention"]) == ("test-vlm", "norm1000_xyxy")
    assert (facts["Tokens"], facts["Cost"]) == ("1,200 in, 300 out", "0.0123")
    assert "1 x timeout" in facts["Failures"]
    assert "tiny_box" in ran.err and "test-vlm" in ran.err


def test_charts_count_everything(good):
    charts = inspect_run(Results(good), load_limits({})).charts
    bars = {chart.title: dict(chart.bars) for chart in charts}
    assert {title: sum(counts.values()) for title, counts in bars.items()} == {
        "Expressions a caption": 40,
        "Expressions grounded": 120,
        "Boxes an expression": 120,
        "Box area, of the image": 120,
        "Score of a box": 120,
    }
    assert bars["Expressions a caption"]["3"] == 40
    assert bars["Boxes an expression"]["1"] == 120
    assert bars["Box area, of the image"]["< 0.1 %"] == 1


def test_measured_convention_is_a_fact(tmp_path):
    teacher = {"model": "m", "convention": "pixel_sent", "convention_iou": 0.8765}
    results = write_results(tmp_path, [make_line(0, [])], summary={"teacher": teacher})
    facts = dict(inspect_run(Results(results), load_limits({})).facts)
    assert facts["Convention's measured IoU"] == "0.876"


@pytest.mark.parametrize(
    ("cached", "shown"),
    [(600, "1,200 in (50% cached), 300 out"), (0, "1,200 in, 300 out")],
)
def test_the_share_that_was_cached_is_a_fact(tmp_path, cached, shown):
    usage = {"input_tokens": 1200, "output_tokens": 300, "cached_tokens": cached}
    results = write_results(tmp_path, [make_line(0, [])], summary={"usage_of_all_runs": usage})
    assert dict(inspect_run(Results(results), load_limits({})).facts)["Tokens"] == shown


def test_a_real_run_in_a_wrong_convention(make_project, server):
    """The probe is answered as the spec says, or the run would not begin; samples are not."""
    reads = "norm1000_xyxy"

    def fault(call):
        server.model.convention = "pixel_sent" if call.step else reads

    server.fault = fault
    project = make_project(12, (200, 150))
    assert project.run(server, f"vlm.coordinates={reads}").code == 0
    ran = inspect(project.results)
    named = [finding["check"] for finding in ran.json["findings"]]
    assert [name for name in named if "convention" in name] == ["convention_scale_small"]
    assert reads in ran.err  # what the run took it for


@pytest.mark.parametrize(("gate", "code"), [((), 0), (("--gate",), 3)])
def test_wrong_convention_closes_the_gate(tmp_path, gate, code):
    lines, dropped = misread(PHOTOS, "norm1000_xyxy", "pixel_sent", count=20)
    summary = {"counts": {"dropped_boxes": dict(dropped)}}
    results = write_results(tmp_path, lines, summary=summary, images=False)
    ran = inspect(results, *gate)
    assert ran.code == ran.json["exit_code"] == code
    assert ran.json["verdict"] == "fail"
    assert ran.json["findings"][0]["check"] == "convention_thousand"
    assert "wrong box convention" in ran.json["headline"]
    assert "wrong box convention" in ran.err


@pytest.mark.parametrize(
    ("measured", "level"), [("norm1000_xyxy", "warn"), ("pixel_sent", "fail"), (None, "fail")]
)
def test_a_convention_that_was_measured_is_not_to_be_measured_again(tmp_path, measured, level):
    """Things may keep to the upper left of all pictures: there is a way to say so."""
    lines, _ = misread([(800, 600)], "pixel_sent", "norm1000_xyxy", count=60)
    teacher = {"convention": measured, "measured_convention": measured, "convention_iou": 0.99}
    results = write_results(tmp_path, lines, summary={"teacher": teacher}, images=False)
    (finding,) = named(inspect(results).json, "convention_scale_small")
    assert finding["level"] == level
    option = re.search(r"--threshold (lopsided=[0-9.]+)", finding["remedy"])
    assert bool(option) == bool(measured) != ("coordinates to auto" in finding["remedy"])
    if option:
        again = inspect(results, "--threshold", option[1])
        assert named(again.json, "convention_scale_small") == []


@pytest.mark.parametrize(
    ("box", "check", "level", "measuring"),
    [
        ((400, 300, 630, 470), "convention_quadrant", "warn", False),
        # What passes the borders of its image lies there by no nature.
        ((500, 100, 640, 300), "convention_scale_large", "fail", True),
    ],
)
def test_what_no_threshold_takes_is_promised_none(tmp_path, box, check, level, measuring):
    lines = [make_line(i, [("a dog", [box])]) for i in range(60)]
    convention = "norm1000_xyxy"
    teacher = {"convention": convention, "measured_convention": convention, "convention_iou": 0.99}
    results = write_results(tmp_path, lines, summary={"teacher": teacher}, images=False)
    (finding,) = named(inspect(results).json, check)
    assert finding["level"] == level
    assert "--threshold" not in finding["remedy"]
    assert ("coordinates to auto" in finding["remedy"]) == measuring


def named(report, check):
    return [finding for finding in report["findings"] if finding["check"] == check]


def test_thresholds_come_from_the_run_and_the_command_line(tmp_path):
    spec = {"image_grounding": {"inspection": {"failed": 0.3}}}
    lines = [make_line(i, [("a dog", [DOG])]) for i in range(3)]
    results = write_results(tmp_path, lines, ["timeout"], {"spec": spec})
    assert inspect(results).json["verdict"] == "pass"
    ran = inspect(results, "--threshold", "failed=0.2")
    assert ran.json["findings"][0]["check"] == "failed_share"
    assert ran.json["findings"][0]["limit"] == 0.2
    ran = inspect(results, "--threshold", "faild=0.2")
    assert ran.code == 2 and "did you mean image_grounding.inspection.failed" in ran.err


def test_step_0_has_no_boxes_to_check(few):
    (few / "step_1_grounding" / "failures.jsonl").write_text('{"reason": "timeout"}\n')
    step_0 = few / "step_0_expression_extraction"
    step_0.mkdir()
    lines = [make_line(i, [("a dog", [])], size=(320, 240), grounded=False) for i in range(12)]
    write_jsonl(step_0 / "annotations.jsonl", lines)
    ran = inspect(few, "--step", "0")
    assert ran.json["step"] == "0"
    assert "ungrounded_expression" not in ran.json["flags"]
    assert ran.json["counts"]["failed"] == 0  # the failure was one of step 1
    assert ran.json["verdict"] == "pass"
    assert inspect(few, "--step", "1").json["step"] == "1"


def steps_of(results, numbers):
    """The same run, whose spec names these steps."""
    summary = json.loads((results / "run_summary.json").read_text())
    summary["spec"]["image_grounding"]["workflow"] = {"steps": numbers}
    (results / "run_summary.json").write_text(json.dumps(summary))


@pytest.mark.parametrize("left", ["nothing", "step 0's records", "no file"])
@pytest.mark.parametrize("named", [True, False])
def test_failures_of_the_last_step_count_whatever_came_out_of_it(tmp_path, left, named):
    results = write_results(tmp_path, [], ["timeout"] * 12, images=False)
    step_0 = results / "step_0_expression_extraction"
    step_0.mkdir()
    lines = [make_line(i, [("a dog", [])], grounded=False) for i in range(12)]
    write_jsonl(step_0 / "annotations.jsonl", lines)
    write_jsonl(step_0 / "failures.jsonl", [{"sample_id": "x", "reason": "bad_line"}])
    if left == "step 0's records":
        write_jsonl(results / "annotations.jsonl", lines)
    if left == "no file":
        (results / "annotations.jsonl").unlink()
        (results / "step_1_grounding" / "annotations.jsonl").unlink()
    if named:
        steps_of(results, ["0", "1"])
    inspection = inspect_run(Results(results), load_limits({}))
    assert inspection.failures == {"0": {"bad_line": 1}, "1": {"timeout": 12}}
    assert (inspection.verdict, inspection.counts["failed"]) == ("fail", 13)
    assert "12 x timeout" in inspection.findings[0].sentence
    steps_of(results, ["0"])  # the step 1 that failed was one of an earlier run
    assert inspect_run(Results(results), load_limits({})).counts["failed"] == 1


def test_only_one_flag(good):
    ran = inspect(good, "--only", "tiny_box", "-o", str(good / "tiny"))
    assert (ran.json["sampled"], ran.json["sampled_from"]) == (1, 1)
    assert ran.json["counts"]["records"] == 40
    assert (good / "tiny" / "index.html").exists()
    assert not (good / "report").exists()
    (card,) = json.loads((good / "tiny" / "report.json").read_text())["cards"]
    assert (card["picked"], card["because"]) == ("only", "--only tiny_box")
    assert inspect(good, "--only", "tiny").code == 2


def test_cards_drawn_as_pictures(few):
    """For an agent that looks at files: every box is there, numbered, and so is what it is."""
    (few.parent / "3.png").unlink()
    ran = inspect(few, "--draw", "10", "--quiet")
    drawn = ran.json["drawn"]
    assert len(drawn) == 10
    assert [entry["sample_id"] for entry in drawn if not entry["file"]] == ["s3"]
    assert "no such image" in next(entry["problem"] for entry in drawn if not entry["file"])
    lines = {line["sample_id"]: line for line in read_jsonl(few / "annotations.jsonl")}
    entry = next(entry for entry in drawn if entry["sample_id"] == "s5")
    pixels = np.asarray(Image.open(entry["file"]).convert("RGB")).astype(int)
    assert pixels.shape[1] == 480 and pixels.shape[0] > 240 + 5 * 20  # caption, phrases, flags
    x1, _, x2, y2 = lines["s5"]["expressions"][0]["instances"][0]["bbox"]
    edge = pixels[min(y2, 239) - 1, (x1 + x2) // 2]  # the lower one: the number is at the upper
    assert np.abs(edge - np.array([0xE6, 0x9F, 0x00])).sum() < 30
    assert inspect(few, "--draw", "2").json["drawn"][1]["picked"] == "random"
    assert len(list((few / "report" / "drawn").iterdir())) == 2


def test_images_that_moved(few):
    moved = few.parent / "elsewhere"
    moved.mkdir()
    for path in few.parent.glob("*.png"):
        path.rename(moved / path.name)
    ran = inspect(few)
    assert ran.json["flags"]["image_unreadable"] == 10
    assert ran.json["findings"][0]["check"] == "widespread_flag"
    assert "image_unreadable" not in inspect(few, "--image-root", str(moved)).json["flags"]


def test_a_bare_file_of_records(tmp_path):
    path = write_jsonl(tmp_path / "mine.jsonl", [make_line(0, [("a dog", [DOG])])])
    ran = inspect(path)
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["records"] == 1
    assert (tmp_path / "report" / "index.html").exists()


def test_records_of_tao(tmp_path):
    """No sample_id, no steps that we know, bbox_score."""
    line = make_line(0, [("a dog", [DOG, (0, 0, 10, 10)])])
    del line["sample_id"]
    for box in line["expressions"][0]["instances"]:
        box["bbox_score"] = box.pop("score")
    path = write_jsonl(tmp_path / "tao.jsonl", [line])
    inspection = inspect_run(Results(path), load_limits({}))
    assert inspection.counts["boxes"] == 2
    assert inspection.cards[0].record.sample_id == "0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such results"),
        ("{", "not JSON Lines"),
        ('{"image_path": "a.png"}', "line 1: not a record"),
    ],
)
def test_what_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "records.jsonl"
    if content is not None:
        path.write_text(content)
    ran = inspect(path)
    assert ran.code == 2
    assert message in ran.err and "Traceback" not in ran.err
    assert ran.json["status"] == "error"


def test_report_that_cannot_be_written(few):
    (few / "report").write_text("in the way")
    ran = inspect(few)
    assert ran.code == 2
    assert "cannot write" in ran.err and "Traceback" not in ran.err


def test_hostile_texts(tmp_path):
    bad = "[bold]x[/] <img src=x onerror=alert(1)> \x1b[31m \ud800"
    line = make_line(0, [(bad, [DOG])], caption=bad)
    summary = {"teacher": {"model": bad, "convention": 3}, "counts": 5, "usage": [], "spec": 1}
    results = write_results(tmp_path, [line], ["[/red]"], summary)
    ran = inspect(results)
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["failed"] == 1
    assert "\x1b[31m" not in ran.err


def test_no_record_at_all(tmp_path):
    ran = inspect(write_results(tmp_path, [], ["timeout"]), "--gate")
    assert ran.code == 3
    assert ran.json["findings"][0]["check"] == "no_records"


def test_gate_is_open_and_so_is_the_page_in_the_user_s_browser_and_quiet_leaves_the_json(
    few, tmp_path
):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    ran = inspect(few, "--gate", "--quiet", "--open", BROWSER=f"{browser} %s")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["exit_code"] == 0
    page = (few / "report" / "index.html").resolve()
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()


def test_script_does_not_stand_in_for_the_standard_inspect():
    """Its folder may be on PYTHONPATH, where dataclasses and others import inspect."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import inspect, dataclasses; print(inspect.signature(max.__call__))",
        ],
        env=clean_environment(PYTHONPATH=str(SCRIPTS)),
        cwd=os.sep,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_group_command(few):
    ran = run_script("image_grounding/__main__.py", "inspect", str(few), "--quiet")
    assert ran.json["counts"]["records"] == 10


# --- the sample


def make_card(index, *checks):
    return Card(index, None, tuple(Flag(check) for check in checks), None)


def pick(cards, size, seed=0, weights=None):
    sampler = Sampler(size, seed, weights or {"rare": 1, "often": 1, "heavy": 5})
    for card in cards:
        sampler.add(card)
    return sampler.cards()


def crowd(count=1000):
    """A few heavy ones, a rare flag, a frequent one."""
    for index in range(count):
        checks = ["often"] if index % 3 == 0 else []
        checks += ["rare"] if index in (100, 500) else []
        checks += ["heavy"] if index % 200 == 7 else []
        yield make_card(index, *checks)


def test_the_worst_and_every_flag_are_in():
    picked = pick(crowd(), 40)
    assert len(picked) == len({card.index for card in picked}) == 40
    indices = [card.index for card in picked]
    assert {7, 207, 407, 607, 807} | {100, 500} <= set(indices)
    kinds = Counter(card.picked for card in picked)
    assert kinds[Picked.RANDOM] >= 20 and kinds[Picked.WORST] and kinds[Picked.FLAG]
    because = {card.index: card.because for card in picked}
    assert because[207] == "its flags weigh most"
    assert Counter(because.values())["an example of rare"] == 2


def test_random_cards_come_first_in_the_order_of_the_draw():
    """So that a review that stops early, or goes on in a larger report, is of a random sample."""
    small, large = (
        [card.index for card in pick(crowd(), size) if card.picked is Picked.RANDOM]
        for size in (40, 80)
    )
    kinds = [card.picked for card in pick(crowd(), 40)]
    assert kinds == sorted(kinds, key=[Picked.RANDOM, Picked.WORST, Picked.FLAG].index)
    assert large[: len(small)] == small
    assert small != sorted(small)


def test_same_seed_same_sample():
    assert pick(crowd(), 40, seed=3) == pick(crowd(), 40, seed=3)
    assert pick(crowd(), 40, seed=3) != pick(crowd(), 40, seed=4)


def test_all_are_in_where_there_are_few():
    picked = pick(crowd(30), 40)
    assert {card.index for card in picked} == set(range(30))
    assert {card.picked for card in picked} == {Picked.RANDOM}
    assert pick(crowd(), 0) == ()
    assert len(pick(crowd(), 1)) == 1


def test_random_cards_stand_for_all():
    """Their share of heavy cards is that of all cards, though all heavy ones are shown."""
    share, runs = 0.0, 400
    for seed in range(runs):
        picked = pick(
            (make_card(i, *(["heavy"] if i % 10 == 0 else [])) for i in range(60)), 20, seed
        )
        drawn = [bool(card.flags) for card in picked if card.picked is Picked.RANDOM]
        share += sum(drawn) / len(drawn) / runs
    assert share == pytest.approx(0.1, abs=0.01)


def test_memory_does_not_grow_with_the_records():
    small, large = (Sampler(40, 0, {"often": 1}) for _ in range(2))
    for sampler, count in ((small, 1_000), (large, 5_000)):
        for index in range(count):
            sampler.add(make_card(index, "often"))

    def held(sampler):
        heaps = [sampler._worst, sampler._shuffled, *sampler._by_flag.values()]
        return sum(len(heap._heap) for heap in heaps)

    assert held(small) == held(large)


# --- what the model said


def keep(results, step, sample, replies):
    folder = results / step / ".ckpt"
    folder.mkdir(parents=True, exist_ok=True)
    content = replies if isinstance(replies, str) else json.dumps({"replies": replies})
    (folder / f"{sample}.json").write_text(content)


def replies_of(path, **more):
    cards = inspect_run(Results(path), load_limits({}), **more).cards
    return {card.record.sample_id: [(r.step, r.text) for r in card.replies] for card in cards}


@pytest.mark.parametrize(
    "where", [".", "step_1_grounding", "annotations.jsonl", "step_1_grounding/annotations.jsonl"]
)
def test_cards_hold_what_the_model_said(few, where):
    keep(few, "step_0_expression_extraction", "s0", [{"text": "first"}])
    keep(few, "step_1_grounding", "s0", [{"text": "second"}, {"text": "asked again"}])
    found = replies_of(few / where)
    assert found.pop("s0") == [("0", "first"), ("1", "second"), ("1", "asked again")]
    assert set(map(tuple, found.values())) == {()}


def test_replies_that_are_not_there_are_left_out(few):
    kept = [
        "{",
        "[]",
        "[" * 9999,
        [3],
        [{"text": 3}],
        {"text": "a"},
        None,
        [{"text": "x" * 4_000_001}],
        '{"a": 1}',
    ]
    for number, replies in enumerate([*kept, [{"text": "there"}]]):
        keep(few, "step_1_grounding", f"s{number}", replies)
    found = replies_of(few)
    assert found.pop(f"s{len(kept)}") == [("1", "there")]
    assert found == {f"s{number}": [] for number in range(len(kept))}


def test_replies_take_little_of_the_page(few):
    for number in range(10):
        keep(few, "step_1_grounding", f"s{number}", [{"text": "y" * 10_000}] * 9)
    for texts in replies_of(few).values():
        assert [text for _, text in texts] == [f"{'y' * 4000}… (10,000 characters)"] * 4
    together = sum(len(reply.text) for reply in kept_replies(few, ["s0"] * 1000)[0])
    assert together < 1_200


def test_replies_are_looked_for_in_the_results_alone(few):
    keep(few, "step_1_grounding", "../../secret", [{"text": "no reply"}])
    for name in ("../../secret", str(few / "step_1_grounding" / ".ckpt" / "../../secret")):
        assert kept_replies(few, [name]) == [()]


def test_cards_know_their_images(few):
    inspection = inspect_run(Results(few), load_limits({}), sample=5)
    assert all(card.image.exists() for card in inspection.cards)
    assert inspection.checks["tiny_box"].name == "tiny_box"
