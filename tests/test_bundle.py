# SPDX-License-Identifier: Apache-2.0
"""The bundle as a skill: copied anywhere, read-only, the user's project as current folder."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import read_jsonl, write_jsonl
from support.scripts import ROOT, SCRIPTS, Ran, clean_environment

# Without site-packages: as a Python that was never set up.
BARE = (getattr(sys, "_base_executable", sys.executable), "-S")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = sorted(path.name for path in SCRIPTS.glob("*.py"))
_NOT_IN_A_COPY = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "benchmarks")
_HEADER = re.compile(r"^# /// script\n((?:#(?: .*)?\n)+)# ///$", re.MULTILINE)


@dataclass(frozen=True)
class Installed:
    """A read-only copy of the bundle in a user's project, and a home for its environment."""

    project: Path
    home: Path

    @property
    def bundle(self) -> Path:
        return self.project / ".claude" / "skills" / "image-grounding"

    def run(self, name: str, *arguments: str, python: Sequence[str] = (sys.executable,)) -> Ran:
        environment = clean_environment(IMAGE_GROUNDING_HOME=str(self.home))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [*python, str(self.bundle / "scripts" / name), *arguments],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def files(self) -> set[Path]:
        return set(self.bundle.rglob("*"))


def install(folder: Path, dependency: str, parquet: str) -> Installed:
    """A copy that depends on this alone, and with an extra on that."""
    copy = Installed(folder / "project", folder / "home")
    shutil.copytree(ROOT, copy.bundle, ignore=_NOT_IN_A_COPY)
    pyproject = copy.bundle / "pyproject.toml"
    text, listed = pyproject.read_text(), f"dependencies = {json.dumps([dependency])}"
    text = re.sub(r"(?ms)^dependencies = \[.*?^\]", listed, text)
    pyproject.write_text(re.sub(r"(?m)^parquet = .*", f"parquet = {json.dumps([parquet])}", text))
    return copy


def make_wheel(folder: Path) -> Path:
    """A package without anything in it."""
    wheel = folder / "tiny-1-py3-none-any.whl"
    files = {
        "tiny.py": "",
        "tiny-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1",
        "tiny-1.dist-info/WHEEL": ("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"),
        "tiny-1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """It depends on an empty package beside it, so that set-up downloads nothing."""
    folder = tmp_path_factory.mktemp("user")
    gone = (folder / "gone-1-py3-none-any.whl").as_uri()
    copy = install(folder, f"tiny @ {make_wheel(folder).as_uri()}", f"gone @ {gone}")
    for path in [copy.bundle, *copy.files()]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield copy
    for path in [copy.bundle, *copy.files()]:
        path.chmod(path.stat().st_mode | 0o200)


def test_set_up_and_run(installed: Installed) -> None:
    before = installed.files()
    made = installed.run("setup_env.py", "--quiet")
    assert (made.code, made.err) == (0, "")
    python = made.json["python"]
    assert Path(python).is_file()
    assert installed.home in Path(python).parents
    assert (made.json["status"], made.json["extras"]) == ("ready", [])
    assert made.json["made_with"] in ("pip", "uv")

    again = installed.run("setup_env.py")
    assert (again.code, again.json["python"], again.json["made_with"]) == (0, python, None)

    failed = installed.run("setup_env.py", "--quiet", "--extras", "parquet")
    assert (failed.code, failed.json["status"]) == (2, "error")
    assert "gone-1" in failed.err.partition("its own message is above")[0], "quiet but for failures"
    assert installed.run("setup_env.py").json["extras"] == [], "what there is stays as it was"

    other = installed.run("run_pipeline.py", python=BARE)
    assert other.code == 2
    assert other.err.endswith(f"; start this script with {python}\n")

    # The dependencies that were left out for this test come from the environment of the tests.
    bare = installed.run("run_pipeline.py", "--help", python=(python,))
    assert bare.code == 2
    assert bare.err.count("\n") == 1, bare.err
    assert re.search(r"package \w+ is not installed.*setup_env\.py --fresh", bare.err)
    (site_packages,) = Path(made.json["environment"]).glob("[Ll]ib/**/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    photo = installed.bundle / "assets" / "photos" / "astronaut.jpg"
    shutil.copy(photo, installed.project / "mine.jpg")
    rows = [{"image_path": "mine.jpg", "caption": "There is a person in an orange suit"}]
    write_jsonl(installed.project / "captions.jsonl", rows)
    spec = installed.bundle / "specs" / "local.yaml"
    ran = installed.run(
        "run_pipeline.py", "-e", str(spec), "data.input_jsonl=captions.jsonl",
        "data.image_root=''", "results_dir=results", python=(python,),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (record,) = read_jsonl(installed.project / "results" / "annotations.jsonl")
    assert record["expressions"][0]["instances"]
    assert installed.files() == before, "a read-only bundle stays as it is"


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
