# SPDX-License-Identifier: Apache-2.0
"""Where the bundle's own files are, in a checkout or inside an installed wheel."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def bundle_root() -> Path:
    """The folder that holds ``specs/`` and ``assets/``."""
    installed = _PACKAGE / "_bundle"
    return installed if installed.is_dir() else _PACKAGE.parents[1]


def spec_path(name: str) -> Path:
    """Path of a spec that ships with the bundle: ``spec_path("gemini.yaml")``."""
    return bundle_root() / "specs" / name


def asset_path(name: str) -> Path:
    """Path of a file below ``assets/``."""
    return bundle_root() / "assets" / name


@cache
def load_schema(name: str) -> dict[str, Any]:
    """A JSON Schema from ``specs/schemas/``, by its name without the ending."""
    path = bundle_root() / "specs" / "schemas" / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema
