# SPDX-License-Identifier: Apache-2.0
"""``export.py``: a run in a format that trainers read."""

import sys
from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, Tool, print_json, reporting_errors
from image_grounding.cli.inspect_view import View
from image_grounding.errors import Exit
from image_grounding.exports import FORMATS, Plan, Setting, export_run
from image_grounding.exports.filter import BoxFilter
from image_grounding.exports.images import Paths
from image_grounding.exports.split import parse_split
from image_grounding.exports.vlm_sft import STYLES
from image_grounding.results.reading import Results
from image_grounding.steps.table import all_steps

_FORMAT_LINES = "\n".join(f"  {name:<13} {exporter.summary}" for name, exporter in FORMATS.items())
_EPILOG = f"""\b
Formats:
{_FORMAT_LINES}

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
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(list(FORMATS)), required=True)
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
    type=click.Choice([Paths.RECORDS.value, Paths.ABSOLUTE.value]),
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
    type=click.Choice(list(STYLES)),
    default="qwen3",
    show_default=True,
    help="vlm-sft: whose way of writing boxes.",
)
@click.option(
    "--step",
    type=click.Choice([step.number for step in all_steps()]),
    help="Which step's records.  [default: the last one that ran]",
)
@click.option("--image-root", metavar="DIR", help="Where relative image paths start now.")
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def export_command(
    results_dir: Path,
    name: str,
    output: Path,
    min_score: float | None,
    drop_ungrounded: bool,
    split: str | None,
    seed: int,
    copy_images: bool,
    paths: str | None,
    image_prefix: str | None,
    categories: str,
    category_ids: str,
    convention: str,
    step: str | None,
    image_root: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Write a run in a format that trainers read, with a dataset card beside it.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records.
    """
    view = View(quiet=quiet)
    with reporting_errors():
        wanted = next((known for known in all_steps() if known.number == step), None)
        results = Results(results_dir, wanted, image_root)
        parts = parse_split(split, seed)
        model = str(results.teacher.get("model") or "")
        plan = Plan(
            name,
            BoxFilter(min_score, drop_ungrounded),
            parts,
            Paths(paths) if paths else None,
            copy_images,
            Setting(parts.parts, categories, int(category_ids), convention, model, image_prefix),
            overwrite,
        )
        report = export_run(results, plan, output)
        counts = ", ".join(f"{report[kind]} {kind}" for kind in ("records", "images", "boxes"))
        view.say(f"{counts} in {output}")
        for reason, count in report["left_out"].items():
            view.say(f"left out, {reason.replace('_', ' ')}: {count}")
        for warning in report["warnings"]:
            view.say(f"warning: {warning}")
        missing = any(reason.startswith("records_image") for reason in report["left_out"])
        code = Exit.SOME_FAILED if missing else Exit.DONE
        print_json({"exit_code": int(code), "format": name, "output": str(output), **report})
    sys.exit(code)
