# SPDX-License-Identifier: Apache-2.0
"""The documents say what is: commands run, links resolve, tables agree with the code."""

import importlib
import json
import re
import shutil
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from skills_ref import validate

from conftest import read_jsonl, write_jsonl
from image_grounding import errors
from image_grounding.exports import FORMATS
from image_grounding.spec import load_spec
from image_grounding.spec.schema import known_keys
from support.documents import (
    DOCUMENTS,
    REFERENCES,
    blocks,
    cells,
    check_rows,
    commands,
    configuration_rows,
    prose,
    source,
)
from support.loopback import Loopback
from support.scenes import make_scene
from support.scripts import ROOT, SCRIPTS, run_script

SKILL = (ROOT / "SKILL.md").read_text(encoding="utf-8")
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
COMMANDS = list(dict.fromkeys(tuple(line) for text in TEXTS.values() for line in commands(text)))
JOURNEY = [tuple(line) for line in commands(SKILL) if line[0] != "setup_env.py"]
TROUBLES = (ROOT / "references" / "troubleshooting.md").read_text(encoding="utf-8")
EVALS = json.loads((ROOT / "evals" / "evals.json").read_text(encoding="utf-8"))
# Options of other programs that the documents speak of.
_FOREIGN = {"--api-key"}
_NEEDS_AN_ENDPOINT = {"--base-url", "--backend"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- the skill -----------------------------------------------------------------------------------


def test_skill_is_valid(tmp_path: Path) -> None:
    copy = tmp_path / "image-grounding"
    copy.mkdir()
    shutil.copy(ROOT / "SKILL.md", copy)
    shutil.copytree(ROOT / "references", copy / "references")
    assert validate(copy) == []


def test_skill_triggers_and_is_short() -> None:
    _, head, _ = SKILL.split("---\n", 2)
    description = yaml.safe_load(head)["description"].lower()
    for trigger in (
        "image grounding", "phrase grounding", "ground captions", "auto-label image grounding",
        "image_grounding", "referring expressions", "caption to boxes",
        "bounding boxes from captions", "grounding dataset",
    ):  # fmt: skip
        assert trigger in description
    assert not set("<>") & set(description)
    assert SKILL.count("\n") < 200


def test_skill_names_every_reference_with_when_to_read_it() -> None:
    rows = {row[0]: row[1] for row in cells(SKILL) if row[0].startswith("`references/")}
    assert rows.keys() == {f"`references/{path.name}`" for path in REFERENCES}
    assert all(rows.values())


@pytest.mark.parametrize("path", REFERENCES, ids=named)
def test_references_are_short_and_say_when(path: Path) -> None:
    text = TEXTS[path]
    # Not read from end to end: searched, or one section of it.
    most = {"troubleshooting.md": 450, "scaling.md": 430, "reliability.md": 600}.get(path.name, 200)
    assert text.count("\n") < most
    assert re.match(r"# .+\n\nRead this ", text)


def test_skill_covers_every_exit_code_and_every_question() -> None:
    codes = {row[0] for row in cells(SKILL)}
    assert codes >= {str(int(code)) for code in errors.Exit}
    questions = run_script("setup_wizard.py", "--print-questions").json["questions"]
    asked = {row[1].strip("`") for row in cells(SKILL) if row[1].startswith("`--")}
    assert {question["flag"] for question in questions} == asked


# -- commands ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder as the documents have it, after a run with the embedded annotator."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(ROOT / "assets" / "photos", folder / "photos")
    rows = read_jsonl(ROOT / "assets" / "captions.jsonl")
    short = [{**row, "image_path": Path(row["image_path"]).name} for row in rows]
    write_jsonl(folder / "captions.jsonl", short)
    for row in short:
        (folder / "photos" / row["image_path"]).with_suffix(".txt").write_text(row["caption"])
    spec = yaml.safe_load((ROOT / "specs" / "local.yaml").read_text())
    spec["results_dir"] = "results"
    spec["image_grounding"]["data"] = {"input_jsonl": "captions.jsonl", "image_root": "photos"}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    assert run_script("run_pipeline.py", "-e", "spec.yaml", cwd=folder).code == 0
    add_review_and_truth(folder)
    return folder


def add_review_and_truth(folder: Path) -> None:
    """A review.json that finds everything good, and a truth.json that agrees with the run."""
    records = read_jsonl(folder / "results" / "annotations.jsonl")
    marks = [
        {
            "sample_id": record["sample_id"],
            "expression_id": expression["expression_id"],
            "mark": "good",
        }
        for record in records
        for expression in record["expressions"]
    ]
    (folder / "review.json").write_text(json.dumps({"format": 1, "marks": marks}))
    (folder / "truth.json").write_text(json.dumps(_as_coco(records)))


def _as_coco(records: list[dict[str, Any]]) -> dict[str, Any]:
    images = {record["image_path"]: record for record in records}
    number = {name: index for index, name in enumerate(images, 1)}
    boxes = [
        (record, expression, instance["bbox"])
        for record in records
        for expression in record["expressions"]
        for instance in expression["instances"]
    ]
    return {
        "images": [
            {"id": number[name], "file_name": name, "width": record["width"],
             "height": record["height"], "caption": record["caption"]}
            for name, record in images.items()
        ],
        "categories": [{"id": 1, "name": "phrase"}],
        "annotations": [
            {"id": index, "image_id": number[record["image_path"]], "category_id": 1,
             "phrase": expression["text"], "bbox": [x1, y1, x2 - x1, y2 - y1],
             "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            for index, (record, expression, (x1, y1, x2, y2)) in enumerate(boxes, 1)
        ],
    }  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_command_has_these_options(line: tuple[str, ...]) -> None:
    name, *arguments = line
    known = options(name)
    for word in arguments:
        if word.startswith("-"):
            assert word in known, f"{name} has no {word}"
        elif re.match(r"[\w.]+=", word) and known["arguments"]:
            key = word.partition("=")[0]
            assert {key, f"image_grounding.{key}"} & set(known_keys()), f"no key {key}"


@cache
def options(name: str) -> dict[str, Any]:
    """The options of a script; ``arguments``: whether it takes ``key=value`` too."""
    launched = re.search(r'launch\("([\w.]+)", "(\w+)"\)', (SCRIPTS / name).read_text())
    assert launched
    tool = getattr(importlib.import_module(launched[1]), launched[2])
    if not isinstance(tool, click.Command):
        found = re.findall(r"(?<!\w)--?[a-z][\w-]*", run_script(name, "--help").out)
        return {**dict.fromkeys(found), "arguments": False}
    flags = [flag for option in tool.params for flag in (*option.opts, *option.secondary_opts)]
    return {**dict.fromkeys(["-h", "--help", *flags]), "arguments": "overrides" in flags}


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in COMMANDS
        if line not in JOURNEY
        and line[0] != "setup_env.py"
        and not (line[0] == "check_endpoint.py" and {*line} & _NEEDS_AN_ENDPOINT)
    ],
    ids=" ".join,
)
def test_command_runs(line: tuple[str, ...], finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    (folder / "specs").symlink_to(ROOT / "specs")
    made = {"setup_wizard.py": "spec.yaml", "make_input.py": "captions.jsonl"}.get(line[0])
    if made:
        (folder / made).unlink()
    ran = run_script(*line, cwd=folder)
    asks_on_a_terminal = line == ("setup_wizard.py",)
    assert ran.code == (2 if asks_on_a_terminal else 0), ran.err
    assert isinstance(ran.json, dict)


def test_skill_leads_from_nothing_to_an_export(server: Loopback, tmp_path: Path) -> None:
    """Its commands in their order, each on the first attempt, against a server that sees."""
    (tmp_path / "photos").mkdir()
    scenes = [make_scene((320, 240), seed=number) for number in range(12)]
    for number, scene in enumerate(scenes):
        scene.save(tmp_path / "photos" / f"{number}.png")
        (tmp_path / "photos" / f"{number}.txt").write_text(scene.caption)
    reports = {}
    for name, *arguments in JOURNEY:
        there = [word.replace("Qwen/Qwen3-VL-8B-Instruct", "test-vlm") for word in arguments]
        if "--endpoint" in there:
            there += ["--base-url", server.base_url]
        if (tmp_path / "results" / "annotations.jsonl").exists():
            add_review_and_truth(tmp_path)
        ran = run_script(name, *there, cwd=tmp_path)
        assert ran.code == 0, f"{name} {there}: {ran.err}"
        reports[name] = ran.json
    assert reports["run_pipeline.py"]["counts"]["annotated"] == 12
    assert reports["run_pipeline.py"]["counts"]["from_checkpoints"] == 10
    assert reports["check_endpoint.py"]["usable"]
    assert reports["inspect.py"]["decision"] in ("scale", "review_more")
    assert reports["export.py"]["parts"].keys() == {"train", "val"}
    assert reports["evaluate.py"]["metrics"]["any_box.mean_iou"] == 1


def test_options_in_the_prose_exist() -> None:
    known = {flag for path in SCRIPTS.glob("*.py") for flag in options(path.name)}
    for path, text in TEXTS.items():
        if path.name != "vllm_server.md":
            for flag in re.findall(r"`[^`\n]*?(--[a-z][\w-]+)", prose(text)):
                assert flag in known | _FOREIGN, f"{named(path)}: {flag}"


# -- facts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows"),
    [("configuration.md", configuration_rows), ("quality_review.md", check_rows)],
)
def test_tables_say_what_the_code_says(name: str, rows: Any) -> None:
    text = (ROOT / "references" / name).read_text(encoding="utf-8")
    missing = [row for row in rows() if row not in text.splitlines()]
    assert not missing, f"{name} lacks:\n" + "\n".join(missing)
    listed = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    wanted = re.findall(r"^\| `([\w.]+)` \|", "\n".join(rows()), re.MULTILINE)
    assert wanted == listed


