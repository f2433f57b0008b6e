# SPDX-License-Identifier: Apache-2.0
"""Shards: parts of an input, each run into a folder of its own as if it were all there is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.errors import SpecError
from image_grounding.input.samples import BadLine, Sample, SampleReader
from image_grounding.input.selection import Pilot, Selection
from image_grounding.input.shard import Shard
from support.loopback import Loopback
from support.scripts import run_script

Maker = Callable[..., Project]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 samples of 40 pictures among bad lines, blank ones and repetitions."""
    rows: list[Any] = []
    for number in range(200):
        rows.append({"image_path": f"{number % 40}.jpg", "caption": f"caption {number}"})
        rows += [["no object"], "", rows[number // 2], "{bad"][: number % 5]
    return write_jsonl(tmp_path_factory.mktemp("shards") / "input.jsonl", rows)


@settings(max_examples=5)
@given(of=st.integers(1, 9), by_picture=st.booleans())
def test_each_line_is_in_one_shard(mixed: Path, of: int, by_picture: bool) -> None:
    whole = list(SampleReader(mixed))
    shards = [Shard(number, of, by_picture) for number in range(1, of + 1)]
    parts = [list(SampleReader(mixed, shard=shard)) for shard in shards]
    assert sorted(map(repr, whole)) == sorted(repr(item) for part in parts for item in part)
    for shard, part in zip(shards, parts, strict=True):
        assert [item.line for item in part] == sorted(item.line for item in part)
        assert SampleReader(mixed, shard=shard).count() == len(part)
        assert Shard.from_plain(json.loads(json.dumps(shard.plain()))) == shard
    of_sample, of_picture = (
        {(name(item), number) for number, part in enumerate(parts) for item in part
         if isinstance(item, Sample)}
        for name in (lambda item: item.sample_id, lambda item: item.image_path)
    )  # fmt: skip
    assert len(of_sample) == 200, "repetitions of a pair are in one shard"
    if by_picture:
        assert len(of_picture) == 40


def test_shards_are_even(mixed: Path) -> None:
    counts = [
        sum(
            isinstance(item, Sample) and item.occurrence == 1
            for item in SampleReader(mixed, shard=s)
        )
        for s in (Shard(number, 4) for number in range(1, 5))
    ]
    # 200 in 4: 50 each, with a standard deviation of 6.
    assert 26 <= min(counts) <= max(counts) <= 74


def test_where_a_pair_belongs_never_changes() -> None:
    """Shards are resumed by later versions and merged on other machines."""
    found = [
        [number for number in range(1, 9) if Shard(number, 8, by_picture).holds("a/b.jpg", "A dog")]
        for by_picture in (False, True)
    ]
    assert found == [[7], [3]]
    assert [n for n in range(1, 4) if Shard(n, 3).holds("half \ud800.jpg", "é")] == [1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/5", "", "1.0/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(SpecError, match="I/N, with I from 1 to N"):
        Shard.parse(text)


def test_a_variable_that_is_not_set_is_no_whole_input() -> None:
    ran = run_script("run_pipeline.py", "--shard", "", "results_dir=x", "data.input_jsonl=y")
    assert (ran.code, "--shard takes I/N" in ran.json["error"]) == (2, True)


def test_a_pilot_of_a_shard(mixed: Path) -> None:
    shard = Shard(2, 3)
    part = [item for item in SampleReader(mixed, shard=shard) if isinstance(item, Sample)]
    first = [item.line for item in part if item.occurrence == 1][:7]
    assert [item.line for item in Selection(SampleReader(mixed, shard=shard), Pilot(7))] == first
    drawn = list(Selection(SampleReader(mixed, shard=shard), Pilot(9, seed=3)))
    assert len(drawn) == 9
    assert {item.line for item in drawn} <= {item.line for item in part}


def test_a_shard_is_all_there_is_to_its_run(server: Loopback, make_project: Maker) -> None:
    project = make_project(7, size=(64, 48))
    rows: list[Any] = read_jsonl(project.input)
    write_jsonl(project.input, [*rows, "{bad", rows[0]])
    mine = [item for item in SampleReader(project.input, shard=Shard(1, 2))]
    samples = [item for item in mine if isinstance(item, Sample) and item.occurrence == 1]
    assert 0 < len(samples) < 7
    bad = sum(isinstance(item, BadLine) for item in mine)

    plan = project.run(server, "--dry-run", "--shard", "1/2")
    assert (plan.json["lines"], plan.json["samples"]) == (len(mine), len(samples))
    assert plan.json["estimate"]["requests"] == 2 * len(samples)
    assert plan.json["shard"] == {"number": 1, "of": 2, "by": "sample_id"}

    ran = project.run(server, "--shard", "1/2")
    assert ran.code == (3 if bad else 0), ran.err
    counts = ran.json["counts"]
    assert (counts["lines"], counts["failed"], counts["not_attempted"]) == (len(mine), bad, 0)
    assert ran.json["shard"] == plan.json["shard"]
    captions = [item.caption for item in mine if isinstance(item, Sample)]
    assert [record["caption"] for record in project.annotations()] == captions
    assert len(server.calls) == 2 * len(samples)

    again = project.run(server, "--shard", "1/2")
    assert again.json["counts"]["from_checkpoints"] == len(samples)
    assert len(server.calls) == 2 * len(samples)


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        (["--shard", "1/2"], ["--shard", "2/2"], "holds shard 1/2, and this run is of shard 2/2"),
        (["--shard", "1/2"], [], "holds shard 1/2, and this run is of the whole input"),
        ([], ["--shard", "1/2"], "holds results of a whole input, and this run is of shard 1/2"),
        (["--shard", "1/2"], ["--shard", "1/2", "workflow.captions_per_request=5"],
         "another workflow.captions_per_request"),
    ],
)  # fmt: skip
def test_a_folder_holds_one_shard(
    first: list[str], then: list[str], words: str, server: Loopback, make_project: Maker
) -> None:
    project = make_project(6, size=(64, 48))
    assert project.run(server, *first).code == 0
    before = (project.results / "annotations.jsonl").read_bytes()
    asked = len(server.calls)
    for more in ([], ["--dry-run"]):
        ran = project.run(server, *then, *more)
        assert ran.code == 2
        assert words in ran.json["error"]
        assert "results_dir of its own" in ran.json["error"]
    assert len(server.calls) == asked
    assert (project.results / "annotations.jsonl").read_bytes() == before


def test_a_shard_may_hold_nothing(server: Loopback, make_project: Maker) -> None:
    """So that no job of an array fails because there are more jobs than samples."""
    project = make_project(1, size=(64, 48))
    (pair,) = read_jsonl(project.input)
    empty = next(n for n in (1, 2, 3) if not Shard(n, 3).holds(pair["image_path"], pair["caption"]))
    for more in (["--dry-run"], [], ["--sample", "5"]):
        ran = project.run(server, "--shard", f"{empty}/3", *more)
        assert ran.code == 0, ran.err
    assert f"shard {empty}/3 holds no line of" in ran.err
    assert project.annotations() == []
    assert ran.json["counts"]["lines"] == 0
    write_jsonl(project.input, [])
    ran = project.run(server, "--shard", f"{empty}/3")
    assert (ran.code, "has no lines" in ran.json["error"]) == (2, True)


def test_a_shard_of_bad_lines_alone(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    write_jsonl(project.input, ["{bad", "{bad"])
    assert project.run(server, "--shard", "1/2").code == 3
    assert [failure["line"] for failure in project.failures("0")] == [1]


def test_failures_are_in_the_order_of_the_input(server: Loopback, make_project: Maker) -> None:
    """Whenever they came, so that a merge can write what one run does."""
    project = make_project(2, size=(64, 48))
    rows = read_jsonl(project.input)
    gone = [{"image_path": f"gone{n}.png", "caption": "a cat"} for n in range(3)]
    write_jsonl(project.input, [gone[0], rows[0], "{bad", gone[1], gone[0], rows[1], gone[2]])
    assert project.run(server).code == 3
    assert [failure["line"] for failure in project.failures("0")] == [1, 3, 4, 5, 7]
