# SPDX-License-Identifier: Apache-2.0
"""``evaluate.py``: a run against ground truth."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from image_grounding.cli.common import output_needed, print_json, reporting_errors
from image_grounding.cli.evaluate_view import show_evaluation
from image_grounding.errors import Exit, InputError
from image_grounding.evaluation.evaluate import Figure, evaluate
from image_grounding.evaluation.output import as_summary, write_evaluation
from image_grounding.evaluation.truth import read_truth
from image_grounding.results.reading import Results
from image_grounding.terminal import printable


def evaluate_tool(
    results_dir: Path,
    truth_path: Path,
    truth_format: str,
    output: Path | None,
    resamples: int,
    seed: int,
    minima: tuple[str, ...],
    quiet: bool,
) -> None:
    """Measure a run against ground truth: recall, accuracy, IoU, calibration."""
    with reporting_errors():
        wanted = dict(_minimum(text) for text in minima)
        output_needed(results_dir, output)
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
