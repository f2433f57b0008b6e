# SPDX-License-Identifier: Apache-2.0
"""Runs by way of Ray: what they write, who may ask how much, and what becomes of lost workers."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, write_jsonl
from support.loopback import Answer, Call, Loopback, after_calls
from support.ray_cluster import (
    WORKER,
    Cluster,
    descendants,
    kill_a_worker_that_asks,
    kill_workers,
    ray_cluster,
    sessions_folder,
    workers_below,
)
from support.scripts import Ran, running_script

KEY = "sk-of-this-test-alone-0123456789"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as running:
        yield running


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(12, size=(64, 48))


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jsonl")
            if ".ckpt" not in path.parts}  # fmt: skip


def ran_by(cluster: Cluster, project: Project, server: Loopback, *more: str) -> Ran:
    return project.run(server, *cluster.options, *more, **cluster.environment)


def interrupted(
    project: Project, server: Loopback, at: int, number: int, *more: str, **environment: str
) -> Ran:
    """A run that gets a signal when the server has seen so many requests."""
    command = ("run_pipeline.py", *project.overrides(server, *more))
    with running_script(*command, **environment) as running:
        after_calls(server, at, lambda: os.kill(running.pid, number))
        ended = running.wait()
    server.fault = lambda call: None
    return ended


def test_the_same_bytes_as_online(project: Project, server: Loopback, cluster: Cluster) -> None:
    (project.folder / "scene3.png").write_bytes(b"no picture")
    (project.folder / "scene4.png").unlink()

    met: list[str] = []

    def fault(call: Call) -> Answer | None:
        refused, late = (project.scenes[f"scene{n}.png"].caption in call.prompt for n in (5, 6))
        if late and not met:
            met.append(call.prompt)
            return Answer(status=429, headers={"retry-after": "0.1"})
        return Answer(finish="content_filter") if refused else None

    server.fault = fault
    ran = ran_by(cluster, project, server)
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 9), ran.err
    assert ran.json["ray"] == {"workers": 2, "lost": 0, "resent": 0}
    assert "ray" not in ran.err.replace(str(project.folder), "").lower()
    online = project.folder / "online"
    met.clear()
    other = project.run(server, f"results_dir={online}")
    assert outputs(project.results) == outputs(online)
    assert ran.json["counts"] == other.json["counts"]
    assert ran.json["usage"]["image_bytes"] == other.json["usage"]["image_bytes"]
    assert {failure["reason"] for step in "01" for failure in project.failures(step)} == {
        "image_unreadable", "image_missing", "blocked"
    }  # fmt: skip


def test_a_worker_that_is_killed_takes_nothing_along(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    after_calls(server, 7, lambda: kill_a_worker_that_asks(cluster.pid, server.port))
    ran = ran_by(cluster, project, server, "workflow.max_workers=4")
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 12), ran.err
    assert ran.json["ray"]["lost"] == 1
    assert len(server.calls) <= 2 * 12 + 4
    assert ran.json["usage"]["retries"] == 0
    project.run(server, f"results_dir={project.folder / 'online'}")
    assert outputs(project.results) == outputs(project.folder / "online")


def test_one_engine_goes_on_where_another_was_killed(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    killed = interrupted(project, server, 9, signal.SIGKILL, "workflow.max_workers=2")
    assert killed.code == -signal.SIGKILL
    went_on = ran_by(cluster, project, server, "workflow.max_workers=2")
    assert (went_on.code, went_on.json["counts"]["annotated"]) == (0, 12), went_on.err
    assert 0 < went_on.json["counts"]["from_checkpoints"] < 12
    again = ran_by(cluster, project, server)  # with nothing to ask, Ray is not needed
    assert again.json["ray"]["workers"] == 0
    assert again.json["counts"]["from_checkpoints"] == 12
    assert len(server.calls) <= 2 * 12 + 2 * 2  # in flight, or answered and not kept yet


def test_what_ray_began_goes_on_online(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    killed = interrupted(
        project, server, 9, signal.SIGKILL, *cluster.options, "workflow.max_workers=2",
        **cluster.environment,
    )  # fmt: skip
    assert killed.code == -signal.SIGKILL
    went_on = project.run(server)
    assert (went_on.code, went_on.json["counts"]["annotated"]) == (0, 12), went_on.err
    assert 0 < went_on.json["counts"]["from_checkpoints"] < 12
    assert len(server.calls) <= 2 * 12 + 2 * 2


def test_a_signal_ends_a_run_softly(project: Project, server: Loopback, cluster: Cluster) -> None:
    stopped = interrupted(
        project, server, 9, signal.SIGTERM, *cluster.options, "workflow.max_workers=2",
        **cluster.environment,
    )  # fmt: skip
    assert (stopped.code, stopped.json["status"]) == (130, "interrupted"), stopped.err
    done = stopped.json["counts"]["annotated"]
    assert 0 < done < 12
    assert len(project.annotations()) == done
    assert workers_below(cluster.pid) == []


def test_rates_hold_for_all_workers_together(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    times: list[float] = []
    server.fault = lambda call: times.append(time.monotonic())
    given = ("workflow.requests_per_minute=120", "--limit", "10", "--ray-workers", "3")
    ran = ran_by(cluster, project, server, *given)
    assert (ran.code, len(times)) == (0, 21), ran.err
    assert "the cluster has 2 CPUs for 3 workers of Ray" in ran.err
    # Two a second for both together, and those of the first tenth of a minute at once.
    assert times[-1] - times[0] >= (len(times) - 1 - 12) / 2 * 0.9


def test_a_picture_that_ends_workers_costs_its_own_sample(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    """Each time that it is fetched, the workers are killed."""

    class Pictures(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(project.folder))

        def do_GET(self) -> None:
            if self.path.endswith("scene2.png"):
                kill_workers(cluster.pid)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    root = f"http://127.0.0.1:{web.server_address[1]}"
    rows = [
        {"image_path": f"{root}/{name}", "caption": scene.caption}
        for name, scene in project.scenes.items()
    ]
    write_jsonl(project.input, rows)
    try:
        ran = ran_by(cluster, project, server, "data.allow_urls=true", "workflow.max_workers=2")
    finally:
        web.shutdown()
        web.server_close()
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 11), ran.err
    assert [failure["reason"] for failure in project.failures("0")] == ["worker_lost"]
    assert "scene2.png" in project.failures("0")[0]["message"]


def test_without_a_worker_a_run_ends_and_goes_on(
    project: Project, server: Loopback, cluster: Cluster
) -> None:
    """Another run holds all CPUs of the cluster."""
    server.delay = 0.2
    others = project.overrides(server, f"results_dir={project.folder / 'others'}")
    with running_script(
        "run_pipeline.py", *others, *cluster.options, **cluster.environment
    ) as running:
        while not server.calls:
            time.sleep(0.05)
            assert running.process.is_alive()
        os.kill(running.pid, signal.SIGSTOP)
        try:
            ran = ran_by(cluster, project, server, "--ray-wait", "1")
        finally:
            os.kill(running.pid, signal.SIGCONT)
        assert (ran.code, ran.json["stopped_by"]) == (4, "ray")
        assert "no worker of Ray has been there for 1 s" in ran.json["error"]
        assert running.wait().code == 0
    went_on = ran_by(cluster, project, server, "--ray-workers", "1")
    assert (went_on.code, went_on.json["ray"]["workers"]) == (0, 1), went_on.err


def test_a_run_outlives_its_cluster(project: Project, server: Loopback) -> None:
    server.delay = 0.1
    with ray_cluster() as dying:
        after_calls(server, 18, lambda: threading.Thread(target=dying.kill).start())
        ran = ran_by(dying, project, server, "--ray-wait", "15")
    assert (ran.code, ran.json["stopped_by"]) == (4, "ray"), ran.err
    assert 0 < len(project.annotations()) == ran.json["counts"]["annotated"] < 12
    server.fault = lambda call: None
    went_on = project.run(server)
    assert (went_on.code, went_on.json["counts"]["annotated"]) == (0, 12)


def test_no_cluster_at_an_address(project: Project, server: Loopback) -> None:
    ran = project.run(server, "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert (ran.code, ran.json["stopped_by"]) == (4, "ray"), ran.err
    assert "cannot use the Ray cluster at 127.0.0.1:1" in ran.json["error"]
    ran = project.run(server, "--engine", "ray", "--ray-address", "ray://127.0.0.1:10001")
    assert "give host:port or auto" in ran.json["error"]


def test_a_ray_of_its_own_keeps_no_secret_and_leaves_no_process(
    project: Project,
) -> None:
    with Loopback(key=KEY) as server, sessions_folder() as folder:
        seen: list[str] = []
        given = (
            *("--engine", "ray", "--ray-workers", "2"),
            "vlm.openai.api_key=${oc.env:MODEL_KEY}",
            "vlm.openai.extra_headers={X-Team: '${oc.env:MODEL_KEY}'}",
        )
        environment = {"MODEL_KEY": KEY, "RAY_TMPDIR": str(folder), "HOME": str(folder)}
        command = ("run_pipeline.py", *project.overrides(server, *given))
        with running_script(*command, **environment) as running:
            after_calls(server, 5, lambda: seen.extend(descendants(running.pid).values()))
            ran = running.wait()
        assert (ran.code, ran.json["counts"]["annotated"]) == (0, 12), ran.err
        assert any("raylet" in line for line in seen)
        assert sum(line.startswith(WORKER) for line in seen) == 2
        assert not any(KEY in line for line in seen)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert any("gcs_server" in path.name for path in files)
        assert [path for path in files if KEY.encode() in path.read_bytes()] == []
        assert KEY not in ran.out + ran.err
        assert not _left_over(folder)


def test_a_killed_run_takes_its_ray_along(project: Project, server: Loopback) -> None:
    with sessions_folder() as folder:
        killed = interrupted(
            project, server, 5, signal.SIGKILL, "--engine", "ray",
            RAY_TMPDIR=str(folder), HOME=str(folder),
        )  # fmt: skip
        assert killed.code == -signal.SIGKILL
        # Two agents of Ray find out within a minute, which is long for a test.
        until = time.monotonic() + 60
        while (left := _left_over(folder)) and not _are_agents(left) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert _are_agents(left)


def _are_agents(found: dict[int, str]) -> bool:
    return all(line.startswith("ray::") and "Agent" in line for line in found.values())


def _left_over(folder: Path) -> dict[int, str]:
    """Processes that know of a folder of Ray's sessions."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"RAY_TMPDIR={folder}".encode() in path.read_bytes():
                found[int(path.parent.name)] = path.with_name("cmdline").read_text()
        except OSError:
            continue
    return found
