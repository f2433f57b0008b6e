# SPDX-License-Identifier: Apache-2.0
"""A run against ground truth: read, put side by side, count, resample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image_grounding.evaluation.average_precision import AveragePrecision
from image_grounding.evaluation.bootstrap import CONFIDENCE, Interval, Weights, intervals
from image_grounding.evaluation.calibration import expected_calibration_error, reliability
from image_grounding.evaluation.caveats import figure_caveats
from image_grounding.evaluation.metric_sums import MetricSums
from image_grounding.evaluation.metrics import IOU, figures
from image_grounding.evaluation.pairing import pair_up
from image_grounding.evaluation.truth import Truth
from image_grounding.results.reading import Results

AVERAGE_PRECISION = "boxes.average_precision"
ECE = "calibration.ece"
# A draw sorts through every box for average precision, which is slow; bounds need no more.
_MOST_AP_RESAMPLES = 200


@dataclass(frozen=True)
class Figure:
    """A metric: its value, None where it is not defined, and its 95 % bounds if known."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: by name, ``protocol.metric``.
        counts: what was read, used and left out.
        reliability: see ``calibration.reliability``.
        iou_histogram: see ``MetricSums.iou_histogram``.
        warnings: sentences about what makes the figures doubtful.
        details: how truth and results were read and put together.
    """

    metrics: Mapping[str, Figure]
    counts: Mapping[str, int]
    reliability: tuple[Mapping[str, Any], ...]
    iou_histogram: tuple[int, ...]
    warnings: tuple[str, ...]
    details: Mapping[str, Any]


def evaluate(results: Results, truth: Truth, resamples: int = 1_000, seed: int = 0) -> Evaluation:
    """Evaluate a run.

    Args:
        results: the run.
        truth: what it should have found.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.

    Raises:
        InputError: results and truth have no image, or no caption, in common.
    """
    pairing = pair_up(results, truth)
    tally = MetricSums(pairing)
    sums = tally.sums([1.0] * tally.groups)
    counts = {**pairing.counts, **_counts(sums, tally)}
    return Evaluation(
        metrics=_metrics(tally, resamples, seed),
        counts=counts,
        reliability=tuple(reliability(sums)),
        iou_histogram=tuple(tally.iou_histogram),
        warnings=(*figure_caveats(pairing, tally, counts, truth, resamples), *results.caveats()),
        details={
            "results": str(results.file),
            "truth": str(truth.path),
            "truth_format": truth.format,
            "truth_left_out": dict(truth.left_out),
            "images_found_by": pairing.rule,
            "without_counterpart": pairing.examples,
            "iou_threshold": IOU,
            "bootstrap": {"resamples": resamples, "seed": seed, "confidence": CONFIDENCE},
        },
    )


def _metrics(tally: MetricSums, resamples: int, seed: int) -> dict[str, Figure]:
    boxes = AveragePrecision(tally.ranked)

    def of_sums(weights: Weights) -> dict[str, float | None]:
        sums = tally.sums(weights)
        return {**figures(sums), ECE: expected_calibration_error(sums)}

    def of_ranks(weights: Weights) -> dict[str, float | None]:
        if tally.without_score:  # it ranks boxes; those without a score have no rank
            return {AVERAGE_PRECISION: None}
        return {AVERAGE_PRECISION: boxes.value(tally.sums(weights)["true_boxes"], weights)}

    everything = [1.0] * tally.groups
    values = {**of_sums(everything), **of_ranks(everything)}
    bounds = {
        **intervals(of_sums, tally.groups, resamples, seed),
        **intervals(of_ranks, tally.groups, min(resamples, _MOST_AP_RESAMPLES), seed),
    }
    return {name: Figure(value, bounds[name]) for name, value in values.items()}


def _counts(sums: Mapping[str, float], tally: MetricSums) -> dict[str, int]:
    whole = {name: int(value) for name, value in sums.items()}
    return {
        "expressions": whole["expressions"],
        "expressions_not_in_truth": whole["expressions"] - whole["expressions_matched"],
        "truth_phrases": whole["phrases"],
        "truth_phrases_without_expression": whole["phrases"] - whole["phrases_matched"],
        "truth_boxes": whole["true_boxes"],
        "boxes_judged": whole["boxes"],
        "boxes_judged_without_score": tally.without_score,
        "boxes_not_judged": tally.not_evaluated,
    }
