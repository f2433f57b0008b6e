# SPDX-License-Identifier: Apache-2.0
"""Outputs are written anew only where they would be others."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, write_jsonl
from support.loopback import Loopback

Maker = Callable[..., Project]
STEP_0 = "step_0_expression_extraction/annotations.jsonl"


def outputs(project: Project) -> dict[str, bytes]:
    found = project.results.rglob("annotations.jsonl")
    return {str(path.relative_to(project.results)): path.read_bytes() for path in found}


def date_back(project: Project) -> None:
    """Make a file that is written anew tell."""
    for name in outputs(project):
        os.utime(project.results / name, ns=(10**18, 10**18))


def is_dated(project: Project) -> list[bool]:
    return [(project.results / name).stat().st_mtime_ns == 10**18 for name in outputs(project)]


def test_nothing_new_writes_nothing(server: Loopback, make_project: Maker) -> None:
    project = make_project(3)
    first = project.run(server).json["counts"]
    again = project.run(server)
    stamps = [(project.results / name).stat().st_mtime_ns for name in outputs(project)]
    third = project.run(server)
    assert (again.code, third.code) == (0, 0)
    assert [(project.results / n).stat().st_mtime_ns for n in outputs(project)] == stamps
    differing = {"from_checkpoints"}
    for counts in (again.json["counts"], third.json["counts"]):
        assert {k: v for k, v in counts.items() if k not in differing} == {
            k: v for k, v in first.items() if k not in differing
        }
    date_back(project)
    assert project.run(server).code == 0
    assert is_dated(project) == [False] * 3, "another time is another file"


def edited(project: Project) -> None:
    path = project.results / "annotations.jsonl"
    path.write_bytes(path.read_bytes()[:-40] + b"\n")


def removed(project: Project) -> None:
    (project.results / STEP_0).unlink()


def reordered(project: Project) -> None:
    lines = project.input.read_text().splitlines()
    write_jsonl(project.input, lines[::-1])


def shorter(project: Project) -> None:
    write_jsonl(project.input, project.input.read_text().splitlines()[:2])


@pytest.mark.parametrize("change", [edited, removed, reordered, shorter])
def test_what_changed_is_written_anew(
    change: Callable[[Project], None], server: Loopback, finished_copy: Project, tmp_path: Path
) -> None:
    project = finished_copy
    change(project)
    assert project.run(server).code == 0
    assert server.calls == []
    found = outputs(project)
    fresh = [f"results_dir={tmp_path / 'fresh'}", "workflow.force_reprocess=true"]
    assert project.run(server, *fresh).code == 0
    for name, content in found.items():
        assert (tmp_path / "fresh" / name).read_bytes() == content


def test_a_sample_that_changed_is_written(server: Loopback, finished_copy: Project) -> None:
    project = finished_copy
    project.scenes["scene0.png"].save(project.folder / "scene1.png")
    before = project.annotations()
    assert project.run(server).code == 0
    assert project.annotations() != before
