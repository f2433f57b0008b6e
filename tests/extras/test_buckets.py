# SPDX-License-Identifier: Apache-2.0
"""Pictures and inputs in a bucket: the same results as from files, at few requests a picture."""

import gzip
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Project, write_jsonl
from support.buckets import BUCKET, KEYS, Bucket, serving
from support.loopback import Answer, Call, Loopback
from support.scenes import make_scene
from support.scripts import Ran, run_script, start_script

Maker = Callable[..., Project]
ROOT = f"data.image_root=s3://{BUCKET}/photos"
ODD = ["a b.png", "é ü.png", "50%.png", "a%20b.png", "no#1.png", "what?.png", "猫/[x] & *.png"]


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as running:
        yield running


@pytest.fixture
def project(make_project: Maker, bucket: Bucket) -> Project:
    """Five pictures in files, and the same below ``photos`` of the bucket."""
    made = make_project(5, size=(64, 48))
    for name in made.scenes:
        bucket.put(f"photos/{name}", (made.folder / name).read_bytes())
    return made


def run(project: Project, server: Loopback, bucket: Bucket, *more: str, **variables: str) -> Ran:
    return project.run(server, ROOT, *more, **{**bucket.environment, **variables})


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jsonl")
            if ".ckpt" not in path.parts}  # fmt: skip


def test_the_same_bytes_as_from_files(project: Project, server: Loopback, bucket: Bucket) -> None:
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 5), ran.err
    assert bucket.counts() == {"HEAD": 5, "GET": 5}
    local = project.folder / "local"
    assert project.run(server, f"results_dir={local}").code == 0
    assert outputs(project.results) == outputs(local)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in (project.results / "run_summary.json").read_text()


def test_a_second_run_fetches_nothing(project: Project, server: Loopback, bucket: Bucket) -> None:
    run(project, server, bucket)
    bucket.seen.clear()
    asked = len(server.calls)
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["from_checkpoints"]) == (0, 5)
    assert bucket.counts() == {"HEAD": 5}
    assert len(server.calls) == asked


def test_a_picture_that_was_replaced_is_asked_for_again(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    run(project, server, bucket)
    make_scene((64, 48), seed=77).save(project.folder / "other.png")
    bucket.put("photos/scene2.png", (project.folder / "other.png").read_bytes())
    bucket.seen.clear()
    server.calls.clear()
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["from_checkpoints"]) == (0, 4)
    assert len(server.calls) == 2
    assert [path for method, path in bucket.seen if method == "GET"] == [
        f"/{BUCKET}/photos/scene2.png"
    ]
    bucket.seen.clear()
    assert run(project, server, bucket).json["counts"]["from_checkpoints"] == 5


def test_files_that_moved_into_a_bucket_are_not_asked_for_again(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    project.run(server)
    asked = len(server.calls)
    assert run(project, server, bucket).json["counts"]["from_checkpoints"] == 5
    assert project.run(server).json["counts"]["from_checkpoints"] == 5
    assert len(server.calls) == asked


def test_names_of_any_characters(project: Project, server: Loopback, bucket: Bucket) -> None:
    data = (project.folder / "scene0.png").read_bytes()
    for name in ODD:
        bucket.put(f"photos/{name}", data)
    caption = project.scenes["scene0.png"].caption
    whole = f"s3://{BUCKET}/photos/{ODD[4]}"
    rows = [{"image_path": name, "caption": caption} for name in [*ODD, whole]]
    write_jsonl(project.input, rows)
    ran = run(project, server, bucket)
    assert ran.code == 0, ran.err
    assert [record["image_path"] for record in project.annotations()] == [*ODD, whole]
    assert project.annotations()[4]["image_id"] == project.annotations()[7]["image_id"] == "no#1"


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.jsonl.gz"])
def test_an_input_in_the_bucket_with_pictures_beside_it(
    name: str, project: Project, server: Loopback, bucket: Bucket
) -> None:
    text = project.input.read_bytes()
    bucket.put(f"photos/{name}", gzip.compress(text) if name.endswith("gz") else text)
    given = (f"data.input_jsonl=s3://{BUCKET}/photos/{name}", "data.image_root=")
    dry = run(project, server, bucket, *given, "--dry-run")
    assert (dry.code, dry.json["samples"], dry.json["images"]["decoded"]) == (0, 5, 5), dry.err
    ran = run(project, server, bucket, *given)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 5), ran.err
    report = run_script("inspect.py", str(project.results), "--quiet", **bucket.environment).json
    assert "image_unreadable" not in report["flags"]


