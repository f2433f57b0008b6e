# SPDX-License-Identifier: Apache-2.0
"""Killed, interrupted, changed, run again: nothing finished is lost, nothing asked twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from support.kept import checkpoints, give_each_a_file
from support.loopback import Answer, Call, Loopback, after_calls
from support.scenes import make_scene
from support.scripts import SCRIPTS, clean_environment, run_script

Maker = Callable[..., Project]


def test_a_second_run_asks_nothing(server: Loopback, make_project: Maker) -> None:
    project = make_project(5)
    project.run(server)
    before = (project.results / "annotations.jsonl").read_bytes()
    asked = len(server.calls)
    ran = project.run(server)
    assert ran.code == 0
    assert ran.json["counts"]["from_checkpoints"] == 5
    assert len(server.calls) == asked
    assert (project.results / "annotations.jsonl").read_bytes() == before


def test_killed_in_the_middle(server: Loopback, make_project: Maker) -> None:
    project = make_project(30, size=(64, 48))
    process = project.start(server)
    after_calls(server, 31, process.kill)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    finished = {step: len(checkpoints(project.results, step)) for step in "01"}
    assert 0 < finished["1"] < 30
    server.fault = lambda call: None
    server.calls.clear()
    ran = project.run(server)
    assert ran.code == 0, ran.err
    assert len(project.annotations()) == 30
    assert len(server.calls) == 60 - finished["0"] - finished["1"]
    assert len(set(project.ids())) == len(project.ids()) == 90
    fresh = Project(project.folder, project.scenes)
    one_go = project.run(server, f"results_dir={project.folder / 'fresh'}")
    assert one_go.code == 0
    assert read_jsonl(project.folder / "fresh" / "annotations.jsonl") == fresh.annotations()


def test_what_a_killed_run_asked_counts_among_that_of_all(
    server: Loopback, make_project: Maker
) -> None:
    """Up to its last word, which is some seconds old."""
    project, open_again, asked = make_project(8, size=(64, 48)), threading.Event(), 0
    state = project.results / "run_state.json"

    def hold(call: Call) -> None:
        if call.number > 3:
            open_again.wait(60)

    for kills in range(2):
        open_again.clear()
        server.calls.clear()
        server.probes.clear()
        server.fault = hold
        process = project.start(server, "workflow.max_workers=2")
        # Four were answered, and two are held.
        wait_for(lambda: len(server.calls) == 6)
        made = len(server.calls) + len(server.probes)
        wait_for(lambda: usage_in(state, process.pid).get("requests") == made)  # noqa: B023
        process.kill()
        process.wait()
        open_again.set()
        status = run_script("status.py", str(project.results)).json
        assert (status["status"], status["usage"]["requests"]) == ("stopped: killed", made)
        assert len(json.loads(state.read_text())["not_in_summary"]) == kills
        asked += made
    server.fault = lambda call: None
    prices = ["vlm.prices.input=1", "vlm.prices.output=1"]
    ran = project.run(server, *prices)
    assert ran.code == 0, ran.err
    of_all = ran.json["usage_of_all_runs"]
    assert of_all["runs"] == 3
    assert of_all["requests"] == asked + ran.json["usage"]["requests"]
    assert of_all["cost"] is None, "what the killed ones cost is not known"
    again = project.run(server, *prices).json["usage_of_all_runs"]
    assert (again["runs"], again["requests"]) == (4, of_all["requests"])


def usage_in(state: Path, pid: int) -> dict[str, Any]:
    """What the run of a process has written of its usage."""
    try:
        found = json.loads(state.read_text())
    except FileNotFoundError:
        return {}
    return found["usage"] or {} if found["process"]["pid"] == pid else {}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(number: signal.Signals, server: Loopback, make_project: Maker) -> None:
    project = make_project(40, size=(64, 48))
    process = project.start(server)
    server.delay = 0.02
    after_calls(server, 21, lambda: process.send_signal(number))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "interrupted"
    assert "Traceback" not in err
    done = len(project.annotations())
    assert 0 < done < 40
    assert len(server.calls) < 60, "the queue was sent after the interrupt"
    assert project.failures("0") + project.failures("1") == []
    server.fault = lambda call: None
    again = project.run(server)
    assert again.code == 0
    assert again.json["counts"]["from_checkpoints"] >= done
    assert len(project.annotations()) == 40


def test_interrupted_while_the_outputs_are_written(server: Loopback, make_project: Maker) -> None:
    """They are written to their end: what was paid for is not left to the next run."""
    project = make_project(1, size=(64, 48))
    lines = 1500
    write_jsonl(project.input, read_jsonl(project.input) * lines)
    process = project.start(server)
    temporary = project.results / ".annotations.jsonl.tmp"
    while not temporary.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "interrupted"
    assert len(project.annotations()) == lines


@pytest.mark.parametrize("how", ["closed", "reader gone"])
def test_nobody_reads_the_messages(how: str, server: Loopback, make_project: Maker) -> None:
    project = make_project(3, size=(64, 48))
    command = [sys.executable, str(SCRIPTS / "run_pipeline.py"), *project.overrides(server)]
    if how == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    process = subprocess.Popen(
        command, cwd="/", env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.close()
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    assert (process.wait(timeout=60), summary["counts"]["annotated"]) == (0, 3)
    assert len(project.annotations()) == 3
    for path in project.results.rglob("*"):
        assert path.is_dir() or b"as the spec says" not in path.read_bytes()


def test_nobody_reads_the_result(server: Loopback, make_project: Maker) -> None:
    project = make_project(2, size=(64, 48))
    process = project.start(server)
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err, "Broken" in err) == (0, False, False), err
    assert len(project.annotations()) == 2


def test_interrupted_twice_ends_at_once(server: Loopback, make_project: Maker) -> None:
    project = make_project(10, size=(64, 48))
    process = project.start(server)
    server.delay = 30.0  # nothing would come back in the grace that a first signal leaves

    def both(call: Call) -> Answer | None:
        return None

    server.fault = both
    while not server.probes:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    while "once more" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (project.results / "run_summary.json").exists()


def test_changed_and_new_lines_are_asked(server: Loopback, make_project: Maker) -> None:
    project = make_project(4)
    project.run(server)
    rows = read_jsonl(project.input)
    make_scene((320, 240), seed=77).save(project.folder / "scene0.png")
    rows[1]["caption"] = "There is a red rectangle"
    rows[2]["note"] = "other fields are not asked about"
    make_scene((320, 240), seed=4).save(project.folder / "scene4.png")
    rows.append({"image_path": "scene4.png", "caption": make_scene((320, 240), seed=4).caption})
    os.utime(project.folder / "scene3.png")  # touched, not changed
    write_jsonl(project.input, rows)
    server.calls.clear()
    ran = project.run(server)
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["from_checkpoints"] == 2
    assert len(server.calls) == 6
    assert project.annotations()[2]["note"] == "other fields are not asked about"


def test_expressions_that_were_edited_are_asked(server: Loopback, make_project: Maker) -> None:
    """Boxes belong to the very expressions that they were asked for."""
    project = make_project(2)
    project.run(server)
    path = project.results / "step_0_expression_extraction" / "annotations.jsonl"
    first, second = read_jsonl(path)
    (colour, box), *_ = project.scenes["scene0.png"].boxes
    first["expressions"][0] = {"text": f"the {colour} one"}
    write_jsonl(path, [first, second])
    server.calls.clear()
    ran = project.run(server, 'workflow.steps=["1"]')
    assert ran.code == 0, ran.err
    assert [call.step for call in server.calls] == ["1"]
    expression = project.annotations()[0]["expressions"][0]
    assert expression["text"] == f"the {colour} one"
    found = expression["instances"][0]["bbox"]
    assert max(abs(a - b) for a, b in zip(found, box, strict=True)) <= 1


def test_what_fails_again_in_a_pilot_is_listed_once(server: Loopback, make_project: Maker) -> None:
    project = make_project(3, size=(64, 48))
    server.fault = lambda call: Answer(text="no idea") if call.step == "0" else None
    assert project.run(server).code == 3
    assert project.run(server, "--limit", "2").code == 3
    assert sorted(failure["line"] for failure in project.failures("0")) == [1, 2, 3]


def test_what_a_repeated_line_dropped_counts_once(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    write_jsonl(project.input, read_jsonl(project.input) * 3)
    listed = [{"id": i, "bbox_2d": [10, 10, 90, 90]} for i in range(3)]
    listed += [{"id": 0, "bbox_2d": [10, 10, 10, 90]}]
    replies = [Answer(text=json.dumps({"instances": boxes})) for boxes in (listed, listed[:1])]
    server.fault = lambda call: replies.pop(0) if call.step == "1" else None
    ran = project.run(server)
    assert ran.code == 0, ran.err
    assert len(project.annotations()) == 3
    # Two boxes for one thing, without a label: neither is sure.
    assert ran.json["counts"]["dropped_boxes"] == {"unmatched": 2}


def test_repetitions_of_a_failed_line_are_listed(server: Loopback, make_project: Maker) -> None:
    """Every line is in the records or among the failures."""
    project = make_project(2)
    first, second = read_jsonl(project.input)
    first["caption"] += ", refused"
    write_jsonl(project.input, [first, second, first, first])
    server.fault = lambda call: Answer(status=400) if "refused" in call.prompt else None
    ran = project.run(server)
    assert ran.code == 3, ran.err
    failures = [(one["line"], one["reason"]) for one in project.failures("0")]
    repeated = [(line, "repeated_failure") for line in (3, 4)]
    assert failures == [(1, "rejected_request"), *repeated]
    assert len(project.annotations()) == 1


def test_failures_of_lines_that_are_gone_are_gone(server: Loopback, make_project: Maker) -> None:
    """Once a run has gone through the whole input; a pilot keeps what it did not look at."""
    project = make_project(3)
    rows = read_jsonl(project.input)
    write_jsonl(project.input, [*rows, {"image_path": "none.png", "caption": "a cat"}])
    assert project.run(server).code == 3
    write_jsonl(project.input, rows)
    assert project.run(server, "--limit", "2").code == 0
    assert [one["image_path"] for one in project.failures("0")] == ["none.png"]
    assert project.run(server).code == 0
    assert project.failures("0") == []


def test_any_order_gives_the_same_ids(server: Loopback, make_project: Maker) -> None:
    project = make_project(4)
    project.run(server)
    before = sorted(project.ids())
    write_jsonl(project.input, read_jsonl(project.input)[::-1])
    server.calls.clear()
    project.run(server)
    assert not server.calls
    assert next(iter(project.annotations()))["image_path"] == "scene3.png"
    assert sorted(project.ids()) == before


def test_force_reprocess_asks_everything(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    project.run(server)
    server.fault = lambda call: Answer(status=400) if call.step == "1" else None
    ran = project.run(server, "workflow.force_reprocess=true")
    assert ran.code == 3
    assert project.annotations() == [], "an old answer must not stand in for a failed new one"


def test_what_is_finished_outlives_an_endpoint_that_does_not(
    server: Loopback, make_project: Maker
) -> None:
    """force_reprocess replaces results, it does not throw them away."""
    project = make_project(6, size=(64, 48))
    project.run(server)
    before = project.annotations()
    server.fault = lambda call: Answer(status=500) if call.step else None
    again = ("workflow.force_reprocess=true", "workflow.max_attempts=1")
    ran = project.run(server, *again)
    failed = {entry["sample_id"] for entry in project.failures("0")}
    left = [record for record in before if record["sample_id"] not in failed]
    assert (ran.code, project.annotations()) == (3, left), ran.err
    server.fault = lambda call: None
    assert project.run(server).code == 0
    assert project.annotations() == before


def test_failures_are_told_until_they_are_mended(server: Loopback, make_project: Maker) -> None:
    """A pilot says nothing of samples that it does not take; nor does a run that is stopped."""
    project = make_project(4, size=(64, 48))
    rows: list[Any] = [*read_jsonl(project.input), "no JSON"]
    write_jsonl(project.input, [*rows, rows[3]])
    server.fault = lambda call: Answer(status=400) if call.step == "1" else None
    ran = project.run(server)
    assert ran.json["counts"]["failed"] == 6
    everything = [entry["line"] for entry in project.failures("1")]
    assert sorted(everything) == [1, 2, 3, 4, 6]
    server.fault = lambda call: None
    ran = project.run(server, "--limit", "2")
    assert ran.code == 0, ran.err
    assert sorted(entry["line"] for entry in project.failures("1")) == [3, 4, 6]
    assert [entry["line"] for entry in project.failures("0")] == [5]
    assert (ran.json["counts"]["failed"], ran.json["counts"]["failed_earlier"]) == (0, 4)
    server.names = ["gone"]
    assert project.run(server).code == 4
    assert sorted(entry["line"] for entry in project.failures("1")) == [3, 4, 6]
    server.names = ["test-vlm"]
    path = project.results / "step_1_grounding" / "failures.jsonl"
    with path.open("a", encoding="utf-8") as file:  # as a run that was killed leaves it
        file.write(path.read_text(encoding="utf-8") + '{"sample_id": "cut')
    assert project.run(server, "--limit", "1").code == 0
    assert sorted(entry["line"] for entry in project.failures("1")) == [3, 4, 6]
    assert project.run(server).code == 3
    assert project.failures("1") == []


def test_an_image_that_changes_while_the_run_is_at_work(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(2, size=(64, 48))
    first = project.folder / "scene0.png"

    def fault(call: Call) -> Answer | None:
        if call.number == 3:
            make_scene((64, 48), seed=99).save(first)
        return None

    server.fault = fault
    ran = project.run(server, "workflow.max_workers=1")
    assert ran.code == 3, ran.err
    (failure,) = project.failures("1")
    assert (failure["line"], failure["reason"]) == (1, "changed_meanwhile")
    assert [record["image_path"] for record in project.annotations()] == ["scene1.png"]


def test_checkpoints_of_another_model_are_named_and_kept(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(3)
    project.run(server)
    server.names = ["other-vlm"]
    ran = project.run(server, "vlm.openai.model_name=other-vlm")
    assert ran.code == 0
    assert ran.json["checkpoints_of_another_teacher"] == {"model": 6}
    assert "another model" in ran.err


def test_a_broken_checkpoint_in_a_file_of_its_own_is_none(
    server: Loopback, make_project: Maker
) -> None:
    broken = ["", "{", "null", '{"format": 0}', "\x00\x00"]
    project = make_project(len(broken))
    project.run(server)
    for path, text in zip(give_each_a_file(project.results, "1"), broken, strict=True):
        path.write_text(text)
    server.calls.clear()
    assert project.run(server).code == 0
    assert [call.step for call in server.calls] == ["1"] * len(broken)


def test_checkpoints_in_files_of_their_own(server: Loopback, make_project: Maker) -> None:
    """As they once were; a run adds to them and takes from them."""
    project = make_project(3)
    assert project.run(server).code == 0
    wanted = project.annotations()
    files = [*give_each_a_file(project.results, "0"), *give_each_a_file(project.results, "1")]
    server.calls.clear()
    assert project.run(server).code == 0
    assert (server.calls, project.annotations()) == ([], wanted)
    files[-1].unlink()
    assert project.run(server).code == 0
    assert [call.step for call in server.calls] == ["1"]
    assert len(checkpoints(project.results, "1")) == 1
    assert project.annotations() == wanted
    status = run_script("status.py", str(project.results)).json
    assert status["checkpoints"] == {"0": 3, "1": 3}


def test_finished_samples_outlive_their_pictures(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    project.run(server)
    (project.folder / "scene0.png").unlink()
    ran = project.run(server)
    assert ran.code == 0
    assert len(project.annotations()) == 2


def test_no_leftovers(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    project.run(server)
    names = {path.name for path in project.results.iterdir()}
    assert names == {
        ".finished.json", ".lock", ".outputs.json", "annotations.jsonl", "run_state.json",
        "run_summary.json", "step_0_expression_extraction", "step_1_grounding",
    }  # fmt: skip
    assert not list(project.results.rglob("*.tmp"))


def test_disk_full(make_project: Maker, server: Loopback, tmp_path: Path) -> None:
    """Files that take no more bytes: a clear end, and what is there stays whole."""
    project = make_project(3)
    project.run(server)
    before = (project.results / "annotations.jsonl").read_bytes()
    rows = read_jsonl(project.input)
    more = [{**rows[0], "caption": "There is a red rectangle"}, *rows[1:] * 30]  # over a buffer
    write_jsonl(project.input, [*rows, *more])
    limit = "import resource, runpy, signal, sys; "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", limit, str(SCRIPTS / "run_pipeline.py"),
         *project.overrides(server)],
        env=clean_environment(), cwd="/", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stdout
    assert "Traceback" not in done.stderr
    assert (project.results / "annotations.jsonl").read_bytes() == before
    assert not list(project.results.rglob("*.tmp"))
