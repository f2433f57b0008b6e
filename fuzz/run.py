#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzz what takes hostile bytes, target by target, and print JSON of what came of it.

python fuzz/run.py [--seconds 60] [--only replies state] [--folder .fuzz]

Corpus and findings stay in the folder: the next call goes on from there. The exit code is 1 where
anything was found: each is an input and its traceback in FOLDER/TARGET/found.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from targets import NAMES

HERE = Path(__file__).resolve().parent
_STATUS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_AT_LEAST = re.compile(r"^#(\d+)\s", re.MULTILINE)
_LAST = 3000
# Some targets write a few files for each input.
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def fuzz(name: str, folder: Path, seconds: int) -> dict[str, Any]:
    """What came of fuzzing one target."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as scratch:
        command = [sys.executable, str(HERE / "one.py"), name, "--folder", str(folder)]
        done = subprocess.run(
            [*command, "--seconds", str(seconds), "--scratch", scratch],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
    *_, status = [None, *_STATUS.finditer(done.stderr)]
    counted = _EXECUTIONS.findall(done.stderr) or _AT_LEAST.findall(done.stderr)
    found = sorted(path.name for path in (folder / "found").glob("*") if path.suffix != ".input")
    if done.returncode and not found:
        sys.exit(f"{name} ended with {done.returncode}: {done.stderr[-_LAST:]}")
    return {
        "seconds": seconds,
        "executions": int(counted[-1]) if counted else 0,
        "covered_edges": int(status[1]) if status else None,
        "corpus": int(status[3]) if status else None,
        "crashes": len(found),
        "found": found,
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".fuzz")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit("atheris is not there: pip install -c constraints.txt -e '.[fuzz]'")
    answer = {name: fuzz(name, given.folder / name, given.seconds) for name in given.only}
    print(json.dumps(answer, indent=1))
    sys.exit(any(target["crashes"] for target in answer.values()))


if __name__ == "__main__":
    main()
