# SPDX-License-Identifier: Apache-2.0
"""Do scores say how often a box is right? Expected calibration error, reliability data.

ECE as in Guo et al. 2017 (arXiv:1706.04599): bins of equal width, the gap between mean score and
share of right boxes in each, weighted by its boxes. A box is right where it is matched with a
true box at IoU 0.5, as in detection (Kueppers et al. 2020, arXiv:2004.13546). Boxes without a score
are in no bin.
"""

from collections.abc import Mapping, Sequence
from typing import Any

BINS = 10
COLUMNS = tuple(
    f"bin_{what}_{index}" for what in ("boxes", "score", "right") for index in range(BINS)
)


def bin_of(score: float) -> int:
    """The bin of a score: [0, 0.1), [0.1, 0.2) and so on; 1 is in the last one."""
    return min(int(score * BINS), BINS - 1)


def expected_calibration_error(sums: Mapping[str, float]) -> float | None:
    """ECE from sums of ``COLUMNS``; None where no box has a score."""
    bins = range(BINS)
    total = sum(sums[f"bin_boxes_{index}"] for index in bins)
    gaps = sum(abs(sums[f"bin_right_{index}"] - sums[f"bin_score_{index}"]) for index in bins)
    return gaps / total if total else None


def reliability(sums: Mapping[str, float]) -> Sequence[Mapping[str, Any]]:
    """For each bin its bounds, boxes, mean score and share of right boxes (None of nothing)."""
    rows = []
    for index in range(BINS):
        count = sums[f"bin_boxes_{index}"]
        rows.append(
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "boxes": int(count),
                "mean_score": sums[f"bin_score_{index}"] / count if count else None,
                "share_right": sums[f"bin_right_{index}"] / count if count else None,
            }
        )
    return rows
