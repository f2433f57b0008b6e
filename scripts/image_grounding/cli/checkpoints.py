# SPDX-License-Identifier: Apache-2.0
"""``checkpoints.py``: what a run keeps of each sample, one file a sample."""

from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, ResultsPath, Tool, print_json, reporting_errors

_EPILOG = """\b
Examples:
  checkpoints.py results -o kept
  checkpoints.py results -o kept --sample-id dog-1a2b3c4d5e6f7a8b9c0d

\b
Exit codes: 0 done; 2 usage, or nothing is kept there; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=ResultsPath())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that is new or empty.",
)
@click.option("--sample-id", "sample_ids", multiple=True, metavar="ID", help="Only this sample's.")
def checkpoints_command(results_dir: Path, output: Path, sample_ids: tuple[str, ...]) -> None:
    """Write the kept checkpoints as DIR/STEP/SAMPLE_ID.json, with the model's replies.

    A run keeps them together, in a few files; this is for looking at them. Reads RESULTS_DIR and
    changes nothing in it.
    """
    from image_grounding.results.unpacking import unpack

    with reporting_errors():
        counts = unpack(results_dir, output, frozenset(sample_ids))
        print_json({"exit_code": 0, "output": str(output), "checkpoints": counts})
