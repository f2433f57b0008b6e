# SPDX-License-Identifier: Apache-2.0
"""``setup_wizard.py``: from questions to a spec."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, Tool
from image_grounding.setup.questions import QUESTIONS

_EPILOG = """\b
Examples:
  setup_wizard.py
  setup_wizard.py --print-questions
  setup_wizard.py --input captions.jsonl --endpoint gemini --results-dir out --check
  setup_wizard.py --input captions.jsonl --endpoint vllm --model Qwen/Qwen3-VL-8B-Instruct
  setup_wizard.py --from spec.yaml --endpoint custom --base-url http://host:9000/v1 --overwrite

\b
Exit codes: 0 the spec is written; 2 answers are missing or wrong, or the file exists;
4 it is written, but with --check the endpoint was found not usable;
130 interrupted, nothing is written; 1 a bug.
"""


def _with_a_flag_for_each_question(command: Callable[..., None]) -> Callable[..., None]:
    for question in reversed(QUESTIONS):
        values = "|".join(choice.value for choice in question.choices)
        metavar = f"[{values}]" if values else "PATH" if question.is_path else "TEXT"
        short = ("-o",) if question.flag == "--output" else ()
        command = click.option(
            question.flag, *short, question.name, metavar=metavar, help=question.text
        )(command)
    return command


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@_with_a_flag_for_each_question
@click.option("--from", "source", type=click.Path(path_type=Path), help="Edit this spec.")
@click.option("--tao", is_flag=True, help="Write only keys that TAO's own schema knows.")
@click.option("--overwrite", is_flag=True, help="Replace the spec where it exists.")
@click.option(
    "--unlisted-model", is_flag=True, help="Keep a model that the endpoint does not list."
)
@click.option(
    "--check/--no-check",
    "wants_check",
    default=None,
    help="Then check the endpoint; without either, asked on a terminal.",
)
@click.option("--print-questions", is_flag=True, help="Print the interview as JSON, ask nothing.")
@click.option("--quiet", is_flag=True, help="Off a terminal: only the JSON object on stdout.")
def setup_command(**options: Any) -> None:
    """Make a spec by answering questions, each of which is also a flag.

    On a terminal, what no flag answers is asked. Elsewhere nothing is: defaults are taken, and
    what has none is listed at once. Keys stay in environment variables.
    """
    from image_grounding.cli.work.setup import setup_tool

    setup_tool(**options)
