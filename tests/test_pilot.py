# SPDX-License-Identifier: Apache-2.0
"""Pilots: a few samples of the input, which the whole run does not ask for again."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.errors import InputError
from image_grounding.input.samples import BadLine, Sample, SampleReader
from image_grounding.input.selection import Pilot, Selection
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import write_annotations
from image_grounding.steps.table import all_steps
from support.loopback import Answer, Loopback
from support.scripts import run_script

Maker = Callable[..., Project]


def lines_of(path: Path, pilot: Pilot) -> list[int]:
    return [item.line for item in Selection(SampleReader(path), pilot)]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 samples among bad lines, blank ones and repetitions."""
    rows: list[Any] = ["{bad"]
    for index in range(100):
        rows.append({"image_path": f"{index % 7}.jpg", "caption": f"caption {index}"})
        rows += [["no object"], "", rows[1]][: index % 4]
    return write_jsonl(tmp_path_factory.mktemp("pilot") / "input.jsonl", rows)


def test_limit_takes_the_first_samples(mixed: Path) -> None:
    assert lines_of(mixed, Pilot(4)) == [2, 3, 5, 8]


@settings(max_examples=10)
@given(first=st.integers(1, 120), second=st.integers(1, 120), seed=st.integers())
def test_a_draw_is_even_and_repeatable(mixed: Path, first: int, second: int, seed: int) -> None:
    few, many = sorted((first, second))
    drawn = lines_of(mixed, Pilot(few, seed))
    assert len(drawn) == min(few, 100)
    assert drawn == sorted(drawn) == lines_of(mixed, Pilot(few, seed))
    assert set(drawn) <= set(lines_of(mixed, Pilot(many, seed)))


def test_a_draw_is_uniform(mixed: Path) -> None:
    draws = [lines_of(mixed, Pilot(20, seed)) for seed in range(40)]
    counts = [sum(line in drawn for drawn in draws) for line in lines_of(mixed, Pilot(100))]
    # 40 draws of 20 of 100: 8 times each, with a standard deviation of 2.5.
    assert min(counts) >= 1
    assert max(counts) <= 20


def test_a_draw_does_not_depend_on_the_order(mixed: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(reversed(mixed.read_text().splitlines(keepends=True))))
    pilot = Pilot(12, 5)

    def drawn(path: Path) -> set[str]:
        return {item.sample_id for item in Selection(SampleReader(path), pilot)}

    assert drawn(mixed) == drawn(turned)


@pytest.mark.parametrize("pilot", [Pilot(3), Pilot(3, 0)])
def test_nothing_to_take(pilot: Pilot, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "input.jsonl", ["{bad"])
    with pytest.raises(InputError, match="dry-run"):
        Selection(SampleReader(tmp_path / "input.jsonl"), pilot)


@pytest.mark.parametrize(
    ("options", "selection"),
    [
        (["--limit", "3"], {"limit": 3}),
        (["--sample", "3", "--seed", "4"], {"sample": 3, "seed": 4}),
    ],
)
def test_a_pilot_counts_when_the_whole_is_run(
    options: list[str], selection: dict[str, int], server: Loopback, make_project: Maker
) -> None:
    project = make_project(8, size=(96, 64))
    good = read_jsonl(project.input)
    write_jsonl(project.input, [*good, "{bad", good[0]])
    plan = project.run(server, "--dry-run", *options)
    assert plan.json["selection"] == selection
    assert plan.json["estimate"]["requests"] == 6
    pilot = project.run(server, *options)
    assert pilot.code == 0, pilot.err
    records = project.annotations()
    assert len(records) == 3
    assert len(server.calls) == 6
    summary = json.loads((project.results / "run_summary.json").read_text())
    assert summary["selection"] == selection
    assert (summary["counts"]["lines"], summary["counts"]["annotated"]) == (3, 3)
    whole = project.run(server)
    assert whole.code == 3, "the bad line is reported now"
    assert len(server.calls) == 16
    assert whole.json["selection"] is None
    assert whole.json["counts"]["from_checkpoints"] == 3
    everything = project.annotations()
    assert [record["caption"] for record in everything] == [
        row["caption"] for row in [*good, good[0]]
    ]
    assert [record for record in everything[:8] if record in records] == records


def test_a_pilot_takes_nothing_away(server: Loopback, make_project: Maker) -> None:
    """Over a results folder that holds more: all that is finished stays in the outputs."""
    project = make_project(6, size=(96, 64))
    rows = read_jsonl(project.input)
    server.fault = lambda call: Answer(status=400) if rows[1]["caption"] in call.prompt else None
    assert project.run(server).code == 3
    before = project.annotations()
    assert [record["caption"] for record in before] == [
        row["caption"] for row in (rows[0], *rows[2:])
    ]
    server.fault = lambda call: None
    server.calls.clear()
    pilot = project.run(server, "--limit", "3")
    assert pilot.code == 0, pilot.err
    assert len(server.calls) == 2
    after = project.annotations()
    assert [record["caption"] for record in after] == [row["caption"] for row in rows]
    assert [after[0], *after[2:]] == before


def test_a_pilot_reads_no_further_than_it_must(server: Loopback, make_project: Maker) -> None:
    project = make_project(5, size=(96, 64))
    assert project.run(server, "--limit", "2").code == 0
    before = project.annotations()

    def two_and_no_more() -> Iterator[Sample | BadLine]:
        yield from islice(SampleReader(project.input, str(project.folder)), 2)
        raise AssertionError("there was nothing left to find")

    written = write_annotations(
        ResultsFolder(project.results), two_and_no_more(), all_steps(), {}, whole=False, pilot=True
    )
    assert set(written.records.values()) == {2}
    assert project.annotations() == before


def test_options_that_exclude_each_other() -> None:
    ran = run_script("run_pipeline.py", "--limit", "1", "--sample", "2")
    assert ran.code == 2
    assert "exclude each other" in ran.err
    assert run_script("run_pipeline.py", "--limit", "0").code == 2
