# SPDX-License-Identifier: Apache-2.0
"""Whether scores are probabilities: the expected calibration error, and reliability by bin.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, with BINS bins of
equal width. A box is right where it finds a true box of its own (``metrics.assign``).
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

BINS = 10


def bin_of(score: float) -> int:
    """The bin of a score in [0, 1]; 1 belongs to the last."""
    return min(max(int(score * BINS), 0), BINS - 1)


def calibration_error(sums: Mapping[str, float]) -> float | None:
    """ECE from the sums that ``Reliability.add`` keeps; None without a score."""
    total = sums.get("scored", 0)
    gaps = sum(abs(sums.get(f"gap{number}", 0)) for number in range(BINS))
    return gaps / total if total else None


@dataclass
class Reliability:
    """Scores and right boxes by bin, over all images; boxes without a score aside."""

    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    scores: list[float] = field(default_factory=lambda: [0.0] * BINS)
    right: list[int] = field(default_factory=lambda: [0] * BINS)
    null_scores: int = 0

    def add(self, sums: MutableMapping[str, float], score: float | None, right: bool) -> None:
        """Count a box, also in its image's sums."""
        if score is None:
            self.null_scores += 1
            return
        number = bin_of(score)
        self.counts[number] += 1
        self.scores[number] += score
        self.right[number] += right
        sums["scored"] += 1
        sums[f"gap{number}"] += score - right

    def as_json(self) -> list[dict[str, Any]]:
        """A row a bin; means are null in an empty one."""
        return [
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "boxes": count,
                "mean_score": score / count if count else None,
                "accuracy": right / count if count else None,
            }
            for number, (count, score, right) in enumerate(
                zip(self.counts, self.scores, self.right, strict=True)
            )
        ]
