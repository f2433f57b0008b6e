# SPDX-License-Identifier: Apache-2.0
"""Every script starts from any folder, also beside files named like standard modules."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from image_grounding.cli.common import LateChoice
from image_grounding.cli.evaluate import evaluate_command
from image_grounding.cli.export import export_command
from image_grounding.cli.inspect import inspect_command
from image_grounding.exports import FORMATS
from support.scripts import PRELOADED, ROOT, SCRIPTS, clean_environment, run_script

TOOLS = sorted(path.name for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize("name", TOOLS)
def test_help_from_another_folder(name: str, tmp_path: Path) -> None:
    ran = run_script(name, "--help", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "Examples:" in ran.out
    assert "Exit codes:" in ran.out


HEAVY = {
    *("PIL", "google.genai", "httpx", "jinja2", "jsonschema", "omegaconf", "openai", "pydantic"),
    *("questionary", "rapidfuzz", "rich", "yaml"),
}


def test_what_help_names_is_what_there_is() -> None:
    """The values of options are written out in ``--help``, which does not load them."""
    checked = []
    for command in (export_command, inspect_command, evaluate_command):
        for option in command.params:
            if isinstance(option.type, LateChoice) and option.name != "only":
                assert option.metavar == f"[{'|'.join(option.type.values())}]"
                checked.append(option.name)
    assert checked == ["name", "convention", "step", "step", "truth_format"]
    assert export_command.epilog
    for name, exporter in FORMATS.items():
        assert f"  {name:<13} {exporter.summary}\n" in export_command.epilog


@pytest.mark.parametrize(
    ("name", "folder"),
    # inspect.py begins in its own way, all the others alike.
    [*((name, "scripts") for name in TOOLS), ("inspect.py", ""), ("run_pipeline.py", "")],
)
def test_help_loads_little_and_nothing_beside_it(name: str, folder: str, tmp_path: Path) -> None:
    """No file beside the scripts that is named like a standard module is imported.

    Nor is a heavy package: each takes longer than all the rest of ``--help``.
    """
    bundle, report = tmp_path / "scripts", tmp_path / "modules"
    bundle.mkdir()
    (bundle / name).write_text((SCRIPTS / name).read_text())
    (bundle / "image_grounding").symlink_to(SCRIPTS / "image_grounding")
    for trap in ("inspect.py", "dataclasses.py", "statistics.py"):
        if trap != name:
            (bundle / trap).write_text("raise SystemExit('the wrong module was imported')")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        "atexit.register(lambda: open(os.environ['REPORT'], 'w').write(' '.join(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(bundle / name), "--help"],
        cwd=tmp_path / folder,
        env=clean_environment(PYTHONPATH=str(site), REPORT=str(report)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(report.read_text().split())
    assert loaded & HEAVY == set()
    ours = {module for module in loaded if module.startswith("image_grounding.")}
    assert len(ours) < 15


def test_all_but_inspect_begin_alike() -> None:
    texts = {name: (SCRIPTS / name).read_text() for name in TOOLS if name != "inspect.py"}
    beginnings = {
        text[text.index("import os") : text.index("    launch(")] for text in texts.values()
    }
    assert len(beginnings) == 1


def test_what_the_forks_have_imported_is_there() -> None:
    """The server of the forks passes over what it cannot import, and each fork then pays for it."""
    missing = [name for name in PRELOADED if importlib.util.find_spec(name) is None]
    assert missing == []


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2)])
def test_command_has_the_scripts_as_subcommands(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "image_grounding", *arguments],
        env=clean_environment(PYTHONPATH=str(SCRIPTS)),
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    shown = done.stderr if code else done.stdout
    for name in TOOLS:
        tool = name.removesuffix(".py").removesuffix("_pipeline").removesuffix("_endpoint")
        tool = tool.removesuffix("_wizard").replace("_", "-")
        assert f"\n  {tool} " in shown or tool == "setup-env"
    if code:
        assert json.loads(done.stdout)["error"].startswith("no command given; there are make-in")


def test_interrupted_while_importing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        # A background shell hands down SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    ran = run_script("run_pipeline.py", "--help", PYTHONPATH=str(tmp_path))
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_every_source_file_names_its_licence() -> None:
    for folder in ("scripts", "tests", "benchmarks", "specs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".sh"):
                head = path.read_text(encoding="utf-8")[:200]
                assert "SPDX-License-Identifier: Apache-2.0" in head, path


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["inspect.py"], "RESULTS_DIR"),
        (["export.py", "results", "--format", "yolo", "-o", "x"], "'yolo' is not one of"),
        (["inspect.py", "results", "--only", "nothing"], "'nothing' is not one of"),
        (["evaluate.py", "results", "--truth", "x", "--truth-format", "y"], "'y' is not one of"),
        (["run_pipeline.py", "--limit", "2", "--sample", "3"], "exclude each other"),
        (["run_pipeline.py", "--check-images", "some"], "takes a number, or all"),
        (["run_pipeline.py", "spec.yaml"], "-e spec.yaml"),
    ],
)
def test_usage_errors_are_json_too(line: list[str], error: str) -> None:
    ran = run_script(*line)
    assert ran.code == ran.json["exit_code"] == 2
    assert error in ran.json["error"]
    assert error in ran.err
