# SPDX-License-Identifier: Apache-2.0
"""``inspect.py``: check the quality of a run before scaling it."""

import sys
import webbrowser
from pathlib import Path
from typing import Any

from image_grounding.cli.common import output_needed, print_json, reporting_errors
from image_grounding.cli.inspect_view import View
from image_grounding.errors import Exit, InputError, OutputError
from image_grounding.inspection.advice import Decision, advise
from image_grounding.inspection.drawing import draw_cards
from image_grounding.inspection.inspect_run import inspect_run
from image_grounding.inspection.marks import read_marks
from image_grounding.inspection.model import Inspection
from image_grounding.inspection.page import write_page
from image_grounding.inspection.report_file import read_picks, short_report, write_report
from image_grounding.inspection.review import review_run
from image_grounding.inspection.review_report import review_report
from image_grounding.results.reading import Results
from image_grounding.spec import load_limits
from image_grounding.steps.table import all_steps


def inspect_tool(
    results_dir: Path,
    output: Path | None,
    sample: int,
    seed: int,
    only: str | None,
    draw: int,
    step: str | None,
    image_root: str | None,
    thresholds: tuple[str, ...],
    gate: bool,
    open_page: bool,
    review: Path | None,
    target: float,
    half_width: float | None,
    quiet: bool,
) -> None:  # fmt: skip
    """Look at a run before scaling it: a report with every box on its picture."""
    view = View(quiet=quiet)
    with reporting_errors():
        wanted = next((known for known in all_steps() if known.number == step), None)
        output_needed(results_dir, output)
        results = Results(results_dir, wanted, image_root)
        folder = output or (results_dir if results_dir.is_dir() else results_dir.parent) / "report"
        if review:
            width = half_width or (1 - target) / 2
            content, passed = _review(results, review, folder, target, width, view)
        else:
            limits = load_limits(results.spec_section("inspection"), thresholds)
            inspection = inspect_run(
                results, limits, step=wanted, sample=sample, seed=seed, only=only
            )
            page = _write(inspection, folder)
            view.inspection(inspection, page)
            content = {
                "report": str(page),
                "report_json": str(folder / "report.json"),
                **short_report(inspection),
            }
            passed = inspection.verdict != "fail"
            if draw:
                content["drawn"] = draw_cards(inspection.cards[:draw], folder / "drawn")
            if open_page and not webbrowser.open(page.resolve().as_uri()):
                view.say(f"no browser found; open {page} yourself")
        code = Exit.SOME_FAILED if gate and not passed else Exit.DONE
        print_json({"exit_code": int(code), **content})
    sys.exit(code)


def _write(inspection: Inspection, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    write_report(inspection, folder / "report.json")
    page = folder / "index.html"
    write_page(inspection, page)
    return page


def _review(
    results: Results, path: Path, folder: Path, target: float, half_width: float, view: View
) -> tuple[dict[str, Any], bool]:
    """The figures of the review, and whether they allow scaling."""
    marks = read_marks(path)
    picks, run = read_picks(folder / "report.json")
    reviewed = review_run(results, marks, marks.picks or picks)
    if not reviewed.reviewed.cards:
        raise InputError(f"no mark of {path} is on a record of {results.file}")
    advice = advise(reviewed, target, half_width)
    warnings = []
    if marks.run and run not in (None, marks.run):
        warnings.append("the review was made of another results folder or step")
    if reviewed.unknown_marks:
        warnings.append(
            f"marks left out: {reviewed.unknown_marks} expressions are not there, or have other "
            "boxes now"
        )
    for warning in warnings:
        view.say(f"warning: {warning}")
    content = review_report(reviewed, advice, target, half_width)
    view.review(content)
    passed = advice.decision in (Decision.SCALE, Decision.SCALE_ABOVE_SCORE)
    return {**content, "warnings": warnings}, passed
