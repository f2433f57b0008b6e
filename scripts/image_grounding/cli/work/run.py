# SPDX-License-Identifier: Apache-2.0
"""``run_pipeline.py``: run the two steps."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import (
    error_facts,
    print_json,
    reporting_errors,
    say_error,
)
from image_grounding.cli.tables import show_findings, show_records
from image_grounding.cli.work.engines import EngineOptions
from image_grounding.errors import Exit
from image_grounding.input.selection import Pilot
from image_grounding.input.shard import Shard
from image_grounding.run.dry_run import DryRun
from image_grounding.run.progress import make_reporter
from image_grounding.run.remote import results_there, results_to_look_at
from image_grounding.spec import Spec, load_spec

_ONLY_IN_FILE = {"spec", "versions", "working_folder"}


def run_tool(
    spec_file: Path | None,
    dry: bool,
    decode: str,
    limit: int | None,
    sample: int | None,
    seed: int,
    shard: str | None,
    quiet: bool,
    table: int,
    overrides: tuple[str, ...],
    **carrying: Any,
) -> None:
    """Extract referring expressions from captions and ground them in their images."""
    if limit and sample:
        raise click.UsageError("--limit and --sample exclude each other")
    if not re.fullmatch(r"all|\d{1,12}", decode):
        raise click.UsageError("--check-images takes a number, or all")
    engine = EngineOptions(**carrying)
    pilot = Pilot(limit) if limit else Pilot(sample, seed) if sample else None
    with reporting_errors():
        spec = load_spec(spec_file, overrides, without_keys=dry)
        by_picture = spec.workflow.captions_per_request > 1
        part = None if shard is None else Shard.parse(shard, by_picture=by_picture)
        reporter = make_reporter(quiet=quiet)
        for note in spec.notes:
            reporter.say(note)
        engine.require_place(spec)
        if dry:
            whole = None if decode == "all" else int(decode)
            with results_to_look_at(spec) as there:
                look = DryRun(there, reporter, pilot, whole, part, discount=engine.discount)
                sys.exit(_look(look, quiet))
        if engine.cancel:
            report = engine.cancel_jobs(spec, reporter)
            print_json(report)
            sys.exit(report["exit_code"])
        with results_there(spec, reporter.say):
            result = engine.run(spec, reporter, pilot, part)
            _show_table(spec, table, quiet)
        # The rest of it is in run_summary.json; what a program reads now stays short.
        short = {k: value for k, value in result.summary.items() if k not in _ONLY_IN_FILE}
        summary = {"exit_code": int(result.exit_code), **short}
        if result.error:
            summary |= error_facts(result.error)
            if not quiet:
                say_error(result.error)
        print_json(summary)
    sys.exit(result.exit_code)


def _show_table(spec: Spec, table: int, quiet: bool) -> None:
    """Show the first records of a run that has ended."""
    if table and not quiet:
        show_records(spec.results_dir / "annotations.jsonl", table)


def _look(dry_run: DryRun, quiet: bool) -> Exit:
    """Print what a dry run finds."""
    dry_run.look()
    report = dry_run.plain()
    if not quiet:
        show_findings(report)
    print_json(report)
    return dry_run.exit_code
