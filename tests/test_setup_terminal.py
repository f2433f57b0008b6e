# SPDX-License-Identifier: Apache-2.0
"""The setup wizard with a person: a pseudo-terminal, against the loopback server."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Project
from image_grounding.spec import load_spec
from support.loopback import Loopback
from support.wizard import CLEAR, Wizard, run_wizard

Maker = Callable[..., Project]

KEY = "nvapi-Sup3rSecretSup3rSecret"
INPUT, ROOT, ENDPOINT = "Input JSONL", "Folder that image paths", "Which model annotates?"
HOSTING, RUNNING, URL = "Hosted by NVIDIA", "Is the server running?", "Address of the endpoint"
VARIABLE, MODEL, STEPS = "NAME of the environment variable", "? Model", "Steps to run"
RESULTS, RESUME, WORKERS = (
    "Folder for the results",
    "Resume, or start afresh?",
    "Requests in flight",
)
OUTPUT, CHECK = "Where to write the spec", "Check the endpoint now?"
# Answers that a spec of any endpoint needs, as flags.
GIVEN = ["--input", "input.jsonl", "--image-root", "", "--steps", "0,1", "--results-dir", "results"]
GIVEN += ["--output", "spec.yaml"]

ENVIRONMENT = dict.fromkeys(("GOOGLE_API_KEY", "NVIDIA_API_KEY", "VLLM_API_KEY"), KEY)
ENVIRONMENT["GOOGLE_GEMINI_BASE_URL"] = "http://localhost:1"
OPENAI = {"base_url": "URL", "model_name": "test-vlm"}
# What is answered after the endpoint; the same as flags; what the spec's vlm section is.
CHOICES: dict[str, tuple[list[tuple[str, str]], list[str], dict[str, Any]]] = {
    "gemini": (
        [(VARIABLE, ""), (MODEL, "gemini-3.8-flash")],
        ["--model", "gemini-3.8-flash"],
        {"backend": "gemini", "gemini": {"model": "gemini-3.8-flash"}},
    ),
    "nim": (
        [(HOSTING, ""), (URL, f"{CLEAR}URL"), (VARIABLE, ""), (MODEL, "test-vlm")],
        ["--nim-hosting", "hosted", "--base-url", "URL", "--model", "test-vlm"],
        {"backend": "openai", "openai": {"api_key": "${oc.env:NVIDIA_API_KEY}", **OPENAI}},
    ),
    "tao": (
        [(RUNNING, ""), (URL, f"{CLEAR}URL"), (VARIABLE, ""), (MODEL, "test-vlm")],
        ["--base-url", "URL", "--model", "test-vlm"],
        {"backend": "openai", "openai": OPENAI},
    ),
    "vllm": (
        [(RUNNING, "no"), (URL, ""), (VARIABLE, "VLLM_API_KEY"), (MODEL, "my/model")],
        ["--running", "no", "--key-variable", "VLLM_API_KEY", "--model", "my/model"],
        {
            "backend": "openai",
            "openai": {
                "api_key": "${oc.env:VLLM_API_KEY}",
                "base_url": "http://localhost:8000/v1",
                "model_name": "my/model",
            },
        },
    ),
    "custom": (
        [(URL, "URL"), (VARIABLE, ""), (MODEL, "test-vlm")],
        ["--base-url", "URL", "--model", "test-vlm"],
        {"backend": "openai", "openai": OPENAI},
    ),
    "local": ([], [], {"backend": "local"}),
}


def start(project: Project, *flags: str) -> Wizard:
    return Wizard(project.folder, *flags, **ENVIRONMENT)


def nothing_is_left(project: Project, before: set[Path]) -> bool:
    return set(project.folder.iterdir()) - before == {project.folder / "stdout.json"}


def files_without(folder: Path, secret: str) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return all(secret.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize("endpoint", CHOICES)
def test_each_endpoint(endpoint: str, server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    server.names = ["words-only", "test-vlm"]
    server.key = KEY if endpoint == "nim" else None
    answers, flags, vlm = CHOICES[endpoint]
    whole = endpoint == "gemini"  # what all endpoints are asked for is asked for once
    wizard = start(project, *([] if whole else GIVEN))
    begin = [(INPUT, "input.jsonl"), (ROOT, "")] if whole else []
    end = [(STEPS, ""), (RESULTS, ""), (WORKERS, ""), (OUTPUT, "")] if whole else [(WORKERS, "")]
    end += [] if endpoint == "local" else [(CHECK, "n")]
    for question, keys in [*begin, (ENDPOINT, endpoint), *answers, *end]:
        wizard.answer(question, keys.replace("URL", server.base_url))
    assert wizard.end() == 0, wizard.text
    path = project.folder / "spec.yaml"
    text = path.read_text()

    expected = {
        "results_dir": "results",
        "autolabel_type": "image_grounding",
        "image_grounding": {"data": {"input_jsonl": "input.jsonl"}, "vlm": vlm},
    }
    assert yaml.safe_load(text) == yaml.safe_load(
        yaml.safe_dump(expected).replace("URL", server.base_url)
    )
    assert load_spec(path, ["vlm.openai.api_key="]).vlm.backend == vlm["backend"]
    assert wizard.json["spec"] == "spec.yaml"
    there = (RUNNING, "no") not in answers
    check = "check_endpoint.py -e spec.yaml" + ("" if there else " --wait 600")
    wanted = ["run_pipeline.py -e spec.yaml --dry-run", *([] if endpoint == "local" else [check])]
    wanted += ["run_pipeline.py -e spec.yaml --sample 10", "inspect.py results"]
    start_command = None if there else "vllm serve my/model --port 8000 "
    assert (wizard.json["start"] or "").startswith(start_command or "")
    assert (wizard.json["start"] is None) == there
    assert len(wizard.json["next"]) == len(wanted)
    for command, end in zip(wizard.json["next"], wanted, strict=True):
        assert command.endswith(end)
    assert KEY not in wizard.output
    assert files_without(project.folder, KEY)

    path.unlink()
    flags = [flag.replace("URL", server.base_url) for flag in flags]
    flags += ["--input", "input.jsonl", "--endpoint", endpoint]
    ran = run_wizard(project.folder, *flags, **ENVIRONMENT)
    assert ran.code == 0, ran.err
    assert path.read_text() == text
    assert KEY not in ran.out + ran.err


def test_gemini_is_asked_for_its_models(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    server.names = ["gemini-9-flash", "gemini-9-pro"]
    flags = ["--input", "input.jsonl", "--image-root", "", "--endpoint", "gemini", "--steps", "0,1"]
    flags += ["--max-workers", "2", "--output", "spec.yaml", "--no-check", "--results-dir", "out"]
    wizard = Wizard(
        project.folder, *flags, GOOGLE_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=server.gemini_url
    )
    wizard.answer(VARIABLE)
    wizard.answer(MODEL, "another")
    wizard.answer("Model:", f"{CLEAR}gpt-9")
    wizard.sees("it lists gemini-9-")
    wizard.answer(MODEL, "gemini-9-pro")
    assert wizard.end() == 0, wizard.text
    assert wizard.json["answers"]["model"] == "gemini-9-pro"
    assert wizard.json["warnings"] == []


def test_what_is_typed_during_a_look_over_the_network_is_forgotten(
    make_project: Maker,
) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--image-root", "", "--endpoint", "custom", "--steps", "0"]
    wizard = start(project, *flags)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wizard.answer(URL, f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        connection, _ = silent.accept()
        wizard.sees("asking the server ...")
        wizard.press("typed in vain\r")
        silent.close()  # or another attempt would be kept waiting as well
        connection.close()
        wizard.sees("(the same answer again keeps")
    wizard.answer(URL)  # the same again
    wizard.answer(VARIABLE)
    wizard.answer(MODEL, "m")
    wizard.sees(RESULTS)
    assert "typed in vain" not in wizard.output
    wizard.press("\x03")
    assert wizard.end() == 130


def test_bad_answers_come_back_with_the_reason(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    (project.folder / "bad.jsonl").write_text("no json\n")
    (project.folder / "none").mkdir()
    (project.folder / "spec.yaml").write_text("old")
    wizard = start(project)
    for keys, reason in (
        ("gone.jsonl", "there is no such file"),
        ("none", "it is a folder"),
        ("bad.jsonl", "none of its first lines can be used: line 1: not JSON"),
    ):
        wizard.answer(INPUT, CLEAR + keys)
        wizard.sees(reason)
    wizard.answer(INPUT, f"{CLEAR}input.jsonl")
    wizard.sees("We can see a")  # the first lines
    wizard.answer(ROOT, f"{CLEAR}none")
    wizard.sees("none of the first 2 images is there")
    wizard.answer(ROOT, CLEAR)
    wizard.sees("the first 2 images are there")
    wizard.answer(ENDPOINT, "custom")
    for keys, reason in (
        ("ftp://h", "it must be an address such as http://localhost:8000/v1"),
        ("http://u:p@h/v1", "a password or a query in an address"),
        ("localhost:1", "nothing listens there"),
    ):
        wizard.answer(URL, CLEAR + keys)
        wizard.sees(reason)
    wizard.answer(URL, f"{CLEAR}{server.base_url}")
    wizard.sees("the server answers")
    wizard.answer(VARIABLE, "NOT_THERE")
    wizard.sees("NOT_THERE is not set")
    wizard.answer(VARIABLE)  # the same again
    wizard.answer(MODEL, "another")
    wizard.answer("Model:", "test-vlmm")
    wizard.sees("it lists test-vlm")
    wizard.answer(MODEL, "test-vlm")
    wizard.answer(STEPS)
    wizard.answer(RESULTS, f"{CLEAR}input.jsonl/x")
    wizard.sees("it is a file, or in one")
    wizard.answer(RESULTS, f"{CLEAR}out")
    wizard.answer(WORKERS, f"{CLEAR}0")
    wizard.sees("must be at least 1")
    wizard.answer(WORKERS, f"{CLEAR}8")
    wizard.answer(OUTPUT)
    wizard.sees("that file exists")
    assert (project.folder / "spec.yaml").read_text() == "old"
    wizard.answer(OUTPUT)
    wizard.answer(CHECK, "n")
    assert wizard.end() == 0, wizard.text
    spec = load_spec(project.folder / "spec.yaml", ["vlm.openai.api_key="])
    assert (spec.vlm.model, spec.workflow.max_workers) == ("test-vlm", 8)
    (warning,) = wizard.json["warnings"]
    assert "NOT_THERE is not set" in warning


def test_the_endpoint_is_checked_if_wanted(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--image-root", "", "--endpoint", "custom"]
    flags += ["--base-url", server.base_url, "--model", "test-vlm", "--key-variable", ""]
    wizard = start(project, *flags, "--steps", "0,1", "--max-workers", "2", "--output", "s.yaml")
    wizard.answer(RESULTS)
    wizard.answer(CHECK)
    assert wizard.end() == 0, wizard.text
    assert wizard.json["check"]["usable"]
    assert "✓ box convention" in wizard.output


@pytest.mark.parametrize("last", [ENDPOINT, OUTPUT])
def test_ctrl_c_leaves_nothing(last: str, make_project: Maker) -> None:
    project = make_project(1)
    before = set(project.folder.iterdir())
    more = ["--endpoint", "local", "--max-workers", "2"] if last == OUTPUT else []
    wizard = start(project, *GIVEN[: GIVEN.index("--output")], *more)
    wizard.sees(last)
    wizard.press("\x03")
    assert wizard.end() == 130, wizard.text
    assert wizard.json == {"status": "interrupted", "exit_code": 130}
    assert nothing_is_left(project, before)


def test_end_of_input_is_an_interruption(make_project: Maker) -> None:
    project = make_project(1)
    wizard = start(project)
    wizard.sees(INPUT)
    wizard.press("\x04")
    assert wizard.end() == 130


def test_pasted_keys_are_refused_and_kept_nowhere(make_project: Maker) -> None:
    project = make_project(1)
    keys = (KEY, "9f86d081884c7d659a2feaa0c55ad015")
    reason = "that looks like a key: put it in an environment variable and give its NAME"
    wizard = start(project, *GIVEN, "--endpoint", "gemini")
    wizard.sees(VARIABLE)
    for key in keys:
        wizard.press(f"{CLEAR}\x1b[200~{key}\x1b[201~")
        wizard.sees(reason)
        wizard.press("\r")  # changes nothing
        wizard.press(f"{CLEAR}GOOGLE")
        wizard.sees_no_more(reason)
    wizard.answer(VARIABLE, "_API_KEY")
    wizard.answer(MODEL)
    wizard.answer(WORKERS)
    wizard.answer(CHECK, "n")
    assert wizard.end() == 0, wizard.text
    for key in keys:
        assert key not in wizard.output
        assert files_without(project.folder, key)


def test_given_flags_are_not_asked(server: Loopback, make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "custom", "--base-url", server.base_url]
    flags += [
        "--key-variable",
        "NOT_THERE",
        "--steps",
        "0",
        "--max-workers",
        "2",
        "--output",
        "my.yaml",
    ]
    wizard = start(project, *flags)
    wizard.answer(ROOT)
    wizard.answer(MODEL)
    wizard.answer(RESULTS)
    wizard.sees(CHECK)
    wizard.press("\x03")  # enough of it: the spec is written
    assert wizard.end() == 0, wizard.text
    for question in (INPUT, ENDPOINT, URL, VARIABLE, STEPS, WORKERS, OUTPUT):
        assert f"? {question}" not in wizard.text
    assert load_spec(project.folder / "my.yaml", ["vlm.openai.api_key="]).workflow.steps == ["0"]
    assert "NOT_THERE is not set" in wizard.json["warnings"][0]


def test_resume_is_explained_with_counts(make_project: Maker) -> None:
    project = make_project(1)
    for step, count in (("step_0_expression_extraction", 3), ("step_1_grounding", 2)):
        checkpoints = project.results / step / ".ckpt"
        checkpoints.mkdir(parents=True)
        for number in range(count):
            (checkpoints / f"{number}.json").touch()
        (checkpoints.parent / "failures.jsonl").write_text("{}\n" * (3 - count))
    flags = ["--input", "input.jsonl", "--image-root", "", "--endpoint", "local", "--steps", "0,1"]
    wizard = start(project, *flags)
    wizard.answer(RESULTS)
    wizard.sees("step_0_expression_extraction: 3 finished, 0 failed")
    wizard.sees("step_1_grounding: 2 finished, 1 failed")
    wizard.answer(RESUME, "fresh")
    wizard.answer(WORKERS)
    wizard.answer(OUTPUT)
    assert wizard.end() == 0, wizard.text
    assert load_spec(project.folder / "spec.yaml").workflow.force_reprocess is True
    assert "force_reprocess" in wizard.json["warnings"][0]
