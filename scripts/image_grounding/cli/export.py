# SPDX-License-Identifier: Apache-2.0
"""``export.py``: a run in a format that trainers read."""

from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, LateChoice, ResultsPath, Tool

_EPILOG = """\b
Formats:
  coco          COCO JSON, each annotation with its phrase
  flickr30k     Flickr30k Entities: marked sentences and XML boxes
  label-studio  Label Studio tasks with pre-annotations, and the labeling configuration
  odvg          JSON lines of caption and regions for Grounding DINO
  parquet       Parquet with nested columns (needs the extra parquet)
  refcoco       RefCOCO: refs and instances; only expressions with exactly one box
  tao           the records as TAO's image_grounding writes them (bbox_score)
  vlm-sft       conversations for fine-tuning a VLM; --convention says how boxes are written

\b
Examples:
  export.py results --format odvg -o train_odvg
  export.py results --format coco --categories noun --split 0.9/0.1 -o coco
  export.py results --format vlm-sft --convention qwen2.5 --copy-images -o sft
  export.py results --format tao --min-score 0.5 --drop-ungrounded -o tao
  export.py results --format tao --step 0 -o tao_step_0

\b
Exit codes: 0 done; 2 usage or input, or nothing is left to export; 3 done, but some images are
missing and their records left out (--copy-images); 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=ResultsPath())
@click.option(
    "--format",
    "name",
    type=LateChoice("image_grounding.exports", "FORMATS"),
    required=True,
    metavar="[coco|flickr30k|label-studio|odvg|parquet|refcoco|tao|vlm-sft]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that is new or empty.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Leave out boxes with a lower score or none, and expressions that lose all of theirs.  "
    "[default: all boxes are kept, those without a score too]",
)
@click.option("--drop-ungrounded", is_flag=True, help="Leave out expressions without a box.")
@click.option(
    "--split",
    metavar="SHARES",
    help="Parts by image: 0.9/0.1 (train, val) or 0.8/0.1/0.1 (train, val, test).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option("--copy-images", is_flag=True, help="Copy the images to DIR/images, upright.")
@click.option(
    "--paths",
    type=click.Choice(["records", "absolute"]),
    help="Image paths as in the records (of copies: below DIR), or absolute.  [default: records; "
    "tao: absolute]",
)
@click.option(
    "--image-prefix",
    metavar="TEXT",
    help="Put before every image path.  [default: nothing; label-studio: /data/local-files/?d=]",
)
@click.option(
    "--categories",
    type=click.Choice(["phrase", "noun"]),
    default="phrase",
    show_default=True,
    help="coco, refcoco: one category for all phrases, or one a noun.",
)
@click.option(
    "--category-ids",
    type=click.Choice(["0", "1"]),
    default="0",
    show_default=True,
    help="coco, refcoco: the first category's id.  0: TAO, Hugging Face; 1: torchvision's "
    "detectors, Ultralytics' convert_coco.",
)
@click.option(
    "--convention",
    type=LateChoice("image_grounding.exports.vlm_sft", "STYLES"),
    metavar="[qwen3|qwen2.5|gemini|llava]",
    default="qwen3",
    show_default=True,
    help="vlm-sft: whose way of writing boxes.",
)
@click.option(
    "--step",
    type=LateChoice("image_grounding.steps.table", "step_numbers"),
    metavar="[0|1]",
    help="Which step's records.  [default: the last one that ran]",
)
@click.option("--image-root", metavar="DIR", help="Where relative image paths start now.")
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def export_command(**options: Any) -> None:
    """Write a run in a format that trainers read, with a dataset card beside it.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records.
    """
    from image_grounding.cli.work.export import export_tool

    export_tool(**options)
