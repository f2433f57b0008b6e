# SPDX-License-Identifier: Apache-2.0
"""``status.py``: how the runs in results folders are going, seen from outside."""

from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, ResultsPath, Tool

_EPILOG = """\b
Examples:
  status.py results
  status.py results --quiet
  status.py results --watch
  status.py results/shard-*
  status.py results/shard-* --watch

\b
Exit codes: 0 the state is known; 2 usage, or no run has begun there; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results", nargs=-1, required=True, type=ResultsPath(), metavar="RESULTS_DIR...")
@click.option("--watch", is_flag=True, help="Show a line every few seconds until none runs.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def status_command(results: tuple[Path, ...], watch: bool, quiet: bool) -> None:
    """Say how a run is going, from another terminal or after it was killed.

    Reads the results folder and changes nothing. A JSON object goes to stdout; with --watch that
    of the end. Of several folders, as of shards, it holds "runs" and their "total"; a folder in
    which no run has begun yet is "not started" there.
    """
    from image_grounding.cli.work.status import status_tool

    status_tool(results, watch=watch, quiet=quiet)