def test_examples_of_specs_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sections = [
        block for text in TEXTS.values() for language, block in blocks(text) if language == "yaml"
    ]
    assert len(sections) >= 5
    for block in sections:
        for name in re.findall(r"oc\.env:(\w+)", block):
            monkeypatch.setenv(name, "a-key-of-this-test")
        (tmp_path / "spec.yaml").write_text("image_grounding:\n" + textwrap.indent(block, "  "))
        given = ["results_dir=out", "data.input_jsonl=in.jsonl"]
        assert load_spec(tmp_path / "spec.yaml", given).vlm.backend == "openai", block


def test_every_export_format_is_documented() -> None:
    text = (ROOT / "references" / "output_format.md").read_text(encoding="utf-8")
    exports = text.partition("## Exports")[2]
    assert {row[0].strip("`") for row in cells(exports)} == {*FORMATS, "Format"}
    assert all(f"`{name}`" in SKILL for name in FORMATS)


def test_documented_messages_are_in_the_code() -> None:
    texts, _ = source()
    fragments = list(_message_fragments())
    assert len(fragments) > 100
    for fragment in fragments:
        assert any(fragment in text for text in texts), fragment


def _message_fragments() -> Iterator[str]:
    for row in cells(TROUBLES):
        for message in re.findall(r"`([^`]+)`", row[0]):
            yield from (part.strip() for part in message.split("…") if len(part.strip()) > 3)


