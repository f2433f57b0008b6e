# SPDX-License-Identifier: Apache-2.0
"""``run_pipeline.py``: run the two steps."""

import json
import sys
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from image_grounding.cli.common import CONTEXT, error_facts, print_json, reporting_errors, say_error
from image_grounding.progress import make_reporter
from image_grounding.run import run
from image_grounding.spec import load_spec

_ONLY_IN_FILE = {"spec", "versions", "working_folder"}
_EPILOG = """\b
Examples:
  run_pipeline.py -e spec.yaml
  run_pipeline.py -e spec.yaml results_dir=out image_grounding.workflow.max_workers=16
  run_pipeline.py -e specs/local.yaml data.input_jsonl=captions.jsonl results_dir=out
  run_pipeline.py -e spec.yaml workflow.steps='["0"]'

\b
Exit codes: 0 done; 2 usage, spec or input; 3 finished, some samples failed;
4 endpoint unusable; 130 interrupted; 1 a bug.
"""


@click.command(context_settings=CONTEXT, epilog=_EPILOG)
@click.option(
    "-e", "--spec", "spec_file", type=click.Path(path_type=Path), help="The spec, a YAML file."
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
@click.option(
    "--table", type=click.IntRange(0), default=0, metavar="N",
    help="Also show the first N records as a table.",
)  # fmt: skip
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run_command(
    spec_file: Path | None, quiet: bool, table: int, overrides: tuple[str, ...]
) -> None:
    """Extract referring expressions from captions and ground them in their images.

    Finished samples are kept: the same command again asks only for what is missing. A JSON
    summary goes to stdout, progress to stderr, results to results_dir.
    """
    with reporting_errors():
        spec = load_spec(spec_file, overrides)
        result = run(spec, make_reporter(quiet=quiet))
        # The rest of it is in run_summary.json; what a program reads now stays short.
        short = {k: value for k, value in result.summary.items() if k not in _ONLY_IN_FILE}
        summary = {"exit_code": int(result.exit_code), **short}
        if result.error:
            summary |= error_facts(result.error)
            if not quiet:
                say_error(result.error)
        if table and not quiet:
            _show(spec.results_dir / "annotations.jsonl", table)
        print_json(summary)
    sys.exit(result.exit_code)


def _show(path: Path, count: int) -> None:
    """A table of phrases and boxes on stderr."""
    table = Table("image", "referring expression", escape("box [x1, y1, x2, y2]"), "score")
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, count):
            record = json.loads(line)
            for expression in record["expressions"]:
                found = expression["instances"] or [{"bbox": "not seen", "score": None}]
                for one in found:
                    score = "" if one["score"] is None else f"{one['score']:.2f}"
                    row = (record["image_path"], expression["text"], str(one["bbox"]), score)
                    table.add_row(*(escape(text) for text in row))
    Console(stderr=True).print(table)
