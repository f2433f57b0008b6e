#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seconds that ``--help`` of every script takes, and Python alone.

python benchmarks/startup.py [--rounds 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from measure import ROOT


def seconds(command: Sequence[str], rounds: int) -> float:
    """The median."""
    took = []
    for _ in range(rounds):
        started = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        took.append(time.monotonic() - started)
    return round(statistics.median(took), 3)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    found = {path.name: seconds([sys.executable, str(path), "--help"], rounds) for path in scripts}
    bare = seconds([sys.executable, "-c", "pass"], rounds)
    print(json.dumps({"python": bare, "slowest": max(found.values()), **found}))


if __name__ == "__main__":
    main()