def test_messages_of_the_code_are_documented() -> None:
    """Messages of errors and those printed; a long message may be shown in part."""
    _, found = source()
    assert len(found) > 150
    shown = [fragment for fragment in _message_fragments() if len(fragment) >= 15]
    lacking = [
        text
        for text in found
        if text not in TROUBLES and not any(fragment in text for fragment in shown)
    ]
    assert not lacking, "troubleshooting.md lacks:\n" + "\n".join(lacking)


def test_reasons_of_failures_are_documented() -> None:
    rows = " ".join(row[0] for row in cells(TROUBLES))
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    reasons = {kind.reason for kind in classes if hasattr(kind, "reason")}
    assert len(reasons) > 5
    for reason in reasons:
        assert f"`{reason}`" in rows


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_and_paths_resolve(path: Path) -> None:
    text = TEXTS[path]
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    for target in re.findall(r"`((?:references|specs|scripts|tests|assets|evals)/[\w./-]*)`", text):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`(\w+\.md)`", text):
        assert list(ROOT.glob(target)) or (ROOT / "references" / target).exists(), target
    assert not re.search(r"(?<![\w.~])/(work|tmp|home|Users|mnt)/", text)


# -- evals ---------------------------------------------------------------------------------------


def test_evals() -> None:
    assert EVALS.keys() == {"skill_name", "evals"}
    assert EVALS["skill_name"] == "image-grounding"
    assert len(EVALS["evals"]) >= 8
    assert len({case["id"] for case in EVALS["evals"]}) == len(EVALS["evals"])
    for case in EVALS["evals"]:
        assert case.keys() == {"id", "prompt", "expected_output", "files", "assertions"}
        assert case["prompt"] and case["expected_output"] and case["assertions"]
        assert all((ROOT / name).is_file() for name in case["files"])


def test_no_file_of_the_evals_is_forgotten() -> None:
    used = {ROOT / name for case in EVALS["evals"] for name in case["files"]}
    assert {path for path in (ROOT / "evals" / "files").rglob("*") if path.is_file()} == used


def test_the_shifted_boxes_of_an_eval_are_found(tmp_path: Path) -> None:
    results = ROOT / "evals" / "files" / "shifted" / "results"
    report = run_script("inspect.py", str(results), "-o", str(tmp_path), "--quiet").json
    assert "convention_thousand" in {finding["check"] for finding in report["findings"]}


def test_the_bad_lines_of_an_eval_are_found(tmp_path: Path) -> None:
    files = ROOT / "evals" / "files"
    ran = run_script(
        "run_pipeline.py", "-e", str(ROOT / "specs" / "local.yaml"), "--dry-run",
        f"results_dir={tmp_path / 'out'}", f"data.input_jsonl={files / 'broken/captions.jsonl'}",
        f"data.image_root={files / 'relative/pictures'}",
    )  # fmt: skip
    assert ran.code == 3
    assert [line["line"] for line in ran.json["unusable"]["first"]] == [2, 3, 4]
