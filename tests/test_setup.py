# SPDX-License-Identifier: Apache-2.0
"""The setup wizard without a person: flags, an existing spec, questions as JSON."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from conftest import Project, write_jsonl
from image_grounding.cli.setup import setup_command
from image_grounding.resources import spec_path
from image_grounding.setup import parsing
from image_grounding.setup.answers import TAO_KEYS, defaults, leaves, read_answers
from image_grounding.setup.existing import count_existing
from image_grounding.setup.questions import QUESTIONS
from image_grounding.setup.state import Refused, State
from image_grounding.setup.writer import render
from image_grounding.spec import load_spec
from support.loopback import Loopback
from support.scripts import run_script
from support.wizard import run_wizard

Maker = Callable[..., Project]

KEY = "sk-Sup3rSecretSup3rSecret"
KEYS = [
    KEY,
    "nvapi-AbCdEfGhIjKlMnOp",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "hf_AbCdEfGhIjKlMnOpQr",
    "9f86d081884c7d659a2feaa0c55ad015",
    "Ab3dEfGh1jKlMn0pQrStUv",
]


def state(**more: Any) -> State:
    return State(say=lambda message: None, **more)


# --- the interview as data


QUESTION_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("name", "question", "flag", "choices", "default", "defaults"),
        *("derived_default", "condition"),
    ],
    "properties": {
        "name": {"type": "string"},
        "question": {"type": "string"},
        "flag": {"type": "string", "pattern": "^--[a-z-]+$"},
        "choices": {
            "type": "array",
            "items": {"type": "object", "required": ["value", "text"]},
        },
        "default": {"type": ["string", "null"]},
        "defaults": {
            "type": "array",
            "items": {"type": "object", "required": ["value", "condition"]},
        },
        "derived_default": {"type": ["string", "null"]},
        "condition": {
            "type": "array",
            "items": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


def test_printed_questions_are_valid_and_every_flag_exists(tmp_path: Path) -> None:
    ran = run_wizard(tmp_path, "--print-questions")
    assert ran.code == 0, ran.err
    questions = ran.json["questions"]
    assert [question["name"] for question in questions] == [question.name for question in QUESTIONS]
    flags = {flag for option in setup_command.params for flag in option.opts}
    known = {
        question["name"]: {choice["value"] for choice in question["choices"]}
        for question in questions
    }
    known |= {fact: {"yes", "no"} for fact in ran.json["facts"]}
    for question in questions:
        Draft202012Validator(QUESTION_SCHEMA).validate(question)
        assert question["flag"] in flags
        conditions = question["condition"] + [
            default["condition"] for default in question["defaults"]
        ]
        for condition in conditions:
            for name, values in condition.items():
                assert set(values) <= known[name]
    assert set(ran.json["other_flags"]) <= flags
    assert not list(tmp_path.iterdir())


def test_conditions_only_look_back() -> None:
    names = [question.name for question in QUESTIONS]
    for place, question in enumerate(QUESTIONS):
        for condition in question.condition:
            assert set(condition) <= {*names[:place], "existing_results"}


# --- missing and wrong flags


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ([], ["--input", "--endpoint", "--base-url", "--model"]),
        (["--endpoint", "gemini"], ["--input"]),
        (["--endpoint", "local", "--quiet"], ["--input"]),
        (["--endpoint", "custom"], ["--input", "--base-url", "--model"]),
        (["--endpoint", "vllm", "--running", "no"], ["--input", "--model"]),
    ],
)
def test_missing_flags_are_listed_at_once(
    flags: list[str], missing: list[str], tmp_path: Path
) -> None:
    ran = run_wizard(tmp_path, *flags)
    assert ran.code == 2
    assert ran.json["status"] == "error"
    assert [answer["flag"] for answer in ran.json["missing"]] == missing
    for flag in missing:
        assert f"{flag} is missing" in ran.json["error"]
        assert (f"{flag} is missing" in ran.err) == ("--quiet" not in flags)
    assert not list(tmp_path.iterdir())


def test_a_needed_condition_is_said(tmp_path: Path) -> None:
    found = {answer["flag"]: answer["condition"] for answer in run_wizard(tmp_path).json["missing"]}
    assert found["--input"] == found["--endpoint"] == ""
    assert found["--base-url"] == "endpoint is custom"
    assert found["--model"] == "endpoint is nim or tao or vllm or custom"


def test_wrong_and_missing_flags_together(make_project: Maker, server: Loopback) -> None:
    project = make_project(1)
    server.names = ["one-vl", "two-vl"]
    ran = run_wizard(
        project.folder, "--endpoint", "vllm", "--base-url", server.base_url, "--steps", "2",
        "--max-workers", "many", "--nim-hosting", "hosted", "--results-dir", "input.jsonl",
    )  # fmt: skip
    assert ran.code == 2
    assert {answer["flag"]: answer["reason"] for answer in ran.json["wrong"]} == {
        "--steps": "it must be one of 0,1, 0, 1",
        "--max-workers": "must be auto or integer, not 'many'",
        "--nim-hosting": "it only counts if endpoint is nim",
        "--results-dir": "it is a file, or in one",
    }
    missing = {answer["flag"]: answer["choices"] for answer in ran.json["missing"]}
    assert missing == {"--input": [], "--model": ["one-vl", "two-vl"]}


@pytest.mark.parametrize("key", KEYS)
def test_key_as_an_answer_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="looks like a key") as refused:
        parsing.parse_key_variable(key, state())
    assert key not in str(refused.value)


@pytest.mark.parametrize("flag", ["--key-variable", "--model", "--base-url", "--results-dir"])
def test_key_in_a_flag_is_not_repeated(flag: str, make_project: Maker) -> None:
    project = make_project(1)
    given = {"--input": "input.jsonl", "--endpoint": "custom", "--model": "m", "--quiet": ""}
    given |= {"--base-url": "http://localhost:1/v1", flag: KEY}
    flags = [part for pair in given.items() for part in pair if part]
    ran = run_wizard(project.folder, *flags)
    assert ran.code == 2
    assert [answer["flag"] for answer in ran.json["wrong"]] == [flag]
    assert "looks like a key" in ran.json["wrong"][0]["reason"]
    assert KEY not in ran.out + ran.err
    assert not (project.folder / "spec.yaml").exists()


@pytest.mark.parametrize(
    "name", ["NVIDIA_API_KEY", "MY_TEAM_2026_KEY_FOR_VLM", "key", "", " $GOOGLE_API_KEY "]
)
def test_names_of_variables(name: str) -> None:
    assert parsing.parse_key_variable(name, state()) == name.strip().removeprefix("$")


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("http://h:8000/v1/v1", "http://h:8000/v1"),
        ("https://h/v1/chat/completions", "https://h/v1"),
        ("https://h/v1/models", "https://h/v1"),
        ("https://h/openai/v1beta", "https://h/openai/v1beta"),
        ("[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("h/d/chat/completions?api-version=2024-10-21", "http://h/d?api-version=2024-10-21"),
    ],
)
def test_base_url_is_normalized(typed: str, url: str) -> None:
    assert parsing.parse_base_url(typed, state()) == url
    assert parsing.parse_base_url(url, state()) == url


@pytest.mark.parametrize(
    "typed",
    [
        *("", "ftp://h/v1", "http://", "http://[::1", "http://h:99999/v1", "http://a b/v1"),
        *("http://u:p@h/v1", "http://h/v1?key=1", "http://h/v1#x", "${oc.env:IG_GONE}", "a\nb"),
    ],
)
def test_base_url_that_is_none(typed: str) -> None:
    with pytest.raises(Refused):
        parsing.parse_base_url(typed, state())


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IG_FOLDER", str(tmp_path))
    (tmp_path / "in.jsonl").write_text("{}")
    assert parsing.parse_input("~/in.jsonl", state()) == str(tmp_path / "in.jsonl")
    text = "${oc.env:IG_FOLDER}/in.jsonl"
    assert parsing.parse_input(text, state()) == text
    for wrong in ("", "???", "${oc.env:IG_GONE}", "${", "a\x1bb", "~/gone", "~"):
        with pytest.raises(Refused):
            parsing.parse_input(wrong, state())
    for wrong in ("~", "gone/spec.yaml", "${oc.env:IG_FOLDER}/x.yaml"):
        with pytest.raises(Refused):
            parsing.parse_spec_path(wrong, state())


# --- specs


def test_spec_runs_end_to_end(server: Loopback, make_project: Maker) -> None:
    project = make_project(3)
    server.key = KEY
    flags = ["--input", "input.jsonl", "--endpoint", "custom", "--base-url", server.base_url]
    flags += ["--key-variable", "MY_API_KEY"]
    ran = run_script("setup_wizard.py", *flags, cwd=project.folder, MY_API_KEY=KEY)
    assert ran.code == 0, ran.err
    assert ran.json["answers"]["model"] == "test-vlm"  # the only one that is served
    assert ran.json["warnings"] == []
    run = run_script("run_pipeline.py", "-e", "spec.yaml", cwd=project.folder, MY_API_KEY=KEY)
    assert run.code == 0, run.err
    assert run.json["counts"]["annotated"] == 3
    assert KEY not in ran.out + ran.err + (project.folder / "spec.yaml").read_text()


def test_a_version_in_the_address_goes_with_every_request(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(1)
    ran = run_wizard(
        project.folder, "--input", "input.jsonl", "--image-root", ".", "--endpoint", "custom",
        "--base-url", f"{server.base_url}/chat/completions?api-version=2024-10-21", "--check",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["answers"]["model"] == "test-vlm"
    run = run_script("run_pipeline.py", "-e", "spec.yaml", cwd=project.folder)
    assert run.code == 0, run.err
    asked = {path for path in server.gets if path.startswith("/v1/models")}
    assert asked == {"/v1/models?api-version=2024-10-21"}
    assert {call.query for call in (*server.probes, *server.calls)} == {"api-version=2024-10-21"}
    shown = json.loads((project.folder / "results" / "run_summary.json").read_text())["spec"]
    openai = shown["image_grounding"]["vlm"]["openai"]
    assert (openai["base_url"], openai["extra_query"]) == (
        server.base_url, {"api-version": "2024-10-21"},
    )  # fmt: skip


def test_again_gives_the_identical_file(make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "vllm", "--running", "no", "--model", "a b"]
    ran = run_wizard(project.folder, *flags, "--output", "a b.yaml", "--steps", "1")
    assert ran.code == 0, ran.err
    path = project.folder / "a b.yaml"
    first = path.read_bytes()
    path.write_text("changed")
    python, script, *given = shlex.split(ran.json["again"])
    assert python == sys.executable
    again = run_script(script, *given, cwd=project.folder)
    assert again.code == 0, again.err
    assert path.read_bytes() == first
    assert any("step 1 alone needs" in warning for warning in ran.json["warnings"])


def test_existing_file_is_kept(make_project: Maker) -> None:
    project = make_project(1)
    (project.folder / "spec.yaml").write_text("old")
    flags = ["--input", "input.jsonl", "--endpoint", "local"]
    ran = run_wizard(project.folder, *flags)
    assert ran.code == 2
    assert [answer["flag"] for answer in ran.json["wrong"]] == ["--output"]
    assert "--overwrite" in ran.json["error"]
    assert (project.folder / "spec.yaml").read_text() == "old"
    ran = run_wizard(project.folder, *flags, "--overwrite")
    assert ran.code == 0, ran.err
    assert load_spec(project.folder / "spec.yaml").vlm.backend == "local"


def test_doubts_become_warnings(make_project: Maker, server: Loopback) -> None:
    project = make_project(2)
    (project.folder / "other").mkdir()
    write_jsonl(project.folder / "mixed.jsonl", ["no json", *project.input.open().readlines()])
    ran = run_wizard(
        project.folder, "--input", "mixed.jsonl", "--image-root", "other", "--endpoint", "vllm",
        "--base-url", server.base_url, "--key-variable", "NOT_THERE", "--model", "test",
        "--unlisted-model",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert shlex.split(ran.json["again"])[-2:] == ["--unlisted-model", "--overwrite"]
    for part in (
        "line 1 of the input cannot be used: not JSON",
        "--image-root: none of the first 2 images is there",
        "--key-variable: the environment variable NOT_THERE is not set",
        "--model: the endpoint does not list that model; it lists test-vlm",
    ):
        assert any(part in warning for warning in ran.json["warnings"]), part
        assert part in ran.err


def test_a_model_that_is_not_listed_is_not_written(make_project: Maker, server: Loopback) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "custom", "--base-url", server.base_url]
    ran = run_wizard(project.folder, *flags, "--running", "yes", "--model", "test")
    assert ran.code == 2
    assert ran.json["wrong"] == [
        {
            "name": "model",
            "flag": "--model",
            "reason": "the endpoint does not list that model; it lists test-vlm; "
            "--unlisted-model keeps it",
        }
    ]
    assert not (project.folder / "spec.yaml").exists()


@pytest.mark.parametrize(("running", "code"), [("yes", 0), ("no", 2)])
def test_a_server_may_be_called_running_whatever_it_is(
    running: str, code: int, make_project: Maker
) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "local", "--running", running]
    ran = run_wizard(project.folder, *flags)
    assert ran.code == code, ran.err
    if code:
        assert [answer["flag"] for answer in ran.json["wrong"]] == ["--running"]


GEMINI = ["gemini-3.5-flash-lite", "gemini-9-flash", "gemini-9-flash-tts", "gemini-2.5-pro"]


@pytest.mark.parametrize(
    ("model", "served", "key", "said"),
    [
        ("gemini-9-flash", GEMINI, KEY, None),
        ("gemini-9-flash-tts", GEMINI, KEY, None),  # listed, though it is not offered
        ("gpt-4", GEMINI, KEY, "--model: the endpoint does not list that model; it lists gemini-"),
        ("gemini-9-flahs", GEMINI, KEY, "it lists gemini-9-flash, "),
        ("gemini-2.0-flash", GEMINI, KEY, "gemini-2.0-flash is gone; use gemini-3.5-flash-lite"),
        ("gemini-2.5-pro", GEMINI, KEY, "gemini-2.5-pro retires on 2026-12-01; use gemini-3.8-fl"),
        ("gpt-4", None, KEY, "that is none of the known Gemini models; nearest are gemini-"),
        ("gpt-4", GEMINI, "", "that is none of the known Gemini models; nearest are gemini-"),
        ("gemini-3.8-flash", None, KEY, None),
    ],
)
def test_gemini_models(
    model: str, served: list[str] | None, key: str, said: str | None, server: Loopback,
    make_project: Maker,
) -> None:  # fmt: skip
    project = make_project(1)
    server.names, server.key = served or [], KEY
    url = server.gemini_url if served else "http://localhost:1"
    (project.folder / "old.yaml").write_text(
        "results_dir: out\nimage_grounding: {data: {input_jsonl: input.jsonl}, vlm: {backend: "
        f"gemini, gemini: {{base_url: {url}}}}}}}\n"
    )
    flags = ["--from", "old.yaml", "--output", "new.yaml", "--model", model]
    ran = run_wizard(project.folder, *flags, GOOGLE_API_KEY=key)
    unlisted = bool(served and key and model not in served)
    assert ran.code == (2 if unlisted else 0), ran.err
    if unlisted:
        assert (said or "") in ran.json["error"]
        ran = run_wizard(project.folder, *flags, "--unlisted-model", GOOGLE_API_KEY=key)
    assert ran.code == 0, ran.err
    warnings = [warning for warning in ran.json["warnings"] if "is not set" not in warning]
    assert len(warnings) == (said is not None), warnings
    assert (said or "") in "".join(warnings)
    assert ("the models known in November 2026" in ran.err) == (served is None or not key)


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        ("nim", r"docker run .*-p 9000:8000 -e NGC_API_KEY .*nvcr\.io/nim/'me/my model':latest"),
        ("vllm", r"vllm serve 'Me/My Model' --port 9000 .*"),
        ("tao", "the skill tao-run-inference-service starts one"),
    ],
)
def test_a_server_that_does_not_run_yet(endpoint: str, start: str, make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", endpoint, "--running", "no"]
    flags += ["--nim-hosting", "self-hosted"] if endpoint == "nim" else []
    flags += ["--base-url", "http://h:9000/v1", "--model", "Me/My Model"]
    ran = run_wizard(project.folder, *flags)
    assert ran.code == 0, ran.err
    assert re.fullmatch(start, ran.json["start"])
    dry, check, pilot, _ = ran.json["next"]
    assert dry.endswith("--dry-run") and check.endswith("--wait 600") and "--sample" in pilot
    assert ran.err.index("to start it: ") < ran.err.index("next:") < ran.err.index(check)


def test_unreachable_server_is_a_warning(make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "custom", "--base-url", "localhost:1"]
    ran = run_wizard(project.folder, *flags, "--model", "m")
    assert ran.code == 0, ran.err
    assert "nothing listens there" in ran.json["warnings"][0]
    assert load_spec(project.folder / "spec.yaml").vlm.openai.base_url == "http://localhost:1/v1"


@pytest.mark.parametrize("folder", ["photos", ".", "/"])
def test_image_root_is_guessed(folder: str, make_project: Maker, tmp_path: Path) -> None:
    project = make_project(2)
    away = tmp_path / "data"
    (away / "photos").mkdir(parents=True)
    there = {"photos": away / "photos", ".": away, "/": tmp_path}[folder]
    for name in project.scenes:
        os.replace(project.folder / name, there / name)
    os.replace(project.input, away / "input.jsonl")
    flags = ["--results-dir", str(tmp_path / "out"), "--output", str(tmp_path / "s.yaml")]
    flags += ["--input", str(away / "input.jsonl"), "--endpoint", "local"]
    ran = run_wizard(Path("/"), *flags)
    assert ran.code == 0, ran.err
    assert ran.json["answers"]["image_root"] == ("" if folder == "." else str(there))
    assert "the first 2 images are there" in ran.err
    assert ran.json["warnings"] == []


def test_hostile_captions_do_not_steer_the_terminal(make_project: Maker) -> None:
    project = make_project(1)
    rows = [{"image_path": "scene0.png", "caption": "\x1b[2J\x07 \u202egrey"}]
    write_jsonl(project.input, rows)
    ran = run_wizard(project.folder, "--input", "input.jsonl", "--endpoint", "local")
    assert ran.code == 0, ran.err
    assert not re.search("[\x1b\x07\u202e]", ran.err)


def test_resume_off_a_terminal(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    flags = ["--input", "input.jsonl", "--endpoint", "local", "--overwrite"]
    before = run_wizard(project.folder, *flags, "--resume", "fresh")
    assert before.code == 0, before.err
    assert "force_reprocess" not in (project.folder / "spec.yaml").read_text()  # nothing there yet
    assert project.run(server).code == 0
    after = run_wizard(project.folder, *flags)
    assert after.json["existing"] == {
        "step_0_expression_extraction": {"finished": 2, "failed": 0},
        "step_1_grounding": {"finished": 2, "failed": 0},
    }
    assert load_spec(project.folder / "spec.yaml").workflow.force_reprocess is False
    run_wizard(project.folder, *flags, "--resume", "fresh")
    assert load_spec(project.folder / "spec.yaml").workflow.force_reprocess is True


def test_counts_of_nothing(tmp_path: Path) -> None:
    assert count_existing(tmp_path / "gone") == ()
    assert count_existing(tmp_path) == ()


# --- an existing spec


OLD = """\
results_dir: old
wandb: {enable: false}
image_grounding:
  data: {input_jsonl: input.jsonl}
  workflow: {max_workers: 7, requests_per_minute: 60}
  vlm:
    backend: openai
    coordinates: pixel_resized
    image: {max_pixels: 1000000}
    openai: {api_key: "${oc.env:MY_API_KEY}", base_url: "http://localhost:1/v1", model_name: m}