def test_a_merge_of_shards_of_an_input_in_the_bucket(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    bucket.put("photos/captions.jsonl", project.input.read_bytes())
    given = (f"data.input_jsonl=s3://{BUCKET}/photos/captions.jsonl", "data.image_root=")
    folders = [str(project.folder / name) for name in ("shard-1", "shard-2", "merged", "whole")]
    run(project, server, bucket, *given, f"results_dir={folders[3]}")
    for number, folder in enumerate(folders[:2], 1):
        run(project, server, bucket, *given, "--shard", f"{number}/2", f"results_dir={folder}")
    for more in ((), ("--input", given[0].partition("=")[2])):
        merged = run_script("merge.py", *folders[:2], "-o", folders[2], *more, **bucket.environment)
        assert (merged.code, merged.json["counts"]["annotated"]) == (0, 5), merged.err
        outputs = [Path(folder, "annotations.jsonl").read_bytes() for folder in folders[2:]]
        assert outputs[0] == outputs[1]
    asked = len(server.calls)
    again = run(project, server, bucket, *given, f"results_dir={folders[2]}")
    assert (again.code, again.json["counts"]["from_checkpoints"]) == (0, 5), again.err
    assert len(server.calls) == asked
    spec = json.loads(Path(folders[2], "run_summary.json").read_text())["spec"]
    assert spec["image_grounding"]["data"]["input_jsonl"] == given[0].partition("=")[2]


def test_an_input_that_changes_meanwhile(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    bucket.put("captions.jsonl", project.input.read_bytes())

    def change(call: Call) -> Answer | None:
        bucket.put("captions.jsonl", b'{"image_path": "scene0.png", "caption": "A cat"}\n')
        return None

    server.fault = change
    ran = run(project, server, bucket, f"data.input_jsonl=s3://{BUCKET}/captions.jsonl")
    assert (ran.code, ran.json["status"]) == (2, "input changed"), ran.err
    assert len(project.annotations()) == 5


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"s3://{BUCKET}/none.jsonl", "there is no such object"),
        ("s3://nobody/captions.jsonl", "there is no such object"),
        ("s3:///captions.jsonl", "names no bucket"),
        ("az://container/captions.jsonl", "needs the extra az"),
        ("ftp://host/captions.jsonl", "nothing can be read at ftp:// addresses"),
        ("https://host/captions.jsonl", "only pictures are read from web servers"),
    ],
)
def test_inputs_that_cannot_be_read(
    address: str, words: str, project: Project, server: Loopback, bucket: Bucket
) -> None:
    ran = run(project, server, bucket, f"data.input_jsonl={address}")
    assert ran.code == 2
    assert words in ran.json["error"]


def test_a_bucket_that_is_not_there(project: Project, server: Loopback, bucket: Bucket) -> None:
    ran = run(project, server, bucket, "data.image_root=s3://nobody/photos")
    assert ran.code == 2
    assert "no such image: s3://nobody/photos/" in ran.json["error"]
    assert not server.calls


def test_a_key_that_is_refused_ends_the_run(
    make_project: Maker, server: Loopback, bucket: Bucket
) -> None:
    project = make_project(40, size=(64, 48))
    bucket.fault = lambda method, path: 403
    ran = run(project, server, bucket, AWS_SECRET_ACCESS_KEY="wrong-secret-of-this-test")
    assert ran.code == 4, ran.err
    assert "in a row failed" in ran.json["error"] and "credentials" in ran.json["remedy"]
    assert len(bucket.seen) < 40
    assert {entry["reason"] for entry in project.failures("0")} == {"image_unavailable"}
    assert "wrong-secret" not in ran.out + ran.err
    for name in project.scenes:
        bucket.put(f"photos/{name}", (project.folder / name).read_bytes())
    bucket.fault = None
    assert run(project, server, bucket).json["counts"]["annotated"] == 40


def test_a_picture_that_is_not_given_is_asked_for_by_the_next_run(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    bucket.fault = lambda method, path: 503 if "scene3" in path else None
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 4)
    assert [entry["reason"] for entry in project.failures("0")] == ["image_unavailable"]
    bucket.fault = None
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 5)
    bucket.fault = lambda method, path: 503
    ran = run(project, server, bucket)  # an outage takes nothing away that is finished
    assert (ran.code, ran.json["counts"]["from_checkpoints"]) == (0, 5)


