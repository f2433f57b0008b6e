#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records a second and CPU a record, against the same job done plainly (``baseline.py``).

Both are whole processes against one endpoint; the product also sends the picture with step 0,
resizes, checks and counts. Ratios of the same minute.

    python benchmarks/records.py [--workers 4 32 128] [--delay 0.05] [--records 600]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import ROOT, Measured, endpoint, measured, product, write_input, write_pictures


def plain(folder: Path, data: Path, url: str, results: str, workers: int) -> Measured:
    """A run of the baseline."""
    return measured([
        sys.executable, str(ROOT / "benchmarks/baseline.py"), url, str(data),
        str(folder / results), "--workers", str(workers),
    ])  # fmt: skip


def compare(workers: int, records: int, delay: float, slow_every: int = 0) -> dict[str, Any]:
    """One pair of runs."""
    with tempfile.TemporaryDirectory() as name, endpoint(delay, slow_every) as url:
        folder = Path(name)
        write_pictures(folder)
        data = write_input(folder, records)
        theirs = plain(folder, data, url, "plain", workers)
        ours = product(folder, data, url, "ours", "--quiet", f"workflow.max_workers={workers}")
    # Two requests a record; so many at once cannot be answered sooner.
    ideal = 2 * records * delay * (1 + 9 / slow_every if slow_every else 1) / workers
    return {
        "workers": workers,
        "wall_to_ideal": round(ours.wall_s / ideal, 2),
        "wall_to_ideal_plain": round(theirs.wall_s / ideal, 2),
        "speed": round(theirs.wall_s / ours.wall_s, 2),
        "cpu": round(ours.cpu_s / theirs.cpu_s, 2),
        "cpu_ms_a_record": round(1000 * ours.cpu_s / records, 2),
        "peak_mb": round(ours.peak_mb),
        "peak_mb_plain": round(theirs.peak_mb),
    }


def main() -> None:
    """Print one JSON object a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 32, 128])
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--slow-every", type=int, default=0)
    given = parser.parse_args()
    for workers in given.workers:
        found = compare(workers, given.records, given.delay, given.slow_every)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