"""


def test_from_keeps_what_is_not_asked(make_project: Maker) -> None:
    project = make_project(1)
    path = project.folder / "old.yaml"
    path.write_text(OLD)
    ran = run_wizard(project.folder, "--from", "old.yaml", "--max-workers", "9", "--overwrite")
    assert ran.code == 0, ran.err
    expected = yaml.safe_load(OLD)
    expected["image_grounding"]["workflow"]["max_workers"] = 9
    expected["autolabel_type"] = "image_grounding"
    assert yaml.safe_load(path.read_text()) == expected
    text = path.read_text()
    again = run_wizard(project.folder, "--from", "old.yaml", "--overwrite")
    assert path.read_text() == text
    path.write_text(text.replace("wandb:", "# of May\nwandb:"))
    last = run_wizard(project.folder, "--from", "old.yaml", "--overwrite")
    for ran, lost in ((again, False), (last, True)):
        assert ran.code == 0, ran.err
        assert ("comments of old.yaml are not kept, such as # of May" in ran.err) == lost
        assert any("comments" in warning for warning in ran.json["warnings"]) == lost


def test_from_with_another_endpoint(make_project: Maker) -> None:
    project = make_project(1)
    (project.folder / "old.yaml").write_text(OLD)
    flags = ["--from", "old.yaml", "--endpoint", "gemini", "--output", "new.yaml"]
    ran = run_wizard(
        project.folder, *flags, GOOGLE_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL="http://localhost:1"
    )
    assert ran.code == 0, ran.err
    assert (project.folder / "old.yaml").read_text() == OLD
    spec = load_spec(project.folder / "new.yaml")
    assert (spec.vlm.backend, spec.vlm.model) == ("gemini", "gemini-3.5-flash-lite")
    assert spec.workflow.max_workers == 7
    assert any("vlm.coordinates is kept" in warning for warning in ran.json["warnings"])


def test_from_does_not_copy_a_key(make_project: Maker) -> None:
    project = make_project(1)
    text = OLD.replace("${oc.env:MY_API_KEY}", KEY)
    text = text.replace("wandb: {enable: false}", f"encryption_key: {KEY}")
    (project.folder / "old.yaml").write_text(text)
    ran = run_wizard(project.folder, "--from", "old.yaml", "--output", "new.yaml")
    assert ran.code == 0, ran.err
    assert KEY not in ran.out + ran.err + (project.folder / "new.yaml").read_text()
    left_out = [warning for warning in ran.json["warnings"] if "secret" in warning]
    assert len(left_out) == 2


@pytest.mark.parametrize("text", ["[1]", "image_grounding: {vlm: {backnd: x}}", "a: b: c"])
def test_from_what_is_no_spec(text: str, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(text)
    ran = run_wizard(tmp_path, "--from", "old.yaml")
    assert ran.code == 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("name", ["gemini", "nim", "tao", "vllm", "custom", "local"])
def test_ready_specs_are_recognized(name: str) -> None:
    values = yaml.safe_load(spec_path(f"{name}.yaml").read_text())
    assert read_answers(values)["endpoint"] == name


# --- TAO


def test_tao_keys_are_those_not_marked_as_additions() -> None:
    lines = spec_path("image_grounding.yaml").read_text().splitlines()
    marked = [re.match(r" *(\w+):.*# \+", line) for line in lines]
    ours = {match[1] for match in marked if match}
    for key in defaults():
        parts = set(key.split("."))
        added = ours & parts and key != "image_grounding.vlm.openai.base_url"
        assert (key not in TAO_KEYS) == bool(added), key


def test_tao_writes_only_its_keys(make_project: Maker) -> None:
    project = make_project(1)
    (project.folder / "old.yaml").write_text(OLD)
    ran = run_wizard(project.folder, "--from", "old.yaml", "--tao", "--output", "new.yaml")
    assert ran.code == 0, ran.err
    values = yaml.safe_load((project.folder / "new.yaml").read_text())
    assert {key for key, _ in leaves(values)} - {"wandb.enable"} <= TAO_KEYS
    assert ran.json["left_out"] == [
        "image_grounding.vlm.coordinates",
        "image_grounding.vlm.image.max_pixels",
        "image_grounding.workflow.requests_per_minute",
    ]
    assert "left out, as TAO does not know it: image_grounding.vlm.coordinates" in ran.err
    # TAO's own default is another one.
    assert values["image_grounding"]["vlm"]["openai"]["temperature"] == 0.3


@pytest.mark.parametrize(("variable", "key"), [("", "EMPTY"), ("MY_KEY", "${oc.env:MY_KEY}")])
def test_tao_always_gets_the_text_of_a_key(variable: str, key: str, make_project: Maker) -> None:
    project = make_project(1)
    flags = ["--input", "input.jsonl", "--endpoint", "custom", "--base-url", "localhost:1"]
    flags += ["--model", "m", "--key-variable", variable]
    for more, written in ((["--tao"], key), ([], key if variable else None)):
        ran = run_wizard(project.folder, *flags, *more, "--overwrite", MY_KEY=KEY)
        assert ran.code == 0, ran.err
        openai = yaml.safe_load((project.folder / "spec.yaml").read_text())["image_grounding"][
            "vlm"
        ]["openai"]
        assert openai.get("api_key") == written
    again = run_wizard(project.folder, "--from", "spec.yaml", "--tao", "--overwrite", MY_KEY=KEY)
    assert not any("secret" in warning for warning in again.json["warnings"])


def test_tao_without_the_embedded_annotator(make_project: Maker) -> None:
    project = make_project(1)
    ran = run_wizard(project.folder, "--input", "input.jsonl", "--endpoint", "local", "--tao")
    assert ran.code == 2
    assert "not part of TAO" in ran.json["wrong"][0]["reason"]


# --- YAML


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    [
        "yes",
        "null",
        "1e3",
        "0x1",
        ".5",
        "~",
        "a: b",
        "a #b",
        "- a",
        "'",
        '"',
        "a\\b",
        "1_000",
        "12:30",
    ]
)


@given(TEXT, TEXT)
def test_any_text_reads_back(results_dir: str, model: str) -> None:
    if "${" in results_dir + model:
        return
    values = {"results_dir": results_dir, "image_grounding": {"vlm": {"gemini": {"model": model}}}}
    text = render(values)
    assert OmegaConf.to_container(OmegaConf.create(text), resolve=False) == values
    assert render(json.loads(json.dumps(values))) == text


@pytest.mark.parametrize(("blind", "code"), [(False, 0), (True, 4)])
def test_the_endpoint_is_checked_if_wanted(
    blind: bool, code: int, server: Loopback, make_project: Maker
) -> None:
    server.model.blind = blind
    project = make_project(1)
    ran = run_wizard(
        project.folder, "--input", "input.jsonl", "--image-root", ".", "--endpoint", "custom",
        "--base-url", server.base_url, "--model", "test-vlm", "--check", *["--quiet"] * blind,
    )  # fmt: skip
    assert ran.code == code, ran.err
    assert (project.folder / "spec.yaml").is_file()
    assert ran.json["check"]["usable"] is not blind
    assert ran.err == "" if blind else "image call" in ran.err


def test_tao_knows_no_capacity_to_be_found() -> None:
    assert parsing.parse_max_workers("auto", state()) == "auto"
    with pytest.raises(Refused, match="unknown to TAO"):
        parsing.parse_max_workers("auto", state(tao=True))
