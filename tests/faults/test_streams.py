# SPDX-License-Identifier: Apache-2.0
"""Streams, folders and names that a shell can hand to a script: never a traceback."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, write_jsonl
from image_grounding.exports import FORMATS
from support.loopback import Answer, Call, Loopback
from support.results import make_line, write_results
from support.scripts import SCRIPTS, clean_environment, run_script

Maker = Callable[..., Project]
PYTHON = sys.executable
CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f]"
TEXTS = (".json", ".jsonl", ".txt", ".xml", ".md")


def shell(command: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of shell; ``$0`` is the Python, ``$@`` the arguments."""
    return subprocess.run(
        ["sh", "-c", command, PYTHON, *arguments],
        cwd=folder, env=clean_environment(), capture_output=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--nonsense",), ("--help",)], ids=["work", "usage", "help"])
def test_stdout_on_a_full_device(more: tuple[str, ...], tmp_path: Path) -> None:
    results = write_results(tmp_path, [make_line(0, [("a dog", [(1, 2, 30, 40)])])])
    script = str(SCRIPTS / "status.py" if more else SCRIPTS / "inspect.py")
    done = shell('"$0" "$@" >/dev/full', tmp_path, script, str(results), *more)
    assert done.returncode == 2, done.stderr
    assert b"error: cannot write to stdout: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["run_pipeline.py", "inspect.py", "setup_wizard.py"])
def test_a_current_folder_that_is_gone(script: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    command = f'rmdir {tmp_path}/here && "$0" "$@"'
    done = shell(command, tmp_path / "here", str(SCRIPTS / script), str(tmp_path))
    assert done.returncode == 2
    assert "the current folder is gone" in json.loads(done.stdout)["error"]
    assert b"Traceback" not in done.stderr


def test_a_current_folder_that_goes_away_during_a_run(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1, size=(64, 48))
    here = project.folder / "here"
    here.mkdir()

    def fault(call: Call) -> Answer | None:
        if here.exists():
            here.rmdir()
        return None

    server.fault = fault
    line = [str(SCRIPTS / "run_pipeline.py"), *project.overrides(server)]
    done = shell('"$0" "$@"', here, *line)
    assert (done.returncode, not here.exists()) == (0, True), done.stderr
    assert len(project.annotations()) == 1


def test_results_in_a_folder_whose_name_is_no_text(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    results = os.fsdecode(os.fsencode(project.folder) + b"/r\xff\xfe")
    line = project.overrides(server, f"results_dir={results}")
    done = shell('"$0" "$@"', project.folder, str(SCRIPTS / "run_pipeline.py"), *line)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert "can only come from the environment" in json.loads(done.stdout)["error"]
    line = project.overrides(server, "results_dir=${oc.env:WHERE}")
    command = 'WHERE="$1"; export WHERE; shift; "$0" "$@"'
    done = shell(command, project.folder, results, str(SCRIPTS / "run_pipeline.py"), *line)
    assert b"Traceback" not in done.stderr
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "done"), done.stderr
    assert Path(results, "annotations.jsonl").is_file()
    again = shell('"$0" "$@"', project.folder, str(SCRIPTS / "inspect.py"), results)
    assert (again.returncode, b"Traceback" in again.stderr) == (0, False)


FORGED = "a.png\ndone: 7 annotated (0 from checkpoints), 0 failed"
HOSTILE = "a \x1b[31mred\x1b[0m \x00 \x85 \x9b31m \u2028 \u202e rectangle \udcff"


def test_a_path_forges_no_line_of_the_console(server: Loopback, make_project: Maker) -> None:
    project = make_project(1, size=(64, 48))
    row = {"image_path": FORGED, "caption": "a red rectangle"}
    write_jsonl(project.input, [row, {"image_path": "scene0.png", "caption": "a red rectangle"}])
    for more in (("--dry-run",), ("--table", "3")):
        err = project.run(server, *more).err
        assert "a.png" in err
        assert not [line for line in err.splitlines() if line.startswith("done: 7")]


def test_hostile_text_acts_on_no_terminal_and_no_reader(
    server: Loopback, make_project: Maker, tmp_path: Path
) -> None:
    """Whatever is written, to streams and files: valid UTF-8, no half pairs, no raw controls."""
    project = make_project(1, size=(64, 48))
    caption = f"{project.scenes['scene0.png'].caption} {HOSTILE}"
    row = {"image_path": "scene0.png", "caption": caption, HOSTILE: HOSTILE}
    write_jsonl(project.input, [row, {"image_path": HOSTILE, "caption": HOSTILE}])
    ran = project.run(server, "--table", "3")
    assert (ran.code, len(project.annotations())) == (3, 1), ran.err
    streams = [ran.out + ran.err]
    for name in FORMATS:
        out = str(tmp_path / "out" / name)
        done = run_script("export.py", str(project.results), "--format", name, "-o", out)
        assert done.code == 0, done.err
        streams.append(done.out + done.err)
    streams.append(run_script("inspect.py", str(project.results)).out)
    for text in streams:
        assert not re.search(CONTROLS, text)
    written = [project.results / "annotations.jsonl", *project.results.glob("*/*.jsonl")]
    written += [path for path in (tmp_path / "out").rglob("*") if path.suffix in TEXTS]
    assert len(written) > 8
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert not re.search(CONTROLS, text), path
        assert r"\ud" not in text, path
