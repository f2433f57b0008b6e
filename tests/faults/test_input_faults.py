# SPDX-License-Identifier: Apache-2.0
"""Inputs that change, that are no files, that point elsewhere: nothing is lost in silence."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.errors import InputChangedError
from image_grounding.input.samples import SampleReader
from support.loopback import Answer, Call, Loopback
from support.results import make_line, write_results
from support.scripts import run_script

Maker = Callable[..., Project]


def edit_unseen(path: Path) -> None:
    """As long as before, and with the time of before."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"red", b"tan").replace(b"blue", b"grey"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def append(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write('{"image_path": "scene1.png", "caption": "one more"}\n')


def test_an_input_that_changes_unseen_under_a_run(server: Loopback, make_project: Maker) -> None:
    project = make_project(4, size=(64, 48))
    rows = read_jsonl(project.input)

    def fault(call: Call) -> Answer | None:
        if call.number == 3:
            edit_unseen(project.input)
        return None

    server.fault = fault
    ran = project.run(server, "workflow.max_workers=1")
    assert (ran.code, ran.json["status"]) == (2, "input changed"), ran.err
    assert "changed while the run was at work" in ran.json["error"]
    assert [record["caption"] for record in project.annotations()] == [r["caption"] for r in rows]
    assert ran.json["counts"]["annotated"] == 4
    write_jsonl(project.input, rows)
    asked = len(server.calls)
    assert project.run(server).code == 0
    assert len(server.calls) == asked
    assert not [path for path in project.results.iterdir() if "input" in path.name]


def test_an_input_that_is_only_touched_has_not_changed(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    project.input.write_bytes(project.input.read_bytes())
    packed = project.folder / "input.jsonl.gz"
    packed.write_bytes(gzip.compress(project.input.read_bytes()))

    def fault(call: Call) -> Answer | None:
        os.utime(packed)
        return None

    server.fault = fault
    assert project.run(server, f"data.input_jsonl={packed}").code == 0


def test_a_dry_run_reads_one_input(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "input.jsonl", [{"image_path": "a.png", "caption": "a dog"}])
    reader = SampleReader(path)
    assert reader.count() == 1
    append(path)
    with pytest.raises(InputChangedError, match="changed while it was read"):
        list(reader)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path / "pipe.csv"


@pytest.mark.parametrize("source", ["pipe", "/dev/zero"])
def test_a_dry_run_of_an_input_that_is_no_file(
    source: str, pipe: Path, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1)
    path = pipe if source == "pipe" else source
    ran = project.run(server, f"data.input_jsonl={path}", "--dry-run")
    assert ran.code == 2
    assert "pipe" in ran.json["error"] or "device" in ran.json["error"]
    assert ran.json["error"].startswith(f"cannot read the input {path}: it is a ")
    assert not project.results.exists()


@pytest.mark.parametrize("target", ["pipe.csv", "/dev/zero"])
@pytest.mark.parametrize("name", ["captions.csv", "captions.json", "photo.txt"])
def test_make_input_opens_nothing_that_never_ends(
    name: str, target: str, pipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"")
    (folder / name).symlink_to(tmp_path / target)
    source = folder if name.endswith(".txt") else folder / name
    ran = run_script("make_input.py", str(source), "-o", str(tmp_path / "out.jsonl"))
    assert ran.code == 2
    words = "1 x unreadable text" if name.endswith(".txt") else "save it to a file first"
    assert words in ran.json["error"]


@pytest.mark.parametrize("tool", ["inspect.py", "evaluate.py", "export.py"])
def test_results_and_truths_that_are_no_file(tool: str, pipe: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path, [make_line(0, [("a dog", [(1, 2, 30, 40)])])])
    (results / "annotations.jsonl").unlink()
    (results / "annotations.jsonl").symlink_to(pipe)
    shutil.rmtree(results / "step_1_grounding")
    more = {
        "inspect.py": (),
        "export.py": ("--format", "coco", "-o", str(tmp_path / "out")),
        "evaluate.py": ("--truth", str(pipe)),
    }[tool]
    ran = run_script(tool, str(results), *more)
    assert ran.code == 2, ran.err
    assert ran.json["error"]


def test_lines_that_end_in_cr_alone(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    project.input.write_bytes(project.input.read_bytes().replace(b"\n", b"\r"))
    for more in ((), ("--dry-run",)):
        ran = project.run(server, *more)
        assert ran.code == 2
        assert r"if its lines end in CR alone, convert it: tr '\r' '\n'" in ran.out.replace(
            "\\\\", "\\"
        )


def test_a_spec_that_never_ends() -> None:
    ran = run_script("run_pipeline.py", "-e", "/dev/zero")
    assert ran.code == 2
    assert "cannot read the spec /dev/zero: it is a device" in ran.json["error"]
