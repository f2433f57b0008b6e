# SPDX-License-Identifier: Apache-2.0
"""``merge.py``: results of shards into one folder."""

from typing import Any

import click

from image_grounding.cli.common import CONTEXT, FolderPath, InputPath, Tool

_EPILOG = """\b
Examples:
  merge.py results/shard-* -o results/whole
  merge.py node1/results node2/results -o whole --input captions.jsonl --image-root photos
  merge.py results/shard-* -o results/so-far --allow-missing

\b
Exit codes: 0 done, and every sample is annotated; 2 usage, results that contradict each other, or
shards are missing; 3 done, but samples failed or are left; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results", nargs=-1, required=True, type=FolderPath(), metavar="RESULTS_DIR...")
@click.option(
    "-o",
    "--output",
    type=FolderPath(),
    required=True,
    metavar="DIR",
    help="The results folder of the whole: a new one, or that of an earlier merge of these.",
)
@click.option(
    "--input",
    "source",
    type=InputPath(),
    metavar="FILE",
    help="The whole input.  [default: the one that the runs name]",
)
@click.option("--image-root", metavar="DIR", help="Where relative image paths start now.")
@click.option("--allow-missing", is_flag=True, help="Merge though shards are missing.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def merge_command(**options: Any) -> None:
    """Merge the results of shards into one folder, as one run over the whole input leaves it.

    Records, failures and checkpoints are those of one run, in the order of the input, so that
    the folder can be inspected, exported and run on. The same command again does a merge anew:
    after it was killed, or when the shards have gone on.
    """
    from image_grounding.cli.work.merge import merge_tool

    merge_tool(**options)
