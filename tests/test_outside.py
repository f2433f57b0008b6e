# SPDX-License-Identifier: Apache-2.0
"""Pictures outside of data.image_root are not read, and addresses are no paths."""

import os
from collections.abc import Callable

import pytest

from conftest import Project, write_jsonl
from support.loopback import Loopback
from support.scenes import make_scene
from support.scripts import run_script

Maker = Callable[..., Project]


@pytest.fixture
def project(make_project: Maker) -> Project:
    """Pictures inside and outside of the root ``photos``."""
    made = make_project(1, size=(64, 48))
    (made.folder / "photos/below").mkdir(parents=True)
    (made.folder / "photos and more").mkdir()
    for name in ("photos/in.png", "photos/below/in.png", "out.png", "photos and more/out.png"):
        make_scene((64, 48), seed=3).save(made.folder / name)
    return made


def seen(
    project: Project, server: Loopback, paths: list[str], *more: str
) -> tuple[dict[str, str], set[str]]:
    """Messages of failed lines by path, and the paths that were annotated."""
    caption = make_scene((64, 48), seed=3).caption
    rows = [{"image_path": path, "caption": caption} for path in paths]
    rows.append({"image_path": "in.png", "caption": f"{caption} too"})
    write_jsonl(project.input, rows)
    root = f"data.image_root={project.folder}/photos"
    dry = project.run(server, root, *more, "--dry-run").json
    project.run(server, root, *more)
    failed = {entry["image_path"]: entry["message"] for entry in project.failures("0")}
    assert dry["unusable"]["total"] == len(failed)
    assert not failed or dry["unusable"]["by_reason"] == {"bad_line": len(failed)}
    return failed, {record["image_path"] for record in project.annotations()}


def test_pictures_outside_the_root_are_refused(project: Project, server: Loopback) -> None:
    outside = [
        "../out.png", "below/../../out.png", str(project.folder / "out.png"), "..\\out.png",
        "../photos and more/out.png", "./../out.png",
    ]  # fmt: skip
    inside = ["below/../in.png", "./in.png", str(project.folder / "photos/in.png"), "below\\in.png"]
    failed, annotated = seen(project, server, [*outside, *inside])
    assert failed.keys() == set(outside)
    assert all("data.allow_outside_root" in message for message in failed.values())
    assert annotated == {*inside, "in.png"}
    before = len(server.calls)
    failed, annotated = seen(project, server, outside, "data.allow_outside_root=true")
    assert (failed, annotated) == ({}, {*outside, "in.png"})
    assert len(server.calls) > before


def test_a_link_that_leaves_the_root_is_its_owners(project: Project, server: Loopback) -> None:
    (project.folder / "photos/link.png").symlink_to(project.folder / "out.png")
    real = project.folder / "real"
    (project.folder / "photos").rename(real)
    (project.folder / "photos").symlink_to(real)
    failed, annotated = seen(project, server, ["link.png", str(real / "in.png")])
    assert (failed, len(annotated)) == ({}, 3)


def test_without_a_root_every_picture_is_read(project: Project, server: Loopback) -> None:
    row = {"image_path": "../out.png", "caption": "a red rectangle"}
    (project.folder / "lists").mkdir()
    path = write_jsonl(project.folder / "lists/input.jsonl", [row])
    assert project.run(server, f"data.input_jsonl={path}", "data.image_root=").code == 0


@pytest.mark.parametrize("root", [(), ("data.image_root=",)], ids=["root", "no root"])
def test_addresses_are_no_paths(root: tuple[str, ...], project: Project, server: Loopback) -> None:
    addresses = [
        "https://example.org/a.png", "HTTP://example.org/a.png", "s3://bucket/a.png",
        "gs://bucket/a.png", "file:///a.png", "data:image/png;base64,iVBORw0KGgo=",
    ]  # fmt: skip
    failed, annotated = seen(project, server, addresses)
    assert failed.keys() == set(addresses)
    assert all("is an address" in message for message in failed.values())
    assert len(max(failed.values(), key=len)) < 250
    assert annotated == {"in.png"}


def test_a_colon_is_no_address(project: Project, server: Loopback) -> None:
    name = "photo: a dog.png"
    os.link(project.folder / "out.png", project.folder / "photos" / name)
    failed, annotated = seen(project, server, [name])
    assert (failed, annotated) == ({}, {name, "in.png"})


def test_the_wizard_warns_of_pictures_outside(project: Project) -> None:
    write_jsonl(project.input, [{"image_path": "../out.png", "caption": "a red rectangle"}])
    ran = run_script(
        "setup_wizard.py", "--input", "input.jsonl", "--image-root", "photos", "--endpoint",
        "local", "--results-dir", "results", "--output", "spec.yaml", cwd=project.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "a run needs data.allow_outside_root=true" in ran.json["warnings"][0]
