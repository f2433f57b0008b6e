# SPDX-License-Identifier: Apache-2.0
"""``inspect.py``: check the quality of a run before scaling it."""

from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, LateChoice, ResultsPath, Tool

_EPILOG = """\b
Examples:
  inspect.py results
  inspect.py results --gate --quiet
  inspect.py results --only tiny_box --sample 50 --open
  inspect.py results --draw 10 --quiet
  inspect.py results --threshold ungrounded=0.3
  inspect.py results --review ~/Downloads/review.json --target 0.95

\b
Exit codes: 0 done; 2 usage or input; 3 with --gate: a check over all records failed, or the
review does not say to scale; 130 interrupted; 1 a bug.
"""


_OPEN_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=ResultsPath())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the report goes.  [default: RESULTS_DIR/report]",
)
@click.option(
    "--sample",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Cards in the report: the worst, some of every flag, the rest at random.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option(
    "--only",
    type=LateChoice("image_grounding.inspection.checks", "RECORD_CHECK_NAMES"),
    metavar="FLAG",
    help="Cards with this flag alone, such as tiny_box.",
)
@click.option(
    "--draw",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="Also the first N cards as PNG files, boxes drawn in: for whoever has no browser.",
)
@click.option(
    "--step",
    type=LateChoice("image_grounding.steps.table", "step_numbers"),
    metavar="[0|1]",
    help="Which step's records.  [default: the last one that ran]",
)
@click.option("--image-root", metavar="DIR", help="Where relative image paths start now.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="A threshold of the spec's section inspection, such as failed=0.1.",
)
@click.option("--gate", is_flag=True, help="Exit 3 where a check over all records fails.")
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
@click.option(
    "--review",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A review.json from the page: precision instead of a report.",
)
@click.option(
    "--target", type=_OPEN_SHARE, default=0.95, show_default=True, help="The wanted precision."
)
@click.option(
    "--half-width",
    type=_OPEN_SHARE,
    help="How exactly it should be known.  [default: (1 - target) / 2]",
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def inspect_command(**options: Any) -> None:
    """Look at a run before scaling it: a report with every box on its picture.

    Writes index.html, one file that opens without a network, and report.json. With --review,
    turns the marks made in that page into a precision with its uncertainty.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records.
    """
    from image_grounding.cli.work.inspect import inspect_tool

    inspect_tool(**options)
