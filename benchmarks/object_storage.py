#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a run asks of a bucket, and whether its outputs are those of a run over files.

A server that speaks S3 over HTTP on the loopback interface counts the requests. Needs the extras
that ``make test-extras`` installs.

    python benchmarks/object_storage.py [--pictures 500]
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from measure import endpoint, product, write_input, write_pictures  # noqa: E402

from support.buckets import BUCKET, Bucket, serving  # noqa: E402


def outputs(folder: Path) -> dict[str, bytes]:
    """The records and failures of a run."""
    paths = [path for path in folder.rglob("*.jsonl") if ".ckpt" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def fill(bucket: Bucket, folder: Path, pictures: int) -> None:
    """Different pictures, though few of them are drawn."""
    write_pictures(folder, min(pictures, 20))
    drawn = [(folder / f"{number}.jpg").read_bytes() for number in range(min(pictures, 20))]
    for number in range(pictures):
        data = drawn[number % len(drawn)] + number.to_bytes(4)  # behind the end of the picture
        (folder / f"{number}.jpg").write_bytes(data)
        bucket.put(f"photos/{number}.jpg", data)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=500)
    pictures = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name, serving() as bucket, endpoint(0.0) as url:
        folder = Path(name)
        fill(bucket, folder, pictures)
        data = write_input(folder, pictures, pictures)
        os.environ.update(bucket.environment)
        remote = f"data.image_root=s3://{BUCKET}/photos"
        local = product(folder, data, url, "local", "workflow.max_workers=32")
        first = product(folder, data, url, "remote", remote, "workflow.max_workers=32")
        asked = bucket.counts()
        bucket.seen.clear()
        again = product(folder, data, url, "remote", remote, "workflow.max_workers=32")
        same = outputs(folder / "local") == outputs(folder / "remote")
    assert again.answer["counts"]["from_checkpoints"] == pictures
    print(
        json.dumps(
            {
                "pictures": pictures,
                "byte_identical": same,
                "requests_a_sample": round(asked.total() / pictures, 3),
                "requests": dict(asked),
                "requests_a_finished_sample": round(bucket.counts().total() / pictures, 3),
                "requests_of_the_second_run": dict(bucket.counts()),
                "wall_s": {
                    "files": round(local.wall_s, 2),
                    "bucket": round(first.wall_s, 2),
                    "bucket_again": round(again.wall_s, 2),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
