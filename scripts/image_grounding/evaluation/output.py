# SPDX-License-Identifier: Apache-2.0
"""An evaluation as JSON and as plots."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from image_grounding.environment import extra_needed
from image_grounding.errors import OutputError
from image_grounding.evaluation.evaluate import Evaluation, Figure
from image_grounding.evaluation.plots import save_iou_histogram, save_reliability
from image_grounding.files import clean_json, write_atomic


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All of it; figures to four decimals."""
    return {
        "metrics": {name: _figure(figure) for name, figure in evaluation.metrics.items()},
        "counts": dict(evaluation.counts),
        "warnings": list(evaluation.warnings),
        **evaluation.details,
        "reliability": [_rounded(row) for row in evaluation.reliability],
        "iou_histogram": list(evaluation.iou_histogram),
    }


def as_summary(evaluation: Evaluation) -> dict[str, Any]:
    """The short of it: figures without their intervals, what was counted, the warnings."""
    return {
        "metrics": {name: _figure(figure)["value"] for name, figure in evaluation.metrics.items()},
        "counts": dict(evaluation.counts),
        "warnings": list(evaluation.warnings),
        **{name: evaluation.details[name] for name in ("truth_format", "images_found_by")},
    }


def write_evaluation(evaluation: Evaluation, folder: Path) -> tuple[list[Path], str | None]:
    """Write ``evaluation.json``, ``reliability.png``, ``iou_histogram.png``.

    Returns:
        What was written, and why there are no plots where there are none.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = folder / "evaluation.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    write_atomic(path, clean_json(as_json(evaluation), indent=2) + "\n")
    reliability, histogram = folder / "reliability.png", folder / "iou_histogram.png"
    try:
        save_reliability(evaluation.reliability, reliability)
        save_iou_histogram(evaluation.iou_histogram, histogram)
    except ImportError:
        for old in (reliability, histogram):  # of an earlier evaluation, they would mislead
            old.unlink(missing_ok=True)
        return [path], f"no plots: {extra_needed('plotting', 'plots')}"
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return [path, reliability, histogram], None


def _figure(figure: Figure) -> dict[str, Any]:
    bounds = None if figure.interval is None else [round(bound, 4) for bound in figure.interval]
    return {"value": None if figure.value is None else round(figure.value, 4), "interval": bounds}


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