def test_killed_and_run_again(make_project: Maker, server: Loopback, bucket: Bucket) -> None:
    project = make_project(20, size=(64, 48))
    for name in project.scenes:
        bucket.put(f"photos/{name}", (project.folder / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        process = start_script("run_pipeline.py", *project.overrides(server, ROOT))

    def kill(call: Call) -> None:
        if call.number == 21:
            process.kill()

    server.fault = kill
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    server.fault = lambda call: None
    bucket.seen.clear()
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 20)
    finished = ran.json["counts"]["from_checkpoints"]
    assert finished > 0
    assert bucket.counts()["GET"] == 20 - finished
    local = project.folder / "local"
    project.run(server, f"results_dir={local}")
    assert outputs(project.results) == outputs(local)


def test_a_line_leads_nowhere_else(project: Project, server: Loopback, bucket: Bucket) -> None:
    data = (project.folder / "scene0.png").read_bytes()
    bucket.put("secret.png", data)
    elsewhere = [
        "../secret.png", f"s3://{BUCKET}/secret.png", f"s3://{BUCKET}/photos/../secret.png",
        f"S3://{BUCKET}/secret.png", str(project.folder / "scene0.png"),
    ]  # fmt: skip
    caption = project.scenes["scene0.png"].caption
    rows = [{"image_path": path, "caption": caption} for path in [*elsewhere, "scene1.png"]]
    write_jsonl(project.input, rows)
    ran = run(project, server, bucket)
    assert (ran.code, ran.json["counts"]["annotated"]) == (3, 1)
    assert {entry["reason"] for entry in project.failures("0")} == {"bad_line"}
    assert {path for _, path in bucket.seen} == {f"/{BUCKET}/photos/scene1.png"}
    ran = run(project, server, bucket, "data.allow_urls=true")
    annotated = {record["image_path"] for record in project.annotations()}
    assert {f"s3://{BUCKET}/secret.png", f"S3://{BUCKET}/secret.png"} < annotated
    assert len(annotated) == 3


def test_a_dry_run_reads_the_first_bytes_alone(
    make_project: Maker, server: Loopback, bucket: Bucket
) -> None:
    project = make_project(1, size=(64, 48))
    make_scene((320, 240), seed=1).save(project.folder / "large.jpg")
    data = (project.folder / "large.jpg").read_bytes()
    bucket.put("photos/large.jpg", data + bytes(5_000_000))
    write_jsonl(project.input, [{"image_path": "large.jpg", "caption": "A dog"}])
    ran = run(project, server, bucket, "--dry-run", "--check-images", "0")
    assert (ran.code, ran.json["samples"]) == (0, 1), ran.err
    assert bucket.counts() == {"GET": 1}


def test_what_follows_a_run_reads_the_pictures(
    project: Project, server: Loopback, bucket: Bucket, tmp_path: Path
) -> None:
    run(project, server, bucket)
    variables = bucket.environment
    report = run_script("inspect.py", str(project.results), "--draw", "3", **variables)
    assert (report.code, "image_unreadable" in report.json["flags"]) == (0, False), report.err
    assert all(card["problem"] is None for card in report.json["drawn"])
    options = ("--format", "coco", "--copy-images")
    remote = tmp_path / "remote"
    done = run_script("export.py", str(project.results), *options, "-o", str(remote), **variables)
    assert done.code == 0, done.err
    copies = {path.read_bytes() for path in (remote / "images").iterdir()}
    assert copies == {(project.folder / name).read_bytes() for name in project.scenes}


def test_settings_of_the_store_come_from_its_own_variables(
    project: Project, server: Loopback, bucket: Bucket
) -> None:
    for name in project.scenes:
        bucket.client.put_object_acl(Bucket=BUCKET, Key=f"photos/{name}", ACL="public-read")
    nobody = {name: "" for name in KEYS} | {"FSSPEC_S3": json.dumps({"anon": True})}
    ran = run(project, server, bucket, **nobody)
    assert ran.json["counts"]["annotated"] == 5, ran.err


def test_the_wizard_takes_addresses(project: Project, bucket: Bucket) -> None:
    given = ("--endpoint", "local", "--results-dir", "results", "--output", "spec.yaml")
    captions = ("--input", f"s3://{BUCKET}/captions.jsonl")
    ran = run_script(
        "setup_wizard.py", *captions, "--image-root", f"s3://{BUCKET}/photos", *given,
        cwd=project.folder, **bucket.environment,
    )  # fmt: skip
    assert (ran.code, ran.json["warnings"]) == (0, []), ran.err
    bucket.put("captions.jsonl", project.input.read_bytes())
    dry = run_script("run_pipeline.py", "-e", "spec.yaml", "--dry-run", cwd=project.folder,
                     **bucket.environment)  # fmt: skip
    assert (dry.code, dry.json["samples"]) == (0, 5), dry.err
    wrong = run_script("setup_wizard.py", *captions, *given[:2], "--results-dir", "s3://b/r",
                       cwd=project.folder)  # fmt: skip
    assert wrong.code == 2
    assert "an address can be written into the spec by hand" in wrong.out
