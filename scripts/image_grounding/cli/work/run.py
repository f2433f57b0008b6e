# SPDX-License-Identifier: Apache-2.0
"""``run_pipeline.py``: run the two steps."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from image_grounding.cli.common import (
    error_facts,
    print_json,
    reporting_errors,
    say_error,
)
from image_grounding.cli.tables import show_findings, show_records
from image_grounding.errors import Exit, SpecError
from image_grounding.input.selection import Pilot
from image_grounding.input.shard import Shard
from image_grounding.run.dry_run import DryRun
from image_grounding.run.estimate import BATCH_DISCOUNT
from image_grounding.run.progress import Reporter, make_reporter
from image_grounding.run.remote import results_there, results_to_look_at
from image_grounding.run.run import RunResult, run
from image_grounding.spec import Spec, load_spec

Run = Callable[[Spec, Reporter, Pilot | None, Shard | None], RunResult]
_ONLY_IN_FILE = {"spec", "versions", "working_folder"}


def run_tool(
    spec_file: Path | None,
    dry: bool,
    decode: str,
    limit: int | None,
    sample: int | None,
    seed: int,
    shard: str | None,
    engine: str,
    ray_address: str | None,
    ray_workers: int | None,
    ray_wait_s: float | None,
    wait: bool,
    poll_s: float,
    job_requests: int | None,
    cancel: bool,
    quiet: bool,
    table: int,
    overrides: tuple[str, ...],
) -> None:
    """Extract referring expressions from captions and ground them in their images."""
    if limit and sample:
        raise click.UsageError("--limit and --sample exclude each other")
    if not re.fullmatch(r"all|\d{1,12}", decode):
        raise click.UsageError("--check-images takes a number, or all")
    batch = engine in ("batch", "batch-files")
    if (ray_address or ray_workers or ray_wait_s) and engine != "ray":
        raise click.UsageError("--ray-address, --ray-workers and --ray-wait belong to --engine ray")
    if (wait or job_requests or cancel) and not batch:
        raise click.UsageError("--wait, --job-requests and --cancel belong to --engine batch")
    go = _by_ray(ray_address, ray_workers, ray_wait_s) if engine == "ray" else run
    pilot = Pilot(limit) if limit else Pilot(sample, seed) if sample else None
    with reporting_errors():
        spec = load_spec(spec_file, overrides, without_keys=dry)
        by_picture = spec.workflow.captions_per_request > 1
        part = None if shard is None else Shard.parse(shard, by_picture=by_picture)
        reporter = make_reporter(quiet=quiet)
        for note in spec.notes:
            reporter.say(note)
        if batch and spec.results_url:
            raise SpecError(
                "batch queues need a results_dir that is a folder: their jobs are kept in it; "
                f"{spec.results_url} is an address"
            )
        if dry:
            whole = None if decode == "all" else int(decode)
            discount = BATCH_DISCOUNT if engine == "batch" else 1.0
            with results_to_look_at(spec) as there:
                look = DryRun(there, reporter, pilot, whole, part, discount=discount)
                sys.exit(_look(look, quiet))
        if batch:
            from image_grounding.batch.cancelling import cancel_jobs
            from image_grounding.batch.making import QueueOptions
            from image_grounding.batch.rounds import Waiting, run_batch

            options = QueueOptions(files=engine == "batch-files", job_requests=job_requests)
            if cancel:
                report = cancel_jobs(spec, reporter.say, options)
                print_json(report)
                sys.exit(report["exit_code"])
            result = run_batch(spec, reporter, pilot, part, options, Waiting(wait, poll_s))
            _show_table(spec, table, quiet)
        else:
            with results_there(spec, reporter.say):
                _warn_of_jobs(spec, reporter)
                result = go(spec, reporter, pilot, part)
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


def _by_ray(address: str | None, workers: int | None, wait_s: float | None) -> Run:
    from image_grounding.cluster.connection import RayOptions
    from image_grounding.cluster.engine import RayEngine

    return RayEngine(RayOptions(address, workers, wait_s or RayOptions.wait_s)).go


def _show_table(spec: Spec, table: int, quiet: bool) -> None:
    """Show the first records of a run that has ended."""
    if table and not quiet:
        show_records(spec.results_dir / "annotations.jsonl", table)


def _warn_of_jobs(spec: Spec, reporter: Reporter) -> None:
    """Say that batch jobs hold what is now asked for at once."""
    from image_grounding.batch.journal import jobs_in

    if count := sum(job["is_open"] for job in jobs_in(spec.results_dir)):
        reporter.say(
            f"warning: {count} batch jobs are under way in {spec.results_dir}; what they hold is "
            "asked for, and paid, once more (--engine batch collects it)"
        )


def _look(dry_run: DryRun, quiet: bool) -> Exit:
    """Print what a dry run finds."""
    dry_run.look()
    report = dry_run.plain()
    if not quiet:
        show_findings(report)
    print_json(report)
    return dry_run.exit_code
