# SPDX-License-Identifier: Apache-2.0
"""merge.py: shards into one folder, byte for byte what one run writes."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.input.samples import Sample, SampleReader
from image_grounding.results.folder import ResultsFolder
from support.loopback import Answer, Call, Loopback
from support.scenes import make_scene
from support.scripts import Ran, run_script, start_script

Maker = Callable[..., Project]
SHARDS = 3


@dataclass
class Whole:
    """A project with the results of one run, and of its shards."""

    project: Project
    server: Loopback

    @property
    def parts(self) -> list[Path]:
        return [self.project.folder / f"shard-{number}" for number in range(1, SHARDS + 1)]

    def run(self, number: int, *more: str, into: str = "") -> Ran:
        folder = self.project.folder / (into or f"shard-{number}")
        shard = ["--shard", f"{number}/{SHARDS}"] if number else []
        return self.project.run(self.server, *shard, *more, f"results_dir={folder}")

    def merge(self, *parts: Path, out: str = "merged", more: tuple[str, ...] = ()) -> Ran:
        given = [str(part) for part in parts or self.parts]
        return run_script("merge.py", *given, "-o", str(self.project.folder / out), *more)


def refuses(call: Call) -> Answer | None:
    """Captions that speak of a dragon fail at step 0, those of a ghost at step 1."""
    if call.step == "0" and "a ghost" in call.prompt:
        expressions = [{"text": "a ghost", "noun_chunk": "ghost"}]
        return Answer(text=json.dumps({"cleaned_caption": "a ghost", "expressions": expressions}))
    failing = {"0": "dragon", "1": "ghost"}.get(call.step)
    refused = failing is not None and failing in call.prompt
    return Answer(status=400, message="no such thing") if refused else None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Samples among bad and blank lines, missing pictures, repetitions, and ones that fail."""
    folder = tmp_path_factory.mktemp("merge")
    scenes = {f"scene{n}.png": make_scene((96, 64), seed=n) for n in range(8)}
    rows: list[Any] = []
    for name, scene in scenes.items():
        scene.save(folder / name)
        rows.append({"image_path": name, "caption": scene.caption, "note": "kept"})
    rows[2]["caption"] += ", and a dragon"
    rows[5]["caption"] += ", and a ghost"
    gone = {"image_path": "gone.png", "caption": "a cat"}
    rows = [*rows, "{bad", "", rows[2], gone, rows[0], {"caption": "x"}, rows[5], gone, rows[0]]
    write_jsonl(folder / "input.jsonl", rows)
    with Loopback() as server:
        server.fault = refuses
        project = Whole(Project(folder, scenes), server)
        assert project.run(0, into="one-run").code == 3
        for number in range(1, SHARDS + 1):
            assert project.run(number).code == 3
        yield project


