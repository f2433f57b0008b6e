# SPDX-License-Identifier: Apache-2.0
"""``evaluate.py``: a run against ground truth."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from image_grounding.cli.common import CONTEXT, print_json, reporting_errors
from image_grounding.errors import OutputError
from image_grounding.evaluation.evaluate import Evaluation, evaluate
from image_grounding.evaluation.plots import write_plots
from image_grounding.evaluation.truth import FORMATS, read_truth
from image_grounding.files import to_json, write_atomic
from image_grounding.results import Results

_EPILOG = """\b
Examples:
  evaluate.py results --truth instances_val.json
  evaluate.py results --truth flickr30k_entities --truth-format flickr30k
  evaluate.py results --truth corrected.jsonl -o figures --quiet

\b
Exit codes: 0 done; 2 usage or input; 130 interrupted; 1 a bug.
"""


@click.command(context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option(
    "--truth", required=True, type=click.Path(path_type=Path), help="A file or folder, see above."
)
@click.option(
    "--truth-format",
    type=click.Choice(["auto", *FORMATS]),
    default="auto",
    show_default=True,
    help="What the truth is.",
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
    default=1000,
    show_default=True,
    help="Bootstrap draws for the intervals; 0 for none.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def evaluate_command(
    results_dir: Path,
    truth: Path,
    truth_format: str,
    output: Path | None,
    resamples: int,
    seed: int,
    quiet: bool,
) -> None:
    """Compare a run with ground truth: recall, accuracy, mean IoU, expressions, calibration.

    The truth is COCO JSON, ODVG JSON Lines, a RefCOCO folder (refs and instances.json), a
    Flickr30k Entities folder (Sentences and Annotations), or records as a run writes them.
    Every figure has a 95 % bootstrap interval over images.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records.
    """
    with reporting_errors():
        results = Results(results_dir)
        found_format, examples = read_truth(truth, truth_format)
        evaluation = evaluate(results.records(), examples, resamples=resamples, seed=seed)
        folder = output or (results.path if results.path.is_dir() else results.path.parent) / (
            "evaluation"
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
        plots = write_plots(evaluation, folder)
        content = {
            "exit_code": 0,
            "truth": str(truth),
            "truth_format": found_format,
            "resamples": resamples,
            "seed": seed,
            "evaluation": str(folder / "evaluation.json"),
            "plots": None if plots is None else [str(path) for path in plots],
            **evaluation.as_json(),
        }
        write_atomic(folder / "evaluation.json", to_json(content, indent=2) + "\n")
        if not quiet:
            _show(evaluation)
            if plots is None:
                click.echo("no plots: install matplotlib (the extra plots) for them", err=True)
        print_json(content)


def _show(evaluation: Evaluation) -> None:
    console = Console(stderr=True)
    table = Table("metric", "value", "95 % interval")
    for name, value in evaluation.figures.items():
        bounds = evaluation.intervals[name]
        table.add_row(
            name,
            "-" if value is None else f"{value:.4f}",
            "-" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}",
        )
    console.print(table)
    counts = Table("count", "")
    for name, count in evaluation.counts.items():
        counts.add_row(name.replace("_", " "), str(count))
    console.print(counts)
