# SPDX-License-Identifier: Apache-2.0
"""Web servers of pictures that fail for a while, or are not there."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from conftest import Project, new_project
from support.loopback import Loopback
from support.scripts import Started
from support.web import serving

Maker = Callable[..., Project]


@pytest.fixture(scope="module", autouse=True)
def down(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Project, Loopback, Started]]:
    """A run whose web server is down; it tries for some seconds, while others are tested."""
    project = new_project(tmp_path_factory.mktemp("down"), 30, (64, 48))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        root = f"http://127.0.0.1:{closed.getsockname()[1]}/photos"
    with Loopback() as server:
        run = project.start(server, f"data.image_root={root}")
        yield project, server, run
        run.kill()


def reasons(project: Project) -> list[str]:
    return [entry["reason"] for entry in project.failures("0")]


def test_what_passes_is_waited_for(make_project: Maker, server: Loopback) -> None:
    project = make_project(3, size=(64, 48))
    with serving(project) as web:
        web.faults["/photos/scene0.png"] = [503, 429]
        web.faults["/photos/scene1.png"] = [500] * 20
        ran = project.run(server, f"data.image_root={web.url}/photos")
        assert (ran.code, ran.json["counts"]["annotated"]) == (3, 2), ran.err
        assert reasons(project) == ["image_unavailable"]
        assert "HTTP 500" in project.failures("0")[0]["message"]
        web.faults.clear()
        assert project.run(server, f"data.image_root={web.url}/photos").code == 0


def test_a_server_that_is_down_ends_the_run(down: tuple[Project, Loopback, Started]) -> None:
    project, server, run = down
    out, err = run.communicate()
    assert run.returncode == 4, err
    assert "the store does not give" in json.loads(out)["error"]
    assert len(project.failures("0")) < 30
    assert not server.calls
