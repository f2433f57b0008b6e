# SPDX-License-Identifier: Apache-2.0
"""``status.py``: how the run in a results folder is going, seen from outside."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, ResultsPath, Tool, print_json, reporting_errors
from image_grounding.terminal import printable

_EVERY_S = 5.0
_EPILOG = """\b
Examples:
  status.py results
  status.py results --quiet
  status.py results --watch

\b
Exit codes: 0 the state is known; 2 usage, or no run has begun there; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=ResultsPath())
@click.option("--watch", is_flag=True, help="Show a line every few seconds until the run ends.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def status_command(results_dir: Path, watch: bool, quiet: bool) -> None:
    """Say how a run is going, from another terminal or after it was killed.

    Reads the results folder and changes nothing. A JSON object goes to stdout; with --watch that
    of the end.
    """
    from image_grounding.batch.journal import jobs_in
    from image_grounding.run.remote import address_of, pull_again
    from image_grounding.run.status import status_of

    with reporting_errors():
        status = status_of(results_dir)
        while watch and status["running"]:
            _show(status, quiet=quiet)
            time.sleep(_EVERY_S)
            pull_again(results_dir)
            status = status_of(results_dir)
        jobs = jobs_in(results_dir)
        _show(status, quiet=quiet)
        for job in jobs if not quiet else ():
            click.echo(printable(_of_job(job)), err=True)
        there = {"results_dir": address_of(results_dir) or status["results_dir"]}
        print_json({"exit_code": 0, **status, **there, "jobs": jobs})


def _show(status: Mapping[str, Any], *, quiet: bool) -> None:
    if not quiet:
        click.echo(printable(_sentence(status)), err=True)


def _of_job(job: Mapping[str, Any]) -> str:
    counts = f"{job['done']} of {job['requests']} done, {job['failed']} failed"
    why = f": {job['problem']}" if job["problem"] else ""
    return f"job {job['id'] or job['tag']}: {job['state']}, {counts} (since {job['since']}){why}"


def _sentence(status: Mapping[str, Any]) -> str:
    parts = [f"{status['status']} (pid {status['pid']} on {status['host']}, {status['since']})"]
    parts.append(f"{status['finished']} finished, {status['failed']} failed, {status['left']} left")
    if status["running"]:
        parts.append(f"{status['samples_a_second']:.1f}/s")
        if status["seconds_left"] is not None:
            parts.append(f"about {status['seconds_left']:.0f} s left")
        if status["endpoint"]:
            parts.append(f"endpoint {status['endpoint']['state']}")
    if status["cost"] is not None:
        parts.append(f"cost {status['cost']:g}")
    return "; ".join(parts)
