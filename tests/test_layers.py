# SPDX-License-Identifier: Apache-2.0
"""Who may know whom in the package: the contract in ``pyproject.toml``."""

import subprocess
import sys

from support.scripts import ROOT

_LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"


def test_packages_import_from_below_alone() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LINT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_rooms_hold_the_modules() -> None:
    """Beside the rooms stands only what everybody uses."""
    package = ROOT / "scripts" / "image_grounding"
    loose = {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    assert len(loose) <= 10, loose
    assert not [path for path in package.rglob("*.py") if len(path.read_text().splitlines()) > 400]
