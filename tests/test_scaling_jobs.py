# SPDX-License-Identifier: Apache-2.0
"""The jobs of references/scaling.md do what is said of them; only the cluster is not here."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml

from conftest import Project, read_jsonl
from support.documents import blocks
from support.limits import LimitServer, limit_server
from support.loopback import Loopback
from support.scripts import ROOT, Ran, clean_environment, run_script

Maker = Callable[..., Project]

TEXT = (ROOT / "references" / "scaling.md").read_text(encoding="utf-8")
SCRIPTS_SHOWN = [block for language, block in blocks(TEXT) if language == "sh"]
MANIFESTS = [block for language, block in blocks(TEXT) if language == "yml"]
LIMIT_TOKEN = {"IMAGE_GROUNDING_LIMIT_TOKEN": "a token of this test"}


@pytest.fixture(scope="module", autouse=True)
def limits() -> Iterator[LimitServer]:
    """It begins first: a limit server gives nothing out in its first second."""
    with limit_server("--host", "0.0.0.0", **LIMIT_TOKEN) as running:
        yield running


@pytest.fixture
def cluster(server: Loopback, make_project: Maker) -> Project:
    """A user's folder with spec.yaml, and a PATH with tools that say what they were given."""
    project = make_project(6, size=(64, 48))
    (project.folder / "bin").mkdir()
    for name in ("python", "image-grounding"):
        tool = project.folder / "bin" / name
        tool.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\nexit ${ENDS_WITH:-0}\n')
        tool.chmod(0o755)
    vlm = {
        "backend": "openai",
        "coordinates": "norm1000_xyxy",
        "openai": {"base_url": server.base_url, "model_name": "test-vlm"},
    }
    data = {"input_jsonl": "input.jsonl", "image_root": str(project.folder)}
    spec = {"results_dir": "results", "image_grounding": {"data": data, "vlm": vlm}}
    (project.folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return project


def job(project: Project, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the shell of a job; its stdout is what the tool was given."""
    path = f"{project.folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script], cwd=project.folder, env=clean_environment(PATH=path, **variables),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def run_job(project: Project, script: str, **variables: str) -> Ran:
    """Run the tool that a job starts, as it starts it."""
    first, *arguments = job(project, script, **variables).stdout.split("\0")[:-1]
    name = {"run": "run_pipeline.py"}.get(first, first.removeprefix("scripts/"))
    return run_script(name, *arguments, cwd=project.folder)


def two(text: str) -> str:
    """A job for eight shards as one for two."""
    assert "8" in text
    return text.replace("SHARDS=8", "SHARDS=2").replace('/8"', '/2"')


@pytest.mark.parametrize("script", SCRIPTS_SHOWN)
def test_scripts_are_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slurm_array_and_its_merge(cluster: Project) -> None:
    array, submit, merge, *_ = SCRIPTS_SHOWN
    assert "#SBATCH --array=1-8" in array and "SHARDS=8" in array
    for task in ("1", "2"):
        ran = run_job(cluster, two(array), SLURM_ARRAY_TASK_ID=task)
        assert ran.json["shard"] == {"number": int(task), "of": 2, "by": "sample_id"}
    assert merge.strip() in submit.replace('"', "\n").splitlines()
    assert run_job(cluster, merge).json["counts"]["annotated"] == 6
    assert len(read_jsonl(cluster.results / "whole" / "annotations.jsonl")) == 6


def test_a_kubernetes_job(cluster: Project) -> None:
    manifest = yaml.safe_load(MANIFESTS[0])
    indexed = manifest["spec"]
    (container,) = indexed["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert (manifest["kind"], indexed["completionMode"]) == ("Job", "Indexed")
    assert indexed["completions"] == indexed["parallelism"] == 8
    assert container["command"] == ["/bin/sh", "-c"]
    assert '/8"' in script
    for index in ("0", "1"):
        ran = run_job(cluster, two(script), JOB_COMPLETION_INDEX=index)
        assert ran.json["shard"]["number"] == int(index) + 1
    shards = sorted(path.name for path in cluster.results.iterdir() if path.is_dir())
    assert shards == ["shard-1", "shard-2"]
    records = [read_jsonl(cluster.results / name / "annotations.jsonl") for name in shards]
    assert sum(map(len, records)) == 6
    codes = {"0": 0, "3": 0, "2": 1, "4": 1}
    for code, expected in codes.items():
        done = job(cluster, script, JOB_COMPLETION_INDEX="0", ENDS_WITH=code)
        assert done.returncode == expected


def arguments(project: Project, script: str) -> list[str]:
    """What a script gives to the tool that it starts."""
    return job(project, script).stdout.split("\0")[:-1]


def test_a_limit_server_and_a_run_on_it(cluster: Project, limits: LimitServer) -> None:
    *_, serve, run = SCRIPTS_SHOWN
    (cluster.folder / "limit-token").write_text("a token of this test\n")
    script, *given = arguments(cluster, serve)
    assert (script, given) == ("scripts/limit_server.py", ["--host", "0.0.0.0", "--port", "8471"])
    script, *given = arguments(cluster, run)
    there = [word.replace("http://limits.example.com:8471", limits.url) for word in given]
    assert there != given
    name = script.removeprefix("scripts/")
    ran = run_script(name, *there, cwd=cluster.folder, **LIMIT_TOKEN)
    assert (ran.code, ran.json["counts"]["failed"]) == (0, 0), ran.err
    (flow,) = limits.status(**LIMIT_TOKEN)["flows"]
    assert (flow["name"], flow["per_minute"]) == ("requests", 2400)


def test_a_limit_server_in_kubernetes() -> None:
    service, deployment = yaml.safe_load_all(MANIFESTS[1])
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    name, tool, *options = container["command"]
    assert (name, tool, deployment["spec"]["strategy"]["type"]) == (
        "image-grounding", "limit-server", "Recreate",
    )  # fmt: skip
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    port = service["spec"]["ports"][0]["port"]
    assert options == ["--host", "0.0.0.0", "--port", str(port)]
    assert f"http://{service['metadata']['name']}:{port}" in TEXT
    assert [one["name"] for one in container["env"]] == ["IMAGE_GROUNDING_LIMIT_TOKEN"]
