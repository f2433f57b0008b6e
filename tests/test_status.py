# SPDX-License-Identifier: Apache-2.0
"""How a run is going: its pace, and what another terminal sees of it."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gethostname
from subprocess import Popen
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.input.samples import SampleReader
from image_grounding.input.selection import Selection
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import Process, RunState
from image_grounding.run.progress import Pace, Quiet, Snapshot
from image_grounding.run.state_keeper import StateKeeper
from image_grounding.run.status import status_of, total_of
from image_grounding.steps.table import all_steps
from support.loopback import Answer, Loopback
from support.scripts import Ran, Started, run_script, start_script

Maker = Callable[..., Project]

START = Snapshot(
    total=100, done=0, failed=0, repeated=0, resumed=0, steps=2, steps_done=0, half_done=0,
    asking_s=0.0, in_flight=0, limit=8, requests=0, retries=0, tokens=0,
)  # fmt: skip


def test_pace_is_known_before_the_first_sample_is_through() -> None:
    pace = Pace()
    pace.update(START)
    assert pace.seconds_left(START) is None
    now = dataclasses.replace(START, steps_done=8, half_done=8, asking_s=2.0, requests=16)
    pace.update(now)
    assert pace.rate(now) == 2.0
    assert pace.seconds_left(now) == (200 - 8) / 4


def test_what_was_there_already_says_nothing_of_the_pace() -> None:
    pace = Pace()
    now = dataclasses.replace(START, done=60, resumed=60, steps_done=10, half_done=2, asking_s=5.0)
    pace.update(now)
    assert (pace.rate(now), pace.seconds_left(now)) == (1.0, (40 * 2 - 2) / 2)


def test_repeated_lines_are_not_left() -> None:
    now = dataclasses.replace(START, done=50, failed=5, repeated=45)
    assert (now.left, now.steps_left) == (0, 0)


def test_pace_follows_a_change() -> None:
    """After an outage or a climb to more requests at a time, the last minute counts."""
    pace = Pace()
    for second in range(1, 301):
        fast = max(0, second - 200) * 10
        now = dataclasses.replace(START, total=10_000, steps_done=second + fast, asking_s=second)
        pace.update(now)
    assert pace.rate(now) == 5.5


def write_state(folder: Path, status: str, **facts: Any) -> Path:
    """What a run into ``folder`` has left, or leaves just now."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC).isoformat()
    state = RunState(status, Process(1, "elsewhere"), now, now, ("0", "1"), None, 10)
    ResultsFolder(folder).write_state(dataclasses.replace(state, **facts))
    return folder


@dataclasses.dataclass(frozen=True)
class Watched:
    """``status.py --watch`` of two runs, one of which was killed when it had shown ``line``."""

    folders: tuple[Path, Path]
    pid: int
    watch: Started
    line: str


@pytest.fixture(scope="module", autouse=True)
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """It looks again after some seconds, in which other tests run."""
    folder = tmp_path_factory.mktemp("watched")
    at_work, done = folder / "shard-1", folder / "shard-2"
    with Popen(["sleep", "60"]) as process:
        began = Path(f"/proc/{process.pid}/stat").read_text().split()[21]
        of_run = Process(process.pid, gethostname(), began)
        write_state(at_work, "running", finished=4, process=of_run)
        write_state(done, "done", finished=10)
        watch = start_script("status.py", str(at_work), str(done), "--watch")
        line = watch.stderr.readline()
        process.kill()  # and is a zombie until somebody asks how it ended
        yield Watched((at_work, done), process.pid, watch, line)
        watch.kill()


def status(project: Project, *options: str) -> Ran:
    return run_script("status.py", "results", *options, cwd=project.folder)


def test_how_far_the_outputs_are_is_known(make_project: Maker) -> None:
    """They take minutes for a million lines, in which a run elsewhere would count as silent."""
    messages: list[str] = []

    class Reporter(Quiet):
        def say(self, message: str) -> None:
            messages.append(message)

    project = make_project(1, size=(64, 48))
    folder = ResultsFolder(project.folder)
    selection = Selection(SampleReader(project.input, str(project.folder)))
    keeper = StateKeeper(folder, Reporter(), selection, all_steps())
    lines, states = 0, []
    for _ in keeper.writing(range(25_000)):
        lines += 1
        if lines in (10_000, 10_001, 25_000):
            states.append(folder.read_state())
    assert lines == 25_000
    assert messages == [f"writing the outputs: {n} lines so far" for n in (10_000, 20_000)]
    assert [state is not None for state in states] == [False, True, True]
    assert states[-1] and (states[-1].status, states[-1].seconds_left) == ("running", None)


