# SPDX-License-Identifier: Apache-2.0
"""Pictures that a web server gives out: only where the spec allows it, and within bounds."""

from collections.abc import Callable, Iterator

import pytest

from conftest import Project, write_jsonl
from support.loopback import Loopback
from support.scripts import Ran
from support.web import Web, serving

ALLOWED = "data.allow_urls=true"


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(3, size=(64, 48))


@pytest.fixture
def web(project: Project) -> Iterator[Web]:
    with serving(project) as made:
        yield made


def write(project: Project, paths: list[str]) -> None:
    caption = project.scenes["scene0.png"].caption
    write_jsonl(project.input, [{"image_path": path, "caption": caption} for path in paths])


def run(project: Project, server: Loopback, *more: str) -> Ran:
    return project.run(server, "data.image_root=", *more)


def reasons(project: Project) -> list[str]:
    return [entry["reason"] for entry in project.failures("0")]


def test_only_where_the_spec_allows_it(project: Project, server: Loopback, web: Web) -> None:
    address = f"{web.url}/photos/scene0.png"
    write(project, [address])
    ran = run(project, server)
    assert (ran.code, web.seen) == (2, [])
    assert "is an address; data.allow_urls reads it" in ran.json["error"]
    ran = run(project, server, ALLOWED)
    assert (ran.code, web.seen) == (0, [("GET", "/photos/scene0.png")]), ran.err
    assert project.annotations()[0]["image_id"] == "scene0"


def test_below_a_root_that_the_spec_names(project: Project, server: Loopback, web: Web) -> None:
    web.files["/photos/ä b#50%.png"] = web.files["/photos/scene0.png"]
    inside = ["scene0.png", f"{web.url}/photos/scene1.png", "ä b#50%.png"]
    outside = [
        f"{web.url}/scene0.png", "../x.png", "%2e%2e/x.png", f"{web.url}/photos/%2E./x.png",
        "..\\x.png", f"{web.url}@elsewhere/photos/x.png", f"{web.url}.elsewhere/photos/x.png",
    ]  # fmt: skip
    write(project, [*inside, *outside])
    ran = project.run(server, f"data.image_root={web.url}/photos")
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 3), ran.err
    assert [entry["image_path"] for entry in project.failures("0")] == outside
    assert set(reasons(project)) == {"bad_line"}
    assert len(web.seen) == 3


def test_a_second_run_looks_once_and_sees_what_changed(
    project: Project, server: Loopback, web: Web
) -> None:
    root = f"data.image_root={web.url}/photos"
    project.run(server, root)
    web.seen.clear()
    web.files["/photos/scene1.png"] = web.files["/photos/scene0.png"]
    ran = project.run(server, root)
    assert (ran.code, ran.json["counts"]["from_checkpoints"]) == (0, 2)
    assert sorted(web.seen) == [
        ("GET", "/photos/scene1.png"),
        *(("HEAD", f"/photos/scene{number}.png") for number in range(3)),
    ]
    web.no_head = True
    assert project.run(server, root).json["counts"]["from_checkpoints"] == 3


def test_redirects_have_an_end_and_stay_on_the_web(
    project: Project, server: Loopback, web: Web
) -> None:
    web.moved = {
        "/once": "/photos/scene0.png", "/ever": "/ever", "/file": "file:///etc/passwd",
    }  # fmt: skip
    write(project, [f"{web.url}{path}" for path in web.moved])
    ran = run(project, server, ALLOWED)
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 1), ran.err
    assert len([path for _, path in web.seen if path == "/ever"]) == 4
    assert set(reasons(project)) == {"image_unavailable"}


def test_addresses_that_name_no_picture(project: Project, server: Loopback, web: Web) -> None:
    write(project, [
        f"{web.url}/none.png", web.url.replace("http://", "http://user:password@") + "/x.png",
        "http:///x.png", "http://[x/x.png", "ftp://host/x.png", "file:///etc/passwd",
    ])  # fmt: skip
    ran = run(project, server, ALLOWED)
    assert ran.code == 2, project.failures("0")
    assert reasons(project) == ["image_missing", *["bad_line"] * 5]
    assert "user:password" not in "".join(entry["message"] for entry in project.failures("0"))
    assert len(web.seen) == 1


def test_a_signature_is_shown_nowhere(project: Project, server: Loopback, web: Web) -> None:
    web.files["/cut.png"] = web.files["/photos/scene0.png"][:-40]
    signed = "?X-Signature=0123456789abcdef"
    write(project, [f"{web.url}/photos/scene0.png{signed}", f"{web.url}/cut.png{signed}"])
    ran = run(project, server, ALLOWED)
    assert (ran.code, reasons(project)) == (3, ["image_unreadable"])
    assert "0123456789abcdef" not in ran.out + ran.err + project.failures("0")[0]["message"]
    record = project.annotations()[0]
    assert record["image_id"] == "scene0"
    assert len(record["sample_id"]) == len("scene0-") + 20
