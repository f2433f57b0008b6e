# SPDX-License-Identifier: Apache-2.0
"""``run_pipeline.py``: run the two steps."""

import re
import sys
from pathlib import Path

import click

from image_grounding.cli.common import (
    CONTEXT,
    Tool,
    error_facts,
    print_json,
    reporting_errors,
    say_error,
)
from image_grounding.cli.tables import show_findings, show_records
from image_grounding.errors import Exit
from image_grounding.input.selection import Pilot
from image_grounding.run.dry_run import DryRun
from image_grounding.run.progress import make_reporter
from image_grounding.run.run import run
from image_grounding.spec import load_spec

_ONLY_IN_FILE = {"spec", "versions", "working_folder"}
_EPILOG = """\b
Examples:
  run_pipeline.py -e spec.yaml
  run_pipeline.py -e spec.yaml results_dir=out image_grounding.workflow.max_workers=16
  run_pipeline.py -e specs/local.yaml data.input_jsonl=captions.jsonl results_dir=out
  run_pipeline.py -e spec.yaml workflow.steps='["0"]'
  run_pipeline.py -e spec.yaml --dry-run
  run_pipeline.py -e spec.yaml --dry-run --check-images all
  run_pipeline.py -e spec.yaml --sample 10 --seed 1

\b
Exit codes: 0 done; 2 usage, spec or input; 3 finished, some samples failed;
4 endpoint unusable; 130 interrupted; 1 a bug.
With --dry-run: 0 every line can be used; 2 none can; 3 some cannot.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.option(
    "-e", "--spec", "spec_file", type=click.Path(path_type=Path), help="The spec, a YAML file."
)
@click.option(
    "--dry-run",
    "dry",
    is_flag=True,
    help="Check spec and input, say what would be asked; ask and write nothing.",
)
@click.option(
    "--check-images",
    "decode",
    default="1000",
    show_default=True,
    metavar="N|all",
    help="Of --dry-run: decode so many images whole; of the others the headers are read.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="A pilot: the first N samples.")
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="A pilot: N samples drawn at random."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of --sample: another seed, others."
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
@click.option(
    "--table", type=click.IntRange(0), default=0, metavar="N",
    help="Also show the first N records as a table.",
)  # fmt: skip
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run_command(
    spec_file: Path | None,
    dry: bool,
    decode: str,
    limit: int | None,
    sample: int | None,
    seed: int,
    quiet: bool,
    table: int,
    overrides: tuple[str, ...],
) -> None:
    """Extract referring expressions from captions and ground them in their images.

    Finished samples are kept: the same command again asks only for what is missing. A JSON
    summary goes to stdout, progress to stderr, results to results_dir.
    """
    if limit and sample:
        raise click.UsageError("--limit and --sample exclude each other")
    if not re.fullmatch(r"all|\d{1,12}", decode):
        raise click.UsageError("--check-images takes a number, or all")
    pilot = Pilot(limit) if limit else Pilot(sample, seed) if sample else None
    with reporting_errors():
        spec = load_spec(spec_file, overrides, without_keys=dry)
        reporter = make_reporter(quiet=quiet)
        for note in spec.notes:
            reporter.say(note)
        if dry:
            whole = None if decode == "all" else int(decode)
            sys.exit(_look(DryRun(spec, reporter, pilot, whole), quiet))
        result = run(spec, reporter, pilot)
        # The rest of it is in run_summary.json; what a program reads now stays short.
        short = {k: value for k, value in result.summary.items() if k not in _ONLY_IN_FILE}
        summary = {"exit_code": int(result.exit_code), **short}
        if result.error:
            summary |= error_facts(result.error)
            if not quiet:
                say_error(result.error)
        if table and not quiet:
            show_records(spec.results_dir / "annotations.jsonl", table)
        print_json(summary)
    sys.exit(result.exit_code)


def _look(dry_run: DryRun, quiet: bool) -> Exit:
    """Print what a dry run finds."""
    dry_run.look()
    report = dry_run.plain()
    if not quiet:
        show_findings(report)
    print_json(report)
    return dry_run.exit_code
