# SPDX-License-Identifier: Apache-2.0
"""What is known to be finished is not looked at again; whatever changed since then is."""

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from support.loopback import Loopback
from support.scenes import make_scene

Maker = Callable[..., Project]
# All of what a run says of its samples.
OF_SAMPLES = ("counts", "checkpoints_of_another_teacher", "status", "exit_code")


@pytest.fixture
def project(finished_copy: Project) -> Project:
    return finished_copy


def index_of(project: Project) -> Path:
    return project.results / ".finished.json"


def segment_of(project: Project, step: str = "step_1_grounding") -> Path:
    return min((project.results / step / ".ckpt").iterdir())


def stamped(path: Path, text: bytes, stamps: tuple[int, int]) -> None:
    """Write a file that seems to be as old as before."""
    path.write_bytes(text)
    os.utime(path, ns=stamps)


def stamps_of(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


def asked(server: Loopback, project: Project, *more: str) -> tuple[dict[str, Any], int]:
    """The summary of another run, and how many requests it made."""
    server.calls.clear()
    ran = project.run(server, *more)
    assert ran.code == 0, ran.err
    return ran.json, len(server.calls)


def test_what_is_known_is_not_read(server: Loopback, project: Project) -> None:
    for step in ("step_0_expression_extraction", "step_1_grounding"):
        segment = segment_of(project, step)
        stamped(segment, b"x" * segment.stat().st_size, stamps_of(segment))
    summary, requests = asked(server, project)
    assert (requests, summary["counts"]["from_checkpoints"]) == (0, 3)
    index_of(project).unlink()
    assert asked(server, project)[1] == 6, "else nothing was there to be read"


def another_caption(project: Project) -> None:
    rows = read_jsonl(project.input)
    rows[1]["caption"] += " today"
    write_jsonl(project.input, rows)


def another_picture(project: Project) -> None:
    stamps = stamps_of(project.folder / "scene1.png")
    make_scene((320, 240), seed=7).save(project.folder / "scene1.png")
    os.utime(project.folder / "scene1.png", ns=(stamps[0], stamps[1] + 1))


def an_edited_checkpoint(project: Project) -> None:
    segment = segment_of(project)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([lines[0], b"{" + lines[1][1:].replace(b"{", b"["), *lines[2:]]))


def a_lost_segment(project: Project) -> None:
    segment_of(project).unlink()


def a_discarded_checkpoint(project: Project) -> None:
    gone = json.loads(segment_of(project).read_bytes().splitlines()[1])["sample_id"]
    path = segment_of(project).with_name("segment-00009.jsonl")
    path.write_text(json.dumps({"sample_id": gone, "gone": True}) + "\n")


@pytest.mark.parametrize(
    ("change", "requests"),
    [
        (another_caption, 2),
        (another_picture, 2),
        (an_edited_checkpoint, 1),
        (a_lost_segment, 3),
        (a_discarded_checkpoint, 1),
    ],
)
def test_what_changed_is_asked_for_again(
    change: Callable[[Project], None], requests: int, server: Loopback, project: Project
) -> None:
    change(project)
    assert asked(server, project)[1] == requests
    assert asked(server, project)[1] == 0
    assert len(project.annotations()) == 3


def a_picture_written_again(project: Project) -> None:
    os.utime(project.folder / "scene0.png", ns=(1, 1))


def a_picture_that_is_gone(project: Project) -> None:
    (project.folder / "scene0.png").unlink()


def other_order(project: Project) -> None:
    write_jsonl(project.input, read_jsonl(project.input)[::-1])


def no_index(project: Project) -> None:
    index_of(project).unlink()


def no_json(project: Project) -> None:
    index_of(project).write_bytes(b"\x00\xff{" * 50)


def figures(**change: Any) -> Callable[[Project], None]:
    """An index with other contents."""

    def edit(project: Project) -> None:
        index_of(project).write_text(json.dumps(json.loads(index_of(project).read_text()) | change))

    return edit


CHANGES_OF_THE_INDEX = {
    "absent": no_index,
    "no JSON": no_json,
    "cut figures": figures(keys=b64encode(b"1234").decode()),
    "no figures": figures(marks="?"),
    "fewer figures": figures(made=b64encode(b"\x00\x00").decode()),
    "kinds that are none": figures(made=b64encode(b"\x09\x00" * 3).decode()),
    "a kind of no steps": figures(kinds=[[]]),
    "a kind that is no provenance": figures(kinds=[[{"model": ["x"]}, {"model": {}}]]),
    "other marks": figures(marks=b64encode(b"12345678" * 3).decode()),
    "another version": figures(made_from=["0.0.1", "little", "0", "1"]),
    "other steps": figures(made_from=["0.0.1", "little", "0"]),
    "no segments": figures(segments={}),
    "a list": lambda project: index_of(project).write_text("[]"),
}


@pytest.fixture(scope="module")
def known(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a run that finds the index as it was left."""
    folder = tmp_path_factory.mktemp("known")
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
    with Loopback() as server:
        return asked(server, Project(folder, finished.scenes))[0]


@pytest.mark.parametrize("change", CHANGES_OF_THE_INDEX.values(), ids=CHANGES_OF_THE_INDEX)
def test_an_index_that_says_nothing_costs_nothing(
    change: Callable[[Project], None],
    known: dict[str, Any],
    server: Loopback,
    project: Project,
) -> None:
    change(project)
    summary, requests = asked(server, project)
    assert requests == 0
    assert {k: summary[k] for k in OF_SAMPLES} == {k: known[k] for k in OF_SAMPLES}


@pytest.mark.parametrize("change", [a_picture_written_again, a_picture_that_is_gone, other_order])
def test_what_says_nothing_new_asks_nothing(
    change: Callable[[Project], None], server: Loopback, project: Project
) -> None:
    change(project)
    summary, requests = asked(server, project)
    assert (requests, summary["counts"]["annotated"]) == (0, 3)


def test_who_made_what_is_known(server: Loopback, make_project: Maker) -> None:
    """Of samples that are not read again, too, the summary names another teacher."""
    project = make_project(2)
    project.run(server, "workflow.single_pass=true")
    write_jsonl(
        project.input,
        [*read_jsonl(project.input), {"image_path": "scene0.png", "caption": "A red square."}],
    )
    mixed, requests = asked(server, project)
    assert requests == 2
    known, _ = asked(server, project)
    no_index(project)
    read, _ = asked(server, project)
    for summary in (mixed, known, read):
        assert summary["checkpoints_of_another_teacher"] == {"prompt_version": 4}
    assert known["counts"] == read["counts"]


def test_repeated_and_bad_lines_are_counted_as_ever(server: Loopback, make_project: Maker) -> None:
    project = make_project(3)
    rows = read_jsonl(project.input)
    write_jsonl(project.input, [rows[0], "{no json", *rows, rows[1]])
    first = project.run(server)
    known = project.run(server)
    no_index(project)
    read = project.run(server)
    assert (first.code, known.code, read.code) == (3, 3, 3)
    for name in ("failed", "repeated_lines", "lines", "annotated"):
        assert known.json["counts"][name] == read.json["counts"][name] == first.json["counts"][name]
    assert [entry["line"] for entry in project.failures("0")] == [2]


@pytest.mark.parametrize(
    ("option", "requests"),
    [("workflow.force_reprocess=true", 6), ("workflow.reread=true", 0)],
)
def test_who_wants_it_anew_gets_it_anew(
    option: str, requests: int, server: Loopback, project: Project
) -> None:
    summary, made = asked(server, project, option)
    assert made == requests
    assert summary["counts"]["from_checkpoints"] == 0
