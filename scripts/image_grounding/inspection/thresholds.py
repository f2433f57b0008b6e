# SPDX-License-Identifier: Apache-2.0
"""Least scores: how precise the boxes above each are, and what share of the data it keeps."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from image_grounding.inspection.wilson import Rate

_STEPS = 10_000  # scores are counted in steps of 1 in this many


@dataclass(frozen=True)
class Threshold:
    """A least score and the boxes that reach it.

    Attributes:
        score: the least score.
        precision: of the reviewed boxes that reach it.
        share_kept: share of all boxes, reviewed or not, that reach it.
        share_reviewed: share of the reviewed boxes that reach it.
    """

    score: float
    precision: Rate
    share_kept: float
    share_reviewed: float

    def reaches(self, target: float) -> bool:
        """Whether its boxes have this precision with 95 % certainty."""
        return self.precision.interval[0] >= target


def score_step(score: float) -> int:
    """The bin of a score."""
    return math.floor(round(score * _STEPS, 6))


def thresholds(
    scored: Sequence[tuple[int, bool]], all_scores: Counter[int | None]
) -> list[Threshold]:
    """A threshold for every score of a reviewed box, the highest first.

    Args:
        scored: score step and whether the box is right, for each reviewed box with a score.
        all_scores: number of boxes in the whole data by score step; None for boxes without one.
    """
    return list(_walk(sorted(scored, reverse=True), all_scores))


def _walk(
    ranked: Sequence[tuple[int, bool]], all_scores: Counter[int | None]
) -> Iterator[Threshold]:
    steps = sorted(((step, n) for step, n in all_scores.items() if step is not None), reverse=True)
    good = kept = place = 0
    for count, (score, right) in enumerate(ranked, start=1):
        good += right
        if count < len(ranked) and ranked[count][0] == score:
            continue
        while place < len(steps) and steps[place][0] >= score:
            kept += steps[place][1]
            place += 1
        share = kept / max(all_scores.total(), 1)
        yield Threshold(score / _STEPS, Rate(good, count), share, count / len(ranked))
