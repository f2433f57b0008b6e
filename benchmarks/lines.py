#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What many lines take: a dry run's seconds and memory, and a run's memory.

python benchmarks/lines.py [--lines 1000 100000] [--records 1000 20000]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from measure import endpoint, product, write_input, write_pictures


def main() -> None:
    """Print one JSON object: a list entry for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, nargs="*", default=[1000, 100_000])
    parser.add_argument("--records", type=int, nargs="*", default=[1000, 20_000])
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"dry_run": [], "run": []}
    with tempfile.TemporaryDirectory() as name, endpoint(0.0) as url:
        folder = Path(name)
        write_pictures(folder)
        for lines in given.lines:
            data = write_input(folder, lines)
            dry = product(folder, data, url, "none", "--quiet", "--dry-run")
            row = {"lines": lines, "wall_s": round(dry.wall_s, 2), "peak_mb": round(dry.peak_mb)}
            found["dry_run"].append(row)
        for records in given.records:
            data = write_input(folder, records)
            run = product(
                folder, data, url, f"results_{records}", "--quiet", "workflow.max_workers=32"
            )
            found["run"].append({"records": records, "peak_mb": round(run.peak_mb)})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