def outputs(folder: Path) -> dict[str, bytes]:
    """What a user reads of results, by name."""
    files = [path for path in folder.rglob("*.jsonl") if path.parent.name != ".ckpt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_shards_make_what_one_run_makes(whole: Whole) -> None:
    ran = whole.merge()
    assert ran.code == 3, ran.err
    folder, one_run = (whole.project.folder / name for name in ("merged", "one-run"))
    expected = outputs(one_run)
    assert len(expected) == 5 and all(expected.values())
    assert outputs(folder) == expected
    of_run = json.loads((one_run / "run_summary.json").read_text())
    of_merge = json.loads((folder / "run_summary.json").read_text())
    for name in ("lines", "annotated", "annotated_by_step", "failed", "failed_by_step",
                 "repeated_lines", "not_attempted"):  # fmt: skip
        assert of_merge["counts"][name] == of_run["counts"][name] == ran.json["counts"][name]
    for usage in ("usage", "usage_of_all_runs"):
        assert of_merge[usage]["requests"] >= of_run[usage]["requests"]
        assert of_merge[usage]["output_tokens"] >= of_run[usage]["output_tokens"]
    assert of_merge["usage_of_all_runs"]["runs"] == SHARDS
    assert of_merge["spec"] | {"results_dir": ""} == of_run["spec"] | {"results_dir": ""}
    assert of_merge["missing"] == {"shards": [], "samples": 0, "first": []}


def test_a_merge_is_results_like_any_other(whole: Whole) -> None:
    """It is looked at, inspected, exported, and run on without asking for what is done."""
    assert whole.merge(out="used").code == 3
    folder = whole.project.folder / "used"
    before = outputs(folder)
    status = run_script("status.py", str(folder)).json
    assert (status["status"], status["finished"], status["failed"]) == ("merged", 6, 5)
    assert run_script("inspect.py", str(folder)).json["counts"]["records"] == 8
    exported = run_script("export.py", str(folder), "--format", "odvg", "-o", f"{folder}-odvg")
    assert exported.code == 0, exported.err
    whole.server.calls.clear()
    again = whole.run(0, into="used")
    assert again.code == 3, again.err
    assert again.json["counts"]["from_checkpoints"] == 6
    # Of what failed before, the dragon is asked for once more, and the ghost's second step.
    asked = {(call.step, "dragon" in call.prompt) for call in whole.server.calls}
    assert asked == {("0", True), ("1", False)}
    assert outputs(folder) == before
    whole.server.calls.clear()
    reread = whole.run(0, "workflow.reread=true", into="used")
    assert reread.json["counts"]["annotated"] == 8
    asked = {(call.step, "dragon" in call.prompt) for call in whole.server.calls}
    assert asked == {("0", True), ("1", False)}, "the replies of the others came along"


def test_a_merge_again(whole: Whole) -> None:
    """The same command takes what the shards have done since; another folder of results stays."""
    assert whole.merge(out="again").code == 3
    before = outputs(whole.project.folder / "again")
    assert whole.merge(out="again").code == 3
    assert outputs(whole.project.folder / "again") == before
    fewer = whole.merge(*whole.parts[:2], out="again", more=("--allow-missing",))
    assert (fewer.code, "holds other results" in fewer.json["error"]) == (2, True)
    for out, words in (("shard-1", "is one of the results"), ("one-run", "holds other results")):
        ran = whole.merge(out=out)
        assert (ran.code, words in ran.json["error"]) == (2, True)
    assert outputs(whole.project.folder / "one-run") == before


def test_into_the_folder_that_the_shards_are_in(whole: Whole) -> None:
    parent = whole.project.folder / "results"
    for part in whole.parts:
        shutil.copytree(part, parent / part.name)
    ran = whole.merge(*(parent / part.name for part in whole.parts), out="results")
    assert ran.code == 3, ran.err
    expected = outputs(whole.project.folder / "one-run")
    assert {name: data for name, data in outputs(parent).items() if "shard-" not in name} == (
        expected
    )


def test_missing_shards(whole: Whole) -> None:
    ran = whole.merge(whole.parts[0], whole.parts[2], out="fewer")
    assert (ran.code, "no results of shard 2/3" in ran.json["error"]) == (2, True)
    assert not (whole.project.folder / "fewer").exists()
    ran = whole.merge(whole.parts[0], out="fewer", more=("--allow-missing",))
    assert ran.code == 3
    assert ran.json["missing"]["shards"] == ["2/3", "3/3"]
    reader = SampleReader(whole.project.input)
    lines = {item.line: item for item in reader if isinstance(item, Sample)}
    missing = ran.json["missing"]
    assert missing["samples"] == len(missing["first"]) == ran.json["counts"]["not_attempted"] > 0
    for left in missing["first"]:
        assert lines[left["line"]].sample_id == left["sample_id"]
    there = read_jsonl(whole.parts[0] / "annotations.jsonl")
    assert read_jsonl(whole.project.folder / "fewer" / "annotations.jsonl") == there


def test_what_a_killed_shard_has_finished_is_merged(server: Loopback, make_project: Maker) -> None:
    project = make_project(18, size=(64, 48))
    whole = Whole(project, server)
    for number in (1, 3):
        assert whole.run(number).code == 0
    count, early = len(server.calls), list[str]()

    def kill(call: Call) -> Answer | None:
        if call.number == count + 5:
            early.append(whole.merge(out="early").json["error"])
            process.kill()
        return None

    server.fault = kill
    process = project.start(server, f"results_dir={whole.parts[1]}", "--shard", "2/3")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "still at work" in early[0]
    server.fault = lambda call: None
    ran = whole.merge()
    assert ran.code == 3, ran.err
    left = ran.json["missing"]["samples"]
    assert 0 < left == 18 - ran.json["counts"]["annotated"]
    assert f"{left} samples are left" in ran.err
    assert whole.run(2).code == 0
    assert whole.merge().code == 0
    assert whole.run(0, into="one-run").code == 0
    assert outputs(project.folder / "merged") == outputs(project.folder / "one-run")


def test_a_merge_that_is_killed_is_done_again(whole: Whole) -> None:
    """In whatever moment: none of its files is half written, and what is there is no obstacle."""
    expected = outputs(whole.project.folder / "one-run")
    folder = whole.project.folder / "killed"
    for pause in (0.0, 0.02, 0.05):
        process = start_script("merge.py", *map(str, whole.parts), "-o", str(folder))
        while not (folder / "run_summary.json").exists():
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(pause)
        process.kill()
        process.wait()
        for name, data in outputs(folder).items():
            assert "failures" in name or data == expected[name]
    assert whole.merge(out="killed").code == 3
    assert outputs(folder) == expected


def test_overlaps(server: Loopback, make_project: Maker) -> None:
    """Equal ones are fine; of two results of one sample nobody can say which is right."""
    project = make_project(3, size=(64, 48))
    whole = Whole(project, server)
    for name in ("first", "second"):
        assert whole.run(0, into=name).code == 0
    folders = [project.folder / name for name in ("first", "second")]
    assert whole.merge(*folders).code == 0
    assert outputs(project.folder / "merged") == outputs(folders[0])
    server.fault = lambda call: (
        Answer(text=json.dumps({"instances": [], "absent": [0, 1, 2]}))
        if call.step == "1"
        else None
    )
    write_jsonl(project.folder / "one.jsonl", read_jsonl(project.input)[1:2])
    more = (f"data.input_jsonl={project.folder / 'one.jsonl'}", "workflow.force_reprocess=true")
    assert whole.run(0, *more, into="second").code == 0
    sample_id = read_jsonl(folders[0] / "annotations.jsonl")[1]["sample_id"]
    ran = whole.merge(*folders, out="refused", more=("--input", str(project.input)))
    assert ran.code == 2
    assert f"{sample_id} (line 2) in {folders[0]} and {folders[1]}" in ran.json["error"]
    assert not (project.folder / "refused").exists()
    ran = whole.merge(*folders, out="refused")
    assert (ran.code, "give --input" in ran.json["error"]) == (2, True)


def test_step_1_alone(server: Loopback, make_project: Maker) -> None:
    """Over records that every shard was given; and over those of its own step 0."""
    project = make_project(6, size=(64, 48))
    whole = Whole(project, server)
    assert whole.run(0, 'workflow.steps=["0"]', into="one-run").code == 0
    name = "step_0_expression_extraction/annotations.jsonl"
    for number in range(1, SHARDS + 1):
        given = whole.parts[number - 1] / name
        given.parent.mkdir(parents=True)
        shutil.copy(project.folder / "one-run" / name, given)
        assert whole.run(number, 'workflow.steps=["1"]').code == 0
    assert whole.run(0, 'workflow.steps=["1"]', into="one-run").code == 0
    assert whole.merge().code == 0
    expected = outputs(project.folder / "one-run")
    del expected["step_0_expression_extraction/failures.jsonl"]
    assert outputs(project.folder / "merged") == expected
    whole.server.calls.clear()
    assert whole.run(0, 'workflow.steps=["1"]', into="merged").code == 0
    assert whole.server.calls == []
    given.write_text(given.read_text().splitlines()[0] + "\n")
    ran = whole.merge(out="other")
    assert (ran.code, "its records in them are not the same" in ran.json["error"]) == (2, True)

    of_own = whole.merge(project.folder / "one-run", out="of-own")
    assert of_own.code == 0, of_own.err
    assert outputs(project.folder / "of-own") == outputs(project.folder / "one-run")


def test_results_that_were_moved(whole: Whole, tmp_path: Path) -> None:
    """As from other machines: the pictures are not here, the input is elsewhere."""
    parts = [shutil.copytree(part, tmp_path / part.name) for part in whole.parts]
    text = whole.project.input.read_bytes()
    (tmp_path / "captions.jsonl").write_bytes(text)
    for part in parts:
        summary = (part / "run_summary.json").read_text()
        moved = summary.replace(str(whole.project.folder), "/elsewhere")
        (part / "run_summary.json").write_text(moved)
    ran = whole.merge(*parts, out="moved")
    assert (ran.code, "cannot read the input /elsewhere/input" in ran.json["error"]) == (2, True)
    ran = whole.merge(*parts, out="moved", more=("--input", str(tmp_path / "captions.jsonl")))
    assert ran.code == 3, ran.err
    assert outputs(whole.project.folder / "moved") == outputs(whole.project.folder / "one-run")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["none"], "no such results"),
        (["empty"], "no run has left its state in"),
        (["shard-1", "shard-1"], "is given twice"),
    ],
)
def test_what_cannot_be_merged(names: list[str], words: str, whole: Whole) -> None:
    (whole.project.folder / "empty").mkdir(exist_ok=True)
    ran = whole.merge(*(whole.project.folder / name for name in names), out="nothing")
    assert (ran.code, words in ran.json["error"]) == (2, True)
    assert not (whole.project.folder / "nothing").exists()


def test_conventions_that_were_measured_come_along(whole: Whole) -> None:
    parts = [shutil.copytree(part, f"{part}-measured") for part in whole.parts]
    entries = [{"model": "test-vlm", "base_url": f"http://node{n % 2}"} for n in range(SHARDS)]
    for part, entry in zip(parts, entries, strict=True):
        ResultsFolder(Path(part)).write_conventions([entry])
    assert whole.merge(*map(Path, parts), out="measured").code == 3
    kept = ResultsFolder(whole.project.folder / "measured").read_conventions()
    assert kept == entries[:2]


def test_results_at_an_address(whole: Whole) -> None:
    for ran in (
        run_script("merge.py", "s3://bucket/shard-1", "-o", str(whole.project.folder / "out")),
        run_script("merge.py", str(whole.parts[0]), "-o", "s3://bucket/whole"),
    ):
        assert ran.code == 2
        assert " is an address; results are merged in folders alone" in ran.json["error"]
    given = ("--input", "https://127.0.0.1:1/captions.jsonl")
    ran = whole.merge(out="from an address", more=given)
    assert (ran.code, "only pictures are read from web servers" in ran.json["error"]) == (2, True)
