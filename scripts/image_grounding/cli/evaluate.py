# SPDX-License-Identifier: Apache-2.0
"""``evaluate.py``: a run against ground truth."""

from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, LateChoice, ResultsPath, Tool

_EPILOG = """\b
Examples:
  evaluate.py results --truth instances_val2017.json
  evaluate.py results --truth flickr30k_entities --truth-format flickr30k
  evaluate.py results --truth 'refcoco/refs(unc).p' -o evaluation
  evaluate.py results --truth corrected.jsonl --min any_box.accuracy=0.8 --quiet

\b
Exit codes: 0 done; 2 usage or input; 3 a metric is below its --min; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=ResultsPath())
@click.option(
    "--truth",
    "truth_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="A file or folder of ground truth.",
)
@click.option(
    "--truth-format",
    type=LateChoice("image_grounding.evaluation.truth", "READERS", "auto"),
    metavar="[auto|coco|odvg|refcoco|flickr30k|records]",
    default="auto",
    show_default=True,
    help="Its format; auto goes by the content.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where evaluation.json and the plots go.  [default: RESULTS_DIR/evaluation]",
)
@click.option(
    "--resamples",
    type=click.IntRange(0, 100_000),
    default=1_000,
    show_default=True,
    metavar="N",
    help="Of the bootstrap behind the intervals; 0 for none.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option(
    "--min",
    "minima",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Exit 3 where the metric is below it or not defined.",
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def evaluate_command(**options: Any) -> None:
    """Measure a run against ground truth: recall, accuracy, IoU, calibration.

    Each metric comes with a 95 % bootstrap interval over images. A table goes to stderr, the
    metrics to stdout, all figures to evaluation.json, a reliability diagram and a histogram of
    IoU beside it.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records. The truth may be COCO
    JSON, ODVG JSON Lines, RefCOCO, Flickr30k Entities, or records of our own.
    """
    from image_grounding.cli.work.evaluate import evaluate_tool

    evaluate_tool(**options)
