# SPDX-License-Identifier: Apache-2.0
"""checkpoints.py: what is kept of each sample, one file a sample."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project
from support.kept import FOLDERS, checkpoints, give_each_a_file
from support.loopback import Loopback
from support.scripts import run_script

Maker = Callable[..., Project]


@pytest.mark.parametrize("form", ["segments", "files", "both"])
def test_each_checkpoint_is_a_file(
    form: str, server: Loopback, make_project: Maker, tmp_path: Path
) -> None:
    project = make_project(3, size=(64, 48))
    assert project.run(server).code == 0
    wanted = {step: checkpoints(project.results, step) for step in "01"}
    for step in {"segments": "", "files": "01", "both": "1"}[form]:
        give_each_a_file(project.results, step)
    out = tmp_path / "kept"
    ran = run_script("checkpoints.py", str(project.results), "-o", str(out))
    assert (ran.code, ran.json["checkpoints"]) == (0, {"0": 3, "1": 3})
    for step, kept in wanted.items():
        found = {path.stem: json.loads(path.read_text()) for path in out.glob(f"step_{step}*/*")}
        assert found == kept
    again = run_script("checkpoints.py", str(project.results), "-o", str(out))
    assert (again.code, "is not empty" in again.json["error"]) == (2, True)


def test_of_a_sample_alone(server: Loopback, make_project: Maker, tmp_path: Path) -> None:
    project = make_project(2, size=(64, 48))
    assert project.run(server).code == 0
    wanted = project.annotations()[1]["sample_id"]
    tool = ("checkpoints.py", str(project.results), "-o", str(tmp_path / "kept"), "--sample-id")
    assert run_script(*tool, "nothing-0123").code == 2
    assert run_script(*tool, wanted).json["checkpoints"] == {"0": 1, "1": 1}
    assert [path.name for path in (tmp_path / "kept" / FOLDERS["1"]).iterdir()] == [
        f"{wanted}.json"
    ]
