# SPDX-License-Identifier: Apache-2.0
"""The bundle as a skill: copied anywhere, read-only, the user's project as current folder."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installed import BARE, Installed, installed_copy
from support.scripts import ROOT, SCRIPTS, clean_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = sorted(path.name for path in SCRIPTS.glob("*.py"))
_HEADER = re.compile(r"^# /// script\n((?:#(?: .*)?\n)+)# ///$", re.MULTILINE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with installed_copy(tmp_path_factory.mktemp("user")) as copy:
        yield copy


@pytest.mark.parametrize("name", [name for name in TOOLS if name != "setup_env.py"])
def test_a_python_without_the_packages(name: str, installed: Installed, tmp_path: Path) -> None:
    ran = Installed(installed.project, tmp_path / "home").run(name, "--help", python=BARE)
    assert ran.code == 2, ran.err
    (line,) = ran.err.splitlines()
    assert re.match(r"error: the package \w+ is not installed in this Python; make an", line)
    assert f"{installed.bundle / 'scripts' / 'setup_env.py'} " in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--extras", "local,paper"], "no extra 'paper'; there are local, parquet, plots"),
        (["--unknown"], "unrecognized"),
    ],
)
def test_wrong_arguments(arguments: list[str], words: str, installed: Installed) -> None:
    ran = installed.run("setup_env.py", *arguments)
    assert (ran.code, words in ran.err) == (2, True)


def test_a_home_that_cannot_be_written(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = Installed(installed.project, tmp_path / "file" / "home").run("setup_env.py")
    assert ran.code == 2
    assert json.loads(ran.out)["status"] == "error"
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("name", TOOLS)
def test_script_headers_name_the_dependencies(name: str) -> None:
    """PEP 723: ``uv run scripts/X.py`` needs no set-up."""
    text = (SCRIPTS / name).read_text()
    found = _HEADER.search(text)
    assert found, f"{name} has no '# /// script' header"
    header = tomllib.loads("".join(line[2:] for line in found[1].splitlines(keepends=True)))
    dependencies = [] if name == "setup_env.py" else PROJECT["dependencies"]
    assert header == {
        "requires-python": PROJECT["requires-python"], "dependencies": dependencies,
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        *(SCRIPTS / name for name in TOOLS),
        *(SCRIPTS / "image_grounding" / name for name in ("__init__.py", "launch.py",
                                                          "environment.py")),
    ],
    ids=lambda path: path.name,
)  # fmt: skip
def test_what_must_start_under_an_old_python(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_scripts_use_the_package_beside_them(tmp_path: Path) -> None:
    """Not one that is installed, or that another copy put on the path."""
    other = tmp_path / "other" / "image_grounding"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('the wrong package')")
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "run_pipeline.py"), "--help"],
        env=clean_environment(PYTHONPATH=os.fspath(other.parent)),
        cwd=other.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
