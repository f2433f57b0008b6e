# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets hold for their own seeds, and for what ``fuzz/run.py`` has found."""

import importlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.scripts import ROOT

FUZZ = ROOT / "fuzz"
MOST_SEEDS = 20


@pytest.fixture(scope="module", autouse=True)
def fuzz_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FUZZ))
        patch.setenv("IG_FUZZ_KEY", "")
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(
        lambda name: importlib.import_module(f"targets.{name}").target(
            tmp_path_factory.mktemp(name)
        )
    )


def names() -> list[str]:
    return sorted(
        path.stem
        for path in (FUZZ / "targets").glob("*.py")
        if "\ndef target(" in path.read_text(encoding="utf-8")
    )


def test_every_target_is_run() -> None:
    assert tuple(names()) == tuple(sorted(importlib.import_module("targets").NAMES))


@pytest.mark.parametrize("name", names())
def test_seeds_hold(name: str, made: Any) -> None:
    seeds = made(name).seeds
    for seed in seeds[:: len(seeds) // MOST_SEEDS + 1]:
        made(name).check(seed)


# What fuzzing has found, as small as it gets, once each.
FOUND: dict[str, tuple[str, bytes]] = {
    "an expression of signs alone": ("replies", b'\0\0\2["":,"label":\0""}]'),
    "numbers between semicolons": (
        "replies",
        b'\0\3\0{"instances": [{"id": 0, "bbox": "1;2;30;40"}]}',
    ),
    "a semicolon for a box": ("replies", b'\0\1\0["":["":;"'),
    "an image id of 0.0": ("lines", b'2{"image_path": "g", "caption": "r", "image_id": 0.0}'),
    "a report nested deep": ("state", b'\2\0{"run": ' + b"[" * 3000 + b"]" * 3000 + b"}"),
    "a cost that is no float": (
        "state",
        b'\5\0{"usage_of_all_runs": {"runs": 1, "cost": 1' + b"0" * 400 + b"}}",
    ),
    "an id that leads out of a folder": (
        "state",
        b'\6\3{"sample_id": "../../x-0123456789abcdef0123", "format": 2}\n',
    ),
    "an id that is no text": ("state", b'\6\3{"sample_id": "\xff-0123456789abcdef0123"}\n'),
    "false for the start of a span": (
        "state",
        b'\0\7{"image_path": "a", "caption": "c d", "width": 65, "height": 48, "expressions": '
        b'[{"text": "c", "char_span": [false, 1], "instances": [{"bbox": [1, 1, 2, 3]}]}]}',
    ),
    "true for a side of a box": (
        "state",
        b'\0\7{"image_path": "a", "caption": "b", "width": 65, "height": 48, "expressions": '
        b'[{"text": "c", "instances": [{"bbox": [1, true, 2, 3]}]}]}',
    ),
}


@pytest.mark.parametrize(("name", "data"), FOUND.values(), ids=list(FOUND))
def test_what_was_found_is_mended(name: str, data: bytes, made: Any) -> None:
    made(name).check(data)


def test_mutated_json_is_json() -> None:
    mutate = importlib.import_module("mutate").mutated_json
    seed = json.dumps({"a": [1, {"b": "c"}], "d": None}).encode()
    rng, different = random.Random(1), set()
    for _ in range(200):
        changed = mutate(seed, rng)
        json.loads(changed)
        different.add(changed)
    assert len(different) > 100
    lines = mutate(seed + b"\n" + seed + b"\n", rng).splitlines()
    assert len(lines) == 2 and seed in lines
    assert mutate(b"{", rng) is None


def test_the_runner_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['atheris'] = None\n")
    command = [sys.executable, str(FUZZ / "run.py"), "--seconds", "1", "--folder", str(tmp_path)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install" in done.stderr and "Traceback" not in done.stderr
