# SPDX-License-Identifier: Apache-2.0
"""The bundle as it stands in a user's project, as a skill."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.scripts import ROOT, Ran, clean_environment

# Without site-packages: as a Python that was never set up.
BARE = (getattr(sys, "_base_executable", sys.executable), "-S")
_NOT_IN_A_COPY = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "benchmarks")


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


def _install(folder: Path, dependency: str, parquet: str) -> Installed:
    """A copy that depends on this alone, and with an extra on that."""
    copy = Installed(folder / "project", folder / "home")
    shutil.copytree(ROOT, copy.bundle, ignore=_NOT_IN_A_COPY)
    pyproject = copy.bundle / "pyproject.toml"
    text, listed = pyproject.read_text(), f"dependencies = {json.dumps([dependency])}"
    text = re.sub(r"(?ms)^dependencies = \[.*?^\]", listed, text)
    pyproject.write_text(re.sub(r"(?m)^parquet = .*", f"parquet = {json.dumps([parquet])}", text))
    return copy


def _make_wheel(folder: Path) -> Path:
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


@contextlib.contextmanager
def installed_copy(folder: Path) -> Iterator[Installed]:
    """A copy that depends on an empty package beside it, so that set-up downloads nothing."""
    gone = (folder / "gone-1-py3-none-any.whl").as_uri()
    copy = _install(folder, f"tiny @ {_make_wheel(folder).as_uri()}", f"gone @ {gone}")
    for path in [copy.bundle, *copy.files()]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield copy
    for path in [copy.bundle, *copy.files()]:
        path.chmod(path.stat().st_mode | 0o200)
