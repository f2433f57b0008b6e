# SPDX-License-Identifier: Apache-2.0
"""Results at an address of a bucket: as those in a folder, whoever is killed or refused."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from support.buckets import BUCKET, Bucket, serving
from support.loopback import Call, Loopback
from support.scripts import Ran, Started, run_script, start_script

Maker = Callable[..., Project]
URL = f"s3://{BUCKET}/runs/first run"
RESULTS = f"results_dir={URL}"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as running:
        yield running


@pytest.fixture
def variables(bucket: Bucket, tmp_path: Path) -> dict[str, str]:
    return {**bucket.environment, "IMAGE_GROUNDING_HOME": str(tmp_path / "home")}


def objects(bucket: Bucket) -> dict[str, bytes]:
    """Everything below the address."""
    listed = bucket.client.list_objects_v2(Bucket=BUCKET, Prefix="runs/first run/")
    keys = [entry["Key"] for entry in listed.get("Contents", ())]
    bodies = {key: bucket.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    return {key.removeprefix("runs/first run/"): body for key, body in bodies.items()}


def records(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if ".ckpt" not in name and ".jsonl" in name}


def in_folder(project: Project, server: Loopback) -> dict[str, bytes]:
    """What a run into a folder makes."""
    local = project.folder / "local"
    project.run(server, f"results_dir={local}")
    paths = [path for path in local.rglob("*.jsonl") if ".ckpt" not in path.parts]
    return {path.relative_to(local).as_posix(): path.read_bytes() for path in paths}


def start(project: Project, server: Loopback, variables: dict[str, str], *more: str) -> Started:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return start_script("run_pipeline.py", *project.overrides(server, RESULTS, *more))


def test_the_same_bytes_as_in_a_folder(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str]
) -> None:
    project = make_project(5, size=(64, 48))
    ran = project.run(server, RESULTS, **variables)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 5), ran.err
    assert (ran.json["results_dir"], ran.json["annotations"]) == (URL, f"{URL}/annotations.jsonl")
    found = objects(bucket)
    assert records(found) == in_folder(project, server)
    assert ".lock" not in found
    assert json.loads(found["run_summary.json"])["spec"]["results_dir"] == URL
    assert not list((project.folder / "home/results").iterdir())
    asked = len(server.calls)
    bucket.seen.clear()
    ran = project.run(server, RESULTS, **variables)
    assert (ran.code, ran.json["counts"]["from_checkpoints"]) == (0, 5)
    assert len(server.calls) == asked
    assert len([path for _, path in bucket.seen if path == f"/{BUCKET}"]) <= 2  # listings
    assert records(objects(bucket)) == records(found)
    dry = project.run(server, RESULTS, "--dry-run", **variables)
    assert (dry.json["finished"], dry.json["results_dir"]) == (5, URL)


SENT = ("segment", "run_state.json")


def test_killed_and_run_again(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str]
) -> None:
    project = make_project(24, size=(64, 48))
    process = start(project, server, variables, "workflow.max_workers=1")

    def fault(call: Call) -> None:
        if call.number == 21:  # what is finished has been sent before it is killed
            deadline = time.monotonic() + 60
            while not all(any(name in key for key in objects(bucket)) for name in SENT):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.kill()

    server.fault = fault
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    server.fault = lambda call: None
    status = run_script("status.py", URL, "--quiet", **variables).json
    assert (status["status"], status["results_dir"]) == ("stopped: killed", URL)
    before = len(server.calls)
    ran = project.run(server, RESULTS, **variables)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 24), ran.err
    assert ran.json["counts"]["from_checkpoints"] > 0
    assert len(server.calls) - before < 48
    assert records(objects(bucket)) == in_folder(project, server)


def test_a_second_run_is_kept_out(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str]
) -> None:
    project = make_project(3, size=(64, 48))
    other = {**variables, "IMAGE_GROUNDING_HOME": str(project.folder / "elsewhere")}
    second: list[Ran] = []

    def fault(call: Call) -> None:
        if call.number == 1:
            second.append(project.run(server, RESULTS, **other))

    server.fault = fault
    ran = project.run(server, RESULTS, **variables)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 3), ran.err
    assert second[0].code == 2
    assert f"another run is writing to {URL}" in second[0].json["error"]


@pytest.mark.parametrize(("age", "kept_out"), [(30, True), (300, False)])
def test_a_run_of_another_machine_is_believed_for_two_minutes(
    age: int, kept_out: bool, make_project: Maker, server: Loopback, bucket: Bucket,
    variables: dict[str, str],
) -> None:  # fmt: skip
    project = make_project(1, size=(64, 48))
    updated = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - age))
    process = {"pid": 1, "host": "another-machine", "mark": None}
    lock: dict[str, Any] = {"mark": "theirs", "updated": updated, "process": process}
    bucket.put("runs/first run/.lock", json.dumps(lock).encode())
    ran = project.run(server, RESULTS, **variables)
    assert (ran.code == 2) == kept_out, ran.err
    assert (".lock" in objects(bucket)) == kept_out


def test_a_store_that_does_not_take_the_results(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str]
) -> None:
    project = make_project(2, size=(64, 48))
    ran = project.run(server, "results_dir=s3://nobody/results", **variables)
    assert (ran.code, len(server.calls)) == (2, 0)
    assert "there is no such bucket" in ran.json["error"]
    bucket.fault = lambda method, path: 403 if method == "PUT" and "annotations" in path else None
    ran = project.run(server, RESULTS, **variables)
    assert ran.code == 2
    assert "They are whole in " in ran.json["error"]
    whole = Path(ran.json["error"].partition("They are whole in ")[2].removesuffix(
        " until the next run"))  # fmt: skip
    assert (whole / "annotations.jsonl").read_bytes().count(b"\n") == 2
    bucket.fault = None
    asked = len(server.calls)
    assert project.run(server, RESULTS, **variables).code == 0
    assert len(server.calls) == asked
    assert records(objects(bucket)) == in_folder(project, server)


def test_what_follows_a_run(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    project = make_project(3, size=(64, 48))
    project.run(server, RESULTS, **variables)
    out = tmp_path / "out"
    needs = run_script("inspect.py", URL, **variables)
    assert (needs.code, "-o must name a folder" in needs.json["error"]) == (2, True)
    report = run_script("inspect.py", URL, "-o", str(out / "report"), **variables)
    assert (report.code, report.json["counts"]["records"]) == (0, 3), report.err
    done = run_script("export.py", URL, "--format", "odvg", "-o", str(out / "odvg"), **variables)
    assert done.code == 0, done.err
    kept = run_script("checkpoints.py", URL, "-o", str(out / "kept"), **variables)
    assert (kept.code, sum(kept.json["checkpoints"].values())) == (0, 6), kept.err
    truth = out / "truth.jsonl"
    truth.write_bytes(objects(bucket)["annotations.jsonl"])
    scored = run_script(
        "evaluate.py", URL, "--truth", str(truth), "-o", str(out / "scores"), **variables
    )
    assert scored.code == 0, scored.err
    for address, words in (
        (f"s3://{BUCKET}/none", "no annotations.jsonl"),
        ("s3://nobody/none", "no such results: s3://nobody/none"),
        ("https://host/results", "results cannot be kept at https:// addresses"),
    ):
        wrong = run_script("export.py", address, "--format", "odvg", "-o", str(out / "x"),
                           **variables)  # fmt: skip
        assert (wrong.code, words in wrong.json["error"]) == (2, True), wrong.json["error"]


@pytest.mark.parametrize("engine", ["batch", "batch-files"])
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--cancel",)], ids=["run", "dry", "cancel"])
def test_batch_queues_take_a_folder(
    engine: str,
    more: tuple[str, ...],
    make_project: Maker,
    server: Loopback,
    bucket: Bucket,
    variables: dict[str, str],
) -> None:
    project = make_project(1, size=(64, 48))
    ran = project.run(server, RESULTS, "--engine", engine, *more, **variables)
    assert ran.code == 2
    assert (
        f"batch queues need a results_dir that is a folder: their jobs are kept in it; {URL}"
        in (ran.json["error"])
    )
    assert (objects(bucket), server.calls, bucket.seen) == ({}, [], [])


def test_a_shard_at_the_address(
    make_project: Maker, server: Loopback, bucket: Bucket, variables: dict[str, str]
) -> None:
    project = make_project(5, size=(64, 48))
    ran = project.run(server, RESULTS, "--shard", "1/2", **variables)
    assert (ran.code, ran.json["shard"]["number"]) == (0, 1), ran.err
    ran = project.run(server, RESULTS, "--shard", "2/2", **variables)
    assert ran.code == 2
    assert f"{URL} holds shard 1/2, and this run is of shard 2/2" in ran.json["error"]
