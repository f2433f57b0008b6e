# SPDX-License-Identifier: Apache-2.0
"""``export.py``: a run in a format that trainers read."""

import sys
from pathlib import Path

from image_grounding.cli.common import print_json, reporting_errors
from image_grounding.cli.inspect_view import View
from image_grounding.errors import Exit
from image_grounding.exports import Plan, Setting, export_run
from image_grounding.exports.filter import BoxFilter
from image_grounding.exports.images import Paths
from image_grounding.exports.split import parse_split
from image_grounding.results.reading import Results
from image_grounding.steps.table import all_steps


def export_tool(
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
    """Write a run in a format that trainers read, with a dataset card beside it."""
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
