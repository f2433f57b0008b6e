# SPDX-License-Identifier: Apache-2.0
"""A batch queue is asked about pictures in a bucket; the results are in a folder."""

from collections.abc import Callable

from conftest import Project, read_jsonl
from faults.test_batch import until_done
from support.batch_server import BatchServer
from support.buckets import BUCKET, serving


def test_a_batch_of_pictures_in_a_bucket(make_project: Callable[..., Project]) -> None:
    project = make_project(3, size=(64, 48))
    with serving() as bucket, BatchServer() as queue:
        for name in project.scenes:
            bucket.put(f"photos/{name}", (project.folder / name).read_bytes())
        bucket.put("captions.jsonl", project.input.read_bytes())
        addresses = (
            f"data.image_root=s3://{BUCKET}/photos",
            f"data.input_jsonl=s3://{BUCKET}/captions.jsonl",
        )
        ran = until_done(project, queue, *addresses, **bucket.environment)
        assert (ran.code, ran.json["counts"]["annotated"]) == (0, 3), ran.err
        found = project.annotations()
        assert project.run(queue, f"results_dir={project.folder / 'files'}").code == 0
    assert found == read_jsonl(project.folder / "files" / "annotations.jsonl")
