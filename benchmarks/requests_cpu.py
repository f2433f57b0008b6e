#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU of the whole process a request, but for what its start takes: two runs and their difference.

python benchmarks/requests_cpu.py [--samples 100 1600] [--workers 32]
"""

import argparse
import json
import tempfile
from pathlib import Path

from measure import endpoint, product, write_input, write_pictures


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs=2, default=[100, 1600])
    parser.add_argument("--workers", type=int, default=32)
    given = parser.parse_args()
    workers = f"workflow.max_workers={given.workers}"
    with tempfile.TemporaryDirectory() as name, endpoint(0.0) as url:
        folder = Path(name)
        write_pictures(folder)
        few, many = (
            product(folder, write_input(folder, n), url, str(n), "--quiet", workers)
            for n in given.samples
        )
    requests = many.answer["usage"]["requests"] - few.answer["usage"]["requests"]
    print(
        json.dumps(
            {
                "requests": requests,
                "cpu_ms_a_request": round(1000 * (many.cpu_s - few.cpu_s) / requests, 3),
                "requests_a_second": round(requests / (many.wall_s - few.wall_s)),
            }
        )
    )


if __name__ == "__main__":
    main()
