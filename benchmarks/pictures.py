#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sixty captions of one large photo, against the time that the requests alone take.

python benchmarks/pictures.py [--captions 60] [--delay 0.2] [--workers 8]
"""

import argparse
import json
import tempfile
from pathlib import Path

from measure import endpoint, product, write_input, write_pictures

SIZE = (4032, 3024)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=int, default=60)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, endpoint(given.delay) as url:
        folder = Path(name)
        write_pictures(folder, 1, SIZE)
        workers = f"workflow.max_workers={given.workers}"
        # What a start takes is not the pictures'.
        start = product(folder, write_input(folder, 1), url, "start", "--quiet", "--dry-run")
        data = write_input(folder, given.captions, 1)
        run = product(folder, data, url, "results", "--quiet", workers)
    ideal = run.answer["usage"]["requests"] * given.delay / given.workers
    print(
        json.dumps(
            {
                "captions": given.captions,
                "wall_to_ideal": round((run.wall_s - start.wall_s) / ideal, 2),
                "wall_s": round(run.wall_s, 2),
                "start_s": round(start.wall_s, 2),
                "ideal_s": round(ideal, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
