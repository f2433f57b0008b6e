# SPDX-License-Identifier: Apache-2.0
"""Many request files: the shell loop of batch.md over several GPUs, and shards."""

import re
import subprocess
from collections.abc import Callable

from conftest import Project
from faults.test_batch import WAITING, at_once, outputs
from faults.test_batch_files import commands, write
from support.batch_jobs import Floor, run_batch
from support.loopback import Loopback
from support.model import Model
from support.scripts import ROOT, clean_environment, run_script

Maker = Callable[..., Project]
# In the place of vLLM: gives what lies ready, breaks once, and says on which GPU it is.
_VLLM = """#!/bin/sh
test "$1 $2 $4 $6 $7" = "run-batch -i -o --model MODEL" || exit 2
echo "$CUDA_VISIBLE_DEVICES" >> gpus
if rm breaks 2> /dev/null; then : > "$5"; exit 1; fi
cp "answers/$(basename "$3")" "$5"
"""


def test_the_loop_of_the_document(server: Loopback, make_project: Maker) -> None:
    """Broken off, it goes on with the same lines, and answers no file twice."""
    project = make_project(3, size=(64, 48))
    more = ("--job-requests", "1", "workflow.steps=['0']")
    asked = [asked for asked, _ in commands(write(project, server, *more))]
    assert len(asked) == 3
    text = (ROOT / "references" / "batch.md").read_text()
    (loop,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.S) if "xargs" in block]
    programs = project.folder / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(_VLLM)
    (programs / "vllm").chmod(0o755)
    environment = clean_environment()
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    (project.folder / "breaks").touch()
    (project.folder / "answers").mkdir()
    for path in asked:
        run_batch(Floor(Model()), path, project.folder / "answers" / path.name)
    for left in (1, 0):
        subprocess.run(["sh", "-c", loop], cwd=project.folder, env=environment, check=False)
        outputs_of = [path.with_name(f"{path.stem}.output.jsonl") for path in asked]
        assert [path.exists() for path in outputs_of].count(False) == left
    gpus = (project.folder / "gpus").read_text().split()
    assert len(gpus) == 4
    assert set(gpus) <= set("0123")
    ran = write(project, server, *more)
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 3), ran.err


def test_shards(server: Loopback, make_project: Maker) -> None:
    """Each with files of its own; merged, they are one run's."""
    project, floor = make_project(3, size=(64, 48)), Floor(Model())
    folders = [project.folder / f"shard-{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        more = ("--shard", f"{number}/2", f"results_dir={folder}")
        ran = write(project, server, *more)
        while ran.code == WAITING:
            for asked, answered in commands(ran):
                assert asked.parent == folder / "batch"
                run_batch(floor, asked, answered)
            ran = write(project, server, *more)
        assert ran.code == 0, ran.err
    ran = run_script("merge.py", *map(str, folders), "-o", str(project.results))
    assert (ran.code, ran.json["counts"]["annotated"]) == (0, 3), ran.err
    assert set(floor.answered.values()) == {1}
    assert outputs(project.results) == at_once(project, server)
