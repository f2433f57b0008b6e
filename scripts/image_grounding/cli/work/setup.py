# SPDX-License-Identifier: Apache-2.0
"""``setup_wizard.py``: from questions to a spec."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_grounding.cli.common import print_json, reporting_errors
from image_grounding.cli.work.check import check_spec
from image_grounding.errors import Exit, SpecError
from image_grounding.files import write_atomic
from image_grounding.resources import bundle_root
from image_grounding.setup import answers as specs
from image_grounding.setup.interview import Interview, UnansweredError, as_plain
from image_grounding.setup.parsing import resolved
from image_grounding.setup.questions import QUESTIONS, to_plain
from image_grounding.setup.starting import how_to_start
from image_grounding.setup.state import State
from image_grounding.setup.writer import check, foreign_comments, render
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.spec.schema import misplaced, without_empty_sections
from image_grounding.terminal import printable

if TYPE_CHECKING:
    from image_grounding.setup.terminal import Terminal


def setup_tool(
    source: Path | None,
    tao: bool,
    overwrite: bool,
    unlisted_model: bool,
    wants_check: bool | None,
    print_questions: bool,
    quiet: bool,
    **flags: str | None,
) -> None:
    """Make a spec by answering questions, each of which is also a flag."""
    terminal = sys.stdin.isatty() and sys.stderr.isatty()

    def say(message: str) -> None:
        if terminal or not quiet:
            click.echo(printable(message, indent=""), err=True)

    with reporting_errors():
        state = State(say, tao=tao, overwrite=overwrite, unlisted_model=unlisted_model)
        base = _begin(source, state)
        if print_questions:
            print_json(_questions(state.previous))
            return
        given = {name: text for name, text in flags.items() if text is not None}
        try:
            person = _person() if terminal else None
            state.asking = person.asking if person else state.asking
            Interview(given, state, person).run()
            result = _finish(source, base, state)
            if wants_check is None and person and _needs_endpoint(state.answers):
                there = state.answers.get("running") != "no"
                wants_check = person.confirm("Check the endpoint now?", there)
            if wants_check:
                result["check"] = check_spec(Path(result["spec"]), quiet=quiet)
                result["exit_code"] = result["check"]["exit_code"]
            print_json(result)
            sys.exit(result["exit_code"])
        except UnansweredError as error:
            say(f"error: {error}")
            code = int(error.exit_code)
            print_json(
                {"status": "error", "exit_code": code, "error": str(error), **as_plain(error)}
            )
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            say("interrupted: nothing is written")
            print_json({"status": "interrupted", "exit_code": int(Exit.INTERRUPTED)})
            sys.exit(Exit.INTERRUPTED)


def _begin(source: Path | None, state: State) -> specs.Values:
    """The spec to edit, or an empty one; its answers become the state's earlier ones."""
    if source is None:
        return {}
    base = without_empty_sections(specs.read_base(source))
    if problems := misplaced(base):
        raise SpecError("\n".join(problems))
    written_out = specs.secrets_in(base)
    for key in written_out:
        state.warn(f"{key} in {source} is left out: a secret does not belong in a file")
    if lost := foreign_comments(source.read_text(encoding="utf-8-sig")):
        state.warn(f"comments of {source} are not kept, such as # {lost[0]}")
    base = specs.drop(base, set(written_out))
    state.previous = {**specs.read_answers(base), "spec": str(source)}
    state.gemini_base_url = specs.gemini_base_url(base)
    return base


def _questions(previous: Mapping[str, str]) -> dict[str, Any]:
    return {
        "questions": [to_plain(question, previous) for question in QUESTIONS],
        "facts": {"existing_results": "yes where results_dir holds finished samples, else no"},
        "other_flags": ["--from", "--tao", "--overwrite", "--unlisted-model", "--check", "--quiet"],
    }


def _person() -> "Terminal":
    from image_grounding.setup.terminal import Terminal  # slow to import

    return Terminal()


def _finish(source: Path | None, base: specs.Values, state: State) -> dict[str, Any]:
    """Write the spec; what a program should know of it."""
    answers = state.answers
    values = specs.to_values(answers, base, tao=state.tao)
    left_out = specs.beyond_tao(values) if state.tao else []
    values = specs.drop(values, set(left_out))
    if source and state.previous.get("model") != answers.get("model"):
        for key in specs.tied_to_model(values):
            state.warn(f"{key} is kept, but was made for another model")
    text = render(values)
    check(text)
    state.say(f"\n{text}")
    write_atomic(Path(answers["spec"]), text)
    commands = _next_commands(answers)
    state.say(f"written to {answers['spec']}")
    for key in left_out:
        state.say(f"left out, as TAO does not know it: {key}")
    start = how_to_start(answers)
    shown = [f"to start it: {start}"] if start else []
    state.say("next:\n" + "\n".join(f"  {command}" for command in [*shown, *commands]))
    asked = [question for question in QUESTIONS if question.name in answers]
    flags = [part for question in asked for part in (question.flag, answers[question.name])]
    flags += ["--from", str(source)] if source else []
    flags += ["--tao"] if state.tao else []
    flags += ["--unlisted-model"] if state.unlisted_model else []
    return {
        "status": "written",
        "exit_code": int(Exit.DONE),
        "spec": answers["spec"],
        "answers": dict(answers),
        "warnings": state.warnings,
        "left_out": left_out,
        "existing": {
            work.step.folder_name: {"finished": work.finished, "failed": work.failed}
            for work in state.existing
        },
        "start": start,
        "next": commands,
        "again": _command("setup", *flags, "--overwrite"),
    }


def _needs_endpoint(answers: Mapping[str, str]) -> bool:
    return capabilities_of(specs.backend_of(answers["endpoint"])).needs_endpoint


def _next_commands(answers: Mapping[str, str]) -> list[str]:
    spec = ("-e", answers["spec"])
    wait = [] if answers.get("running", "yes") == "yes" else ["--wait", "600"]
    return [
        _command("run", *spec, "--dry-run"),
        *([_command("check", *spec, *wait)] if _needs_endpoint(answers) else []),
        _command("run", *spec, "--sample", "10"),
        _command("inspect", resolved(answers["results_dir"])),
    ]


_SCRIPTS = {
    "setup": "setup_wizard.py",
    "check": "check_endpoint.py",
    "run": "run_pipeline.py",
    "inspect": "inspect.py",
}


def _command(name: str, *arguments: str) -> str:
    """A command line that works in the current folder: with the script, or as installed."""
    script = bundle_root() / "scripts" / _SCRIPTS[name]
    tool = [str(script)] if script.parent.is_dir() else ["-m", "image_grounding", name]
    return shlex.join([sys.executable, *tool, *arguments])
