# SPDX-License-Identifier: Apache-2.0
"""``evaluate.py``: a run against ground truth."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, Tool, print_json, reporting_errors
from image_grounding.cli.evaluate_view import show_evaluation
from image_grounding.errors import Exit, InputError
from image_grounding.evaluation.evaluate import Figure, evaluate
from image_grounding.evaluation.output import as_summary, write_evaluation
from image_grounding.evaluation.truth import READERS, read_truth
from image_grounding.results.reading import Results
from image_grounding.terminal import printable

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
@click.argument("results_dir", type=click.Path(path_type=Path))
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
    type=click.Choice(["auto", *READERS]),
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
def evaluate_command(
    results_dir: Path,
    truth_path: Path,
    truth_format: str,
    output: Path | None,
    resamples: int,
    seed: int,
    minima: tuple[str, ...],
    quiet: bool,
) -> None:
    """Measure a run against ground truth: recall, accuracy, IoU, calibration.

    Each metric comes with a 95 % bootstrap interval over images. A table goes to stderr, the
    metrics to stdout, all figures to evaluation.json, a reliability diagram and a histogram of
    IoU beside it.

    RESULTS_DIR is a run's results_dir, or a JSONL file of its records. The truth may be COCO
    JSON, ODVG JSON Lines, RefCOCO, Flickr30k Entities, or records of our own.
    """
    with reporting_errors():
        wanted = dict(_minimum(text) for text in minima)
        results = Results(results_dir)
        evaluation = evaluate(results, read_truth(truth_path, truth_format), resamples, seed)
        below = _below(evaluation.metrics, wanted)
        home = results_dir if results_dir.is_dir() else results_dir.parent
        files, problem = write_evaluation(evaluation, output or home / "evaluation")
        messages = [*(f"warning: {text}" for text in evaluation.warnings), *below]
        messages += [problem] if problem else []
        if not quiet:
            show_evaluation(evaluation)
            for message in [*messages, f"written: {', '.join(map(str, files))}"]:
                click.echo(printable(message), err=True)
        code = Exit.SOME_FAILED if below else Exit.DONE
        summary = as_summary(evaluation)
        written = [str(path) for path in files]
        print_json({"exit_code": int(code), "files": written, "below": below, **summary})
    sys.exit(code)


def _minimum(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"--min takes METRIC=VALUE with a number, not {text!r}") from None


def _below(metrics: Mapping[str, Figure], wanted: Mapping[str, float]) -> list[str]:
    """A sentence for each metric that is not as high as wanted."""
    _check_names(metrics, wanted)
    found = []
    for name, least in wanted.items():
        value = metrics[name].value
        if value is None:
            found.append(f"{name} is not defined here, and should be at least {least:g}")
        elif value < least:
            found.append(f"{name} is {value:.4f}, below {least:g}")
    return found


def _check_names(metrics: Iterable[str], wanted: Iterable[str]) -> None:
    known = list(metrics)
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"no metric {', '.join(unknown)}; there are {', '.join(known)}")