def test_status_changes_nothing_and_knows_the_end(server: Loopback, make_project: Maker) -> None:
    project = make_project(3, size=(64, 48))
    rows = read_jsonl(project.input)
    write_jsonl(project.input, [*rows, rows[0], "{bad"])
    assert project.run(server).code == 3
    before = {path: path.stat().st_mtime_ns for path in [project.results, *contents(project)]}
    seen = status(project, "--watch")  # there is nothing to wait for
    assert seen.code == 0
    assert "3 finished, 1 failed, 0 left" in seen.err
    state = seen.json
    assert (state["status"], state["running"]) == ("some samples failed", False)
    counts = ("lines", "finished", "failed", "repeated_lines", "left")
    assert [state[name] for name in counts] == [5, 3, 1, 1, 0]
    assert state["checkpoints"] == {"0": 3, "1": 3}
    assert before == {
        path: path.stat().st_mtime_ns for path in [project.results, *contents(project)]
    }


def contents(project: Project) -> list[Path]:
    return sorted(project.results.rglob("*"))


def test_what_ended_a_run_is_kept(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    server.fault = lambda call: Answer(status=401)
    assert project.run(server).code == 4
    state = status(project).json
    assert (state["status"], state["left"]) == ("endpoint unusable", 2)
    assert "401" in state["error"]
    write_jsonl(project.input, ["{bad"])
    assert project.run(server).code == 2
    state = status(project).json
    assert (state["status"], state["failed"]) == ("stopped", 1)
    assert "no line of" in state["error"]


def test_a_later_process_of_the_same_number_is_another() -> None:
    this = Process.this()
    assert this.is_alive()
    assert dataclasses.replace(this, mark="0").is_alive() is False
    assert dataclasses.replace(this, mark=None).is_alive()
    assert dataclasses.replace(this, host="elsewhere").is_alive() is None


@pytest.mark.parametrize(("seconds", "status"), [(5, "running"), (300, "silent for 300 s, and")])
def test_a_run_on_another_machine_is_believed_for_a_while(
    seconds: int, status: str, tmp_path: Path
) -> None:
    then = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    state = RunState("running", Process(1, "elsewhere"), then, then, ("0", "1"), None, 9)
    ResultsFolder(tmp_path).write_state(state)
    assert status_of(tmp_path)["status"].startswith(status)


@pytest.mark.parametrize("text", [None, "{", "{}", '{"status": "running", "process": 3}'])
def test_no_state(text: str | None, tmp_path: Path) -> None:
    if text:
        (tmp_path / "run_state.json").write_text(text)
    ran = run_script("status.py", str(tmp_path))
    assert (ran.code, ran.json["exit_code"]) == (2, 2)
    assert "no run has left its state in" in ran.err
    assert "no such results" in run_script("status.py", str(tmp_path / "other")).err


def usage(requests: int, cost: float | None) -> dict[str, Any]:
    return {"requests": requests, "cost": cost}


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Four folders: two runs at work, one that has ended, and one that has not begun."""
    at_work = {"samples_a_second": 1.5, "seconds_left": 4.0, "finished": 4, "failed": 1}
    write_state(tmp_path / "shard-1", "running", usage=usage(12, 0.25), **at_work)
    away = {"state": "not answering for 9 s", "in_flight": 1, "limit": 2}
    slower = {"samples_a_second": 0.5, "seconds_left": 14.0, "finished": 3, "endpoint": away}
    write_state(tmp_path / "shard-2", "running", usage=usage(8, 0.5), **slower)
    write_state(tmp_path / "shard-3", "done", usage=usage(20, 1.0), finished=8, repeated=2)
    (tmp_path / "shard-4").mkdir()
    return [f"shard-{number}" for number in range(1, 5)]


def test_several_runs_are_added_up(shards: list[str], tmp_path: Path) -> None:
    seen = run_script("status.py", *shards, cwd=tmp_path)
    assert (seen.code, seen.json["exit_code"]) == (0, 0)
    assert seen.json["total"] == {
        "lines": 30, "finished": 15, "failed": 1, "left": 12, "requests": 40, "cost": 1.75,
        "samples_a_second": 2.0, "seconds_left": 14.0, "running": 2,
        "status": "2 running, 1 done, 1 not started",
    }  # fmt: skip
    for name, run in zip(shards[:3], seen.json["runs"], strict=False):
        alone = run_script("status.py", name, "--quiet", cwd=tmp_path).json
        assert {"exit_code": 0, **run} == alone
    not_begun = seen.json["runs"][3]
    assert not_begun.keys() == seen.json["runs"][0].keys()
    assert {name: value for name, value in not_begun.items() if value is not None} == {
        "status": "not started", "running": False, "results_dir": "shard-4", "jobs": [],
    }  # fmt: skip
    lines = seen.err.splitlines()
    assert len(lines) == 5
    assert lines[1].endswith("; 0.5/s; about 14 s left; endpoint not answering for 9 s; cost 0.5")
    assert lines[2].startswith("shard-3: done (pid 1 on elsewhere, ")
    assert lines[3] == "shard-4: not started"
    assert lines[4] == (
        "in all 2 running, 1 done, 1 not started; 15 finished, 1 failed, 12 left; 2.0/s; about "
        "14 s left; cost 1.75; 1 without answers just now"
    )


def test_what_one_run_cannot_tell_is_unknown_of_all(tmp_path: Path) -> None:
    write_state(tmp_path / "a", "running", usage=usage(1, None), seconds_left=None)
    write_state(tmp_path / "b", "running", usage=usage(2, 0.5), seconds_left=9.0)
    write_state(tmp_path / "c", "stopped")  # before it asked anything
    total = run_script("status.py", "a", "b", "c", cwd=tmp_path).json["total"]
    assert (total["cost"], total["seconds_left"], total["requests"]) == (None, None, 3)
    total = run_script("status.py", "b", "c", cwd=tmp_path).json["total"]
    assert (total["cost"], total["seconds_left"], total["running"]) == (0.5, 9.0, 1)
    (tmp_path / "d").mkdir()
    total = run_script("status.py", "c", "d", cwd=tmp_path).json["total"]
    assert (total["running"], total["samples_a_second"], total["seconds_left"]) == (0, None, None)
    assert total["status"] == "1 stopped, 1 not started"


def test_runs_of_which_nothing_is_seen_count_together(tmp_path: Path) -> None:
    for seconds in (300, 400):
        then = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
        state = RunState("running", Process(1, "elsewhere"), then, then, ("0", "1"), None, 9)
        (tmp_path / str(seconds)).mkdir()
        ResultsFolder(tmp_path / str(seconds)).write_state(state)
    assert total_of([status_of(path) for path in tmp_path.iterdir()])["status"] == "2 silent"


def test_folders_that_cannot_be_added_up(shards: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run_state.json").write_text("{")
    (tmp_path / "empty").mkdir()
    for given, words in (
        ([*shards, "none"], "no such results: none"),
        ([*shards, "broken"], "no run has left its state in broken"),
        (["shard-4", "empty"], "no run has left its state in shard-4"),
        ([*shards, "./shard-2/"], "shard-2 is given twice"),
    ):
        ran = run_script("status.py", *given, cwd=tmp_path)
        assert (ran.code, ran.json["exit_code"], ran.json["error"]) == (2, 2, words)


def test_several_runs_are_watched_in_one_line_until_none_runs(watched: Watched) -> None:
    assert watched.line.startswith("in all 1 running, 1 done; 14 finished, ")
    out, err = watched.watch.communicate()
    assert watched.watch.returncode == 0
    assert json.loads(out)["total"]["status"] == "1 stopped: killed, 1 done"
    first, second, total = err.splitlines()
    at_work, done = watched.folders
    assert first.startswith(f"{at_work}: stopped: killed (pid {watched.pid} on ")
    assert second.startswith(f"{done}: done (")
    assert total == "in all 1 stopped: killed, 1 done; 14 finished, 0 failed, 6 left"
